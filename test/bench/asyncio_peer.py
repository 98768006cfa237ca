"""asyncio as a peer, on its own event loop or on uvloop's.

How it works: `asyncio_peer.py asyncio|uvloop WORKLOAD N` does what the C programs do, through
asyncio's public calls: call_soon for W1, create_future and add_done_callback with a partial for W2,
await in one task for W3, gather for W4, call_later and cancel for W5, sleep and gather for W6,
coroutines that sleep for W6t, Queue for W9a, Lock and sleep(0) for W9b and W9c,
call_soon_threadsafe for W11.  W9at is W9a, as its queue has no callbacks.  Each round
runs twice in one loop and the second is measured; the lines have the C programs' form, with "-" for
the allocations, which nobody counts here.  The garbage collector stays on and the callbacks are
plain functions, as in any asyncio program.  The driver gives small n, since a call costs hundreds
of times the limit's.
"""
import sys

if sys.argv[1:2] == ["uvloop"]:
    import uvloop as implementation
else:
    import asyncio as implementation

TICK = 1000  # callbacks in flight in W1b, futures in W2b
CHILDREN = 200000  # small gathers of W4 are repeated until so many are done
NAP = 1  # how long each sleeper of W6 sleeps, in seconds
QUEUE = 100  # items in the queue of W9a at most
LOCKERS = 100  # tasks that want the lock of W9c


class Bench:
    """Prints the measured phases."""

    def __init__(self, subject):
        from time import perf_counter

        self.subject = subject
        self.measured = False
        self.clock = perf_counter
        self.started = 0.0
        self.resident = 0  # bytes; 0 where memory is not measured

    def begin(self, clock=None):
        self.clock = clock or self.clock
        self.started = self.clock()

    def end(self, phase, operations):
        ns = (self.clock() - self.started) * 1e9 / operations
        if self.measured:
            print(f"{phase}\t{self.subject}\t{operations}\t{ns:.3f}\t-")

    def memory(self, name):
        """A line of /proc/self/status in bytes."""
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith(name):
                    return int(line.split()[1]) * 1024

    def memory_begin(self):
        """Makes what is resident the high-water mark, in the first round, where that is allowed."""
        self.resident = 0
        if self.measured:
            return
        try:
            with open("/proc/self/clear_refs", "w") as control:
                control.write("5")
        except OSError:
            return
        self.resident = self.memory("VmRSS")

    def memory_end(self, phase, count):
        if self.resident:
            grown = (self.memory("VmHWM") - self.resident) / count
            print(f"{phase}\t{self.subject}\t{count}\t{grown:.1f}\t-")


def chains(bench, loop, phase, n, width):
    """`width` callbacks, each of which calls itself soon, until n have run."""
    left = n - width
    active = width

    def again():
        nonlocal left, active
        if left:
            left -= 1
            loop.call_soon(again)
            return
        active -= 1
        if not active:
            loop.stop()

    bench.begin()
    for _ in range(width):
        loop.call_soon(again)
    loop.run_forever()
    bench.end(phase, n)


def w1a(bench, loop, n):
    chains(bench, loop, "W1a", n, 1)


def w1b(bench, loop, n):
    chains(bench, loop, "W1b", n, TICK)


def futures(bench, loop, phase, n, width):
    """`width` futures, the callback of each of which makes the next, until n are done."""
    from functools import partial

    left = n - width
    active = width

    def start(bound):
        future = loop.create_future()
        future.add_done_callback(partial(on_done, bound))
        future.set_result(1)

    def on_done(bound, done):
        nonlocal left, active
        if left:
            left -= 1
            start(bound)
            return
        active -= 1
        if not active:
            loop.stop()

    bench.begin()
    for i in range(width):
        start(i)
    loop.run_forever()
    bench.end(phase, n)


def w2a(bench, loop, n):
    futures(bench, loop, "W2a", n, 1)


def w2b(bench, loop, n):
    futures(bench, loop, "W2b", n, TICK)


def w3(bench, loop, n):
    """A task that awaits one future after the other."""

    async def await_futures():
        left = n
        while left:
            future = loop.create_future()
            loop.call_soon(future.set_result, 1)
            left -= await future

    bench.begin()
    loop.run_until_complete(await_futures())
    bench.end("W3", n)


def w3n(bench, loop, n):
    """A task that awaits nested coroutines, which end at once."""

    async def nested(value):
        return value

    async def await_nested():
        left = n
        while left:
            left -= await nested(1)

    bench.begin()
    loop.run_until_complete(await_nested())
    bench.end("W3n", n)


