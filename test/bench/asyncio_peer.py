"""asyncio as a peer, on its own event loop or on uvloop's.

How it works: `asyncio_peer.py asyncio|uvloop WORKLOAD N` does what the C programs do, through
asyncio's public calls: call_soon for W1, call_later and cancel for W5, call_soon_threadsafe for
W11.  Each round runs twice in one loop and the second is measured; the lines have the C programs'
form, with "-" for the allocations, which nobody counts here.  The garbage collector stays on and
the callbacks are plain functions, as in any asyncio program.  The driver gives small n, since a
call costs hundreds of times the limit's.
"""
import sys

if sys.argv[1:2] == ["uvloop"]:
    import uvloop as implementation
else:
    import asyncio as implementation

TICK = 1000  # callbacks in flight in W1b


class Bench:
    """Prints the measured phases."""

    def __init__(self, subject):
        from time import perf_counter

        self.subject = subject
        self.measured = False
        self.clock = perf_counter
        self.started = 0.0

    def begin(self):
        self.started = self.clock()

    def end(self, phase, operations):
        ns = (self.clock() - self.started) * 1e9 / operations
        if self.measured:
            print(f"{phase}\t{self.subject}\t{operations}\t{ns:.3f}\t-")


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
    rounds = {"W1a": w1a, "W1b": w1b, "W5": w5, "W11": w11, "W12": w12}
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