def w4(bench, loop, n):
    """Gathers of n futures that are completed in random order."""
    import asyncio
    import random

    order = list(range(n))
    random.Random(20240229).shuffle(order)
    gathers = max(1, CHILDREN // n)

    async def gather_once():
        children = [loop.create_future() for _ in range(n)]
        all_of_them = asyncio.gather(*children)
        for i in order:
            children[i].set_result(i)
        return await all_of_them

    bench.memory_begin()
    bench.begin()
    for _ in range(gathers):
        loop.run_until_complete(gather_once())
    bench.end("W4", gathers * n)
    bench.memory_end("W4.bytes", n)


def w5(bench, loop, n):
    """Timers due in 1 to 2 s; asyncio sweeps cancelled ones out only when the loop runs."""
    import random
    import time

    generator = random.Random(20240229)
    delays = [1.0 + generator.random() for _ in range(n)]
    order = list(range(n))
    generator.shuffle(order)
    cancelled = n // 10 * 9
    fired = 0

    def fire():
        nonlocal fired
        fired += 1
        if fired == n - cancelled:
            loop.stop()

    bench.begin()
    timers = [loop.call_later(delay, fire) for delay in delays]
    bench.end("W5.start", n)

    bench.begin()
    for i in order[:cancelled]:
        timers[i].cancel()
    bench.end("W5.cancel", cancelled)

    time.sleep(2.1)
    bench.begin()
    loop.run_forever()
    bench.end("W5.fire", fired)


def w6(bench, loop, n):
    """Sleepers, and the processor time that they take."""
    import asyncio
    import time

    async def sleep_all():
        await asyncio.gather(*[asyncio.sleep(NAP) for _ in range(n)])

    bench.memory_begin()
    bench.begin(time.process_time)
    loop.run_until_complete(sleep_all())
    bench.end("W6", n)
    bench.memory_end("W6.bytes", n)


def w6t(bench, loop, n):
    """Sleepers in coroutines of the program's own."""
    import asyncio
    import time

    async def nap():
        await asyncio.sleep(NAP)

    async def nap_all():
        await asyncio.gather(*[nap() for _ in range(n)])

    bench.memory_begin()
    bench.begin(time.process_time)
    loop.run_until_complete(nap_all())
    bench.end("W6t", n)
    bench.memory_end("W6t.bytes", n)


def items(bench, loop, phase, n):
    """A task that puts items into a queue, and one that gets them."""
    import asyncio

    async def produce(queue):
        for item in range(n):
            await queue.put(item)

    async def consume(queue):
        for item in range(n):
            assert await queue.get() == item

    async def work():
        queue = asyncio.Queue(QUEUE)
        await asyncio.gather(produce(queue), consume(queue))

    bench.begin()
    loop.run_until_complete(work())
    bench.end(phase, n)


def w9a(bench, loop, n):
    items(bench, loop, "W9a", n)


def w9at(bench, loop, n):
    items(bench, loop, "W9at", n)


def w9b(bench, loop, n):
    """A task that takes a lock and gives it back."""
    import asyncio

    async def take_turns():
        lock = asyncio.Lock()
        for _ in range(n):
            await lock.acquire()
            lock.release()

    bench.begin()
    loop.run_until_complete(take_turns())
    bench.end("W9b", n)


def w9c(bench, loop, n):
    """Tasks that want one lock; who holds it lets a tick pass."""
    import asyncio

    turns = n // LOCKERS

    async def take_turns(lock):
        for _ in range(turns):
            await lock.acquire()
            await asyncio.sleep(0)
            lock.release()

    async def lock_all():
        lock = asyncio.Lock()
        await asyncio.gather(*[take_turns(lock) for _ in range(LOCKERS)])

    bench.begin()
    loop.run_until_complete(lock_all())
    bench.end("W9c", turns * LOCKERS)


def w11(bench, loop, n):
    """A bulk of calls from another thread, then one at a time; both threads on one core."""
    import _thread
    import os
    import threading

    single = n // 50 + 1
    answer = _thread.allocate_lock()  # held while no answer is there
    answer.acquire()
    arrived = 0

    def receive():
        nonlocal arrived
        arrived += 1
        if arrived < n:
            return
        if arrived == n:
            bench.end("W11.bulk", n)
        if arrived == n + single:
            bench.end("W11.latency", single)
            loop.stop()
        answer.release()

    def send_all():
        bench.begin()
        for _ in range(n):
            loop.call_soon_threadsafe(receive)
        answer.acquire()
        bench.begin()
        for _ in range(single):
            loop.call_soon_threadsafe(receive)
            answer.acquire()

    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    sender = threading.Thread(target=send_all)
    loop.call_soon(sender.start)
    loop.run_forever()
    sender.join()
    os.sched_setaffinity(0, cores)


def w12(bench, loop, n):
    chains(bench, loop, "W12", n, 1)


def main(subject, workload, n):
    rounds = {
        "W1a": w1a,
        "W1b": w1b,
        "W2a": w2a,
        "W2b": w2b,
        "W3": w3,
        "W3n": w3n,
        "W4": w4,
        "W5": w5,
        "W6": w6,
        "W6t": w6t,
        "W9a": w9a,
        "W9at": w9at,
        "W9b": w9b,
        "W9c": w9c,
        "W11": w11,
        "W12": w12,
    }
    if workload not in rounds:
        print(f"{subject}: no workload {workload}", file=sys.stderr)
        return 2
    bench = Bench(subject)
    loop = implementation.new_event_loop()
    rounds[workload](bench, loop, n)
    if workload != "W12":
        bench.measured = True
        rounds[workload](bench, loop, n)
    loop.close()
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        print("usage: asyncio_peer.py asyncio|uvloop WORKLOAD N", file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
