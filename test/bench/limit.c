/* The limit: the work itself, written by hand, with no library and no service around it.
 *
 * How it works: W1 is a ring of function and argument, drained to its end without a poll.  W2 and
 * W4 are bare structs from a free list, whose only callback goes through that ring.  W3 is a state
 * machine, one struct with the function it goes on with: that awaits such a future, which a call
 * in the ring completes.  By hand, W3n would be the call of a function, so it is W2a's future here:
 * that is what the price of a coroutine is compared with; and so are W9b and W9c, that of a lock.
 * W9a and W9at are a ring of items: by hand nobody is called back who need not wait.
 * W5 is a 4-ary heap whose entries hold the deadline next to the pointer, as libev's does; each
 * timer is a bare struct that knows its place.  W11 is a mailbox whose reader sleeps in epoll_wait
 * on an eventfd.
 * No cancellation handle, no order among equal deadlines, no error path: nobody can use this as an
 * event loop, so nobody has to beat it. */
#include "bench.h"
#include "mailbox.h"
#include "ring.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* W1: a ring. */

static struct ring ring;
static size_t left; /* calls still to be queued */

static void again(void *unused)
{
    if (left == 0)
        return;
    left--;
    ring_push(&ring, again, unused);
}

static void chains(const char *phase, size_t n, size_t width)
{
    left = n - width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        ring_push(&ring, again, NULL);
    while (!ring_is_empty(&ring))
        ring_run_one(&ring);
    bench_end(phase, n);
}

static void w1a_round(size_t n)
{
    chains("W1a", n, 1);
}

static void w1b_round(size_t n)
{
    chains("W1b", n, BENCH_TICK);
}

static void w1_close(void)
{
    free(ring.calls);
}

/* W2: futures from a free list. */

struct future {
    void (*callback)(void *bound, struct future *done);
    void *bound;
    long value;
    struct future *next; /* in the free list */
};

static struct future *free_futures;

/* Futures are made in chunks, which stay until the program ends. */
static void add_chunk(void)
{
    struct future *chunk = bench_array(BENCH_TICK, sizeof *chunk);

    for (size_t i = 0; i < BENCH_TICK; i++) {
        chunk[i].next = free_futures;
        free_futures = &chunk[i];
    }
}

static struct future *future_new(void (*callback)(void *, struct future *), void *bound)
{
    if (free_futures == NULL)
        add_chunk();
    struct future *future = free_futures;
    free_futures = future->next;
    future->callback = callback;
    future->bound = bound;
    return future;
}

static void future_free(struct future *future)
{
    future->next = free_futures;
    free_futures = future;
}

static void future_call_back(void *argument)
{
    struct future *future = argument;
    future->callback(future->bound, future);
}

static void future_set(struct future *future, long value)
{
    future->value = value;
    ring_push(&ring, future_call_back, future);
}

static void next_future(void *bound, struct future *done)
{
    size_t *more = bound;

    future_free(done);
    if (*more == 0)
        return;
    --*more;
    future_set(future_new(next_future, more), 1);
}

static void futures(const char *phase, size_t n, size_t width)
{
    left = n - width;
    bench_begin();
    for (size_t i = 0; i < width; i++)
        future_set(future_new(next_future, &left), 1);
    while (!ring_is_empty(&ring))
        ring_run_one(&ring);
    bench_end(phase, n);
}

static void w2a_round(size_t n)
{
    futures("W2a", n, 1);
}

static void w2b_round(size_t n)
{
    futures("W2b", n, BENCH_TICK);
}

static void w2n_round(size_t n)
{
    futures("W2n", n, n);
}

/* W3: a state machine that awaits one future after the other. */

struct task {
    void (*step)(struct task *task, long got);
    size_t left;
};

static void task_wake_up(void *bound, struct future *done)
{
    struct task *task = bound;
    long got = done->value;

    future_free(done);
    task->step(task, got);
}

static void complete(void *argument)
{
    future_set(argument, 1);
}

static void await_next(struct task *task, long got)
{
    task->left -= (size_t)got;
    if (task->left == 0)
        return;
    ring_push(&ring, complete, future_new(task_wake_up, task));
}

static void w3_round(size_t n)
{
    struct task task = { await_next, n };

    bench_begin();
    task.step(&task, 0);
    while (!ring_is_empty(&ring))
        ring_run_one(&ring);
    bench_end("W3", n);
    if (task.left > 0)
        bench_fail("a task has not ended");
}

static void w3n_round(size_t n)
{
    futures("W3n", n, 1);
}

/* W9a: items in a ring; who must wait goes on by a call, queued when there is room or an item. */

struct side {
    void (*go_on)(void *queue);
    bool waits;
};

struct queue {
    long items[BENCH_QUEUE];
    size_t first, count;
    struct side producer, consumer;
    long n, put, got;
};

static void wake(struct queue *queue, struct side *side)
{
    if (!side->waits)
        return;
    side->waits = false;
    ring_push(&ring, side->go_on, queue);
}

/* Puts the next item in.  Returns whether there was room; else it waits. */
static bool put_item(struct queue *queue)
{
    if (queue->count == BENCH_QUEUE) {
        queue->producer.waits = true;
        return false;
    }
    size_t last = queue->first + queue->count++;
    queue->items[last < BENCH_QUEUE ? last : last - BENCH_QUEUE] = queue->put++;
    wake(queue, &queue->consumer);
    return true;
}

/* Takes an item out.  Returns whether there was one; else it waits. */
static bool get_item(struct queue *queue)
{
    if (queue->count == 0) {
        queue->consumer.waits = true;
        return false;
    }
    long item = queue->items[queue->first];
    queue->first = queue->first + 1 < BENCH_QUEUE ? queue->first + 1 : 0;
    queue->count--;
    if (item != queue->got++)
        bench_fail("a wrong item");
    wake(queue, &queue->producer);
    return true;
}

static void put_all(void *argument)
{
    struct queue *queue = argument;
    while (queue->put < queue->n && put_item(queue))
        ;
}

static void get_all(void *argument)
{
    struct queue *queue = argument;
    while (queue->got < queue->n && get_item(queue))
        ;
}

static void items(const char *phase, size_t n)
{
    struct queue queue = { .producer.go_on = put_all, .consumer.go_on = get_all, .n = (long)n };

    bench_begin();
    ring_push(&ring, put_all, &queue);
    ring_push(&ring, get_all, &queue);
    while (!ring_is_empty(&ring))
        ring_run_one(&ring);
    bench_end(phase, n);
    if (queue.got != queue.n)
        bench_fail("items are missing");
}

static void w9a_round(size_t n)
{
    items("W9a", n);
}

static void w9at_round(size_t n)
{
    items("W9at", n);
}

/* W9b, W9c: by hand a lock is a flag, so these are W2a's future, too. */

static void w9b_round(size_t n)
{
    futures("W9b", n, 1);
}

static void w9c_round(size_t n)
{
    futures("W9c", n, 1);
}

/* W4: futures that count down a gather; its results are taken from them at the end. */

struct gather {
    struct future **children;
    long *results;
    size_t count;
    size_t pending;
};

static size_t *order;

static void gather_child(void *bound, struct future *done)
{
    struct gather *gather = bound;

    (void)done;
    if (--gather->pending > 0)
        return;
    for (size_t i = 0; i < gather->count; i++) {
        gather->results[i] = gather->children[i]->value;
        future_free(gather->children[i]);
    }
}

static void gather_all(size_t n)
{
    struct gather gather = { bench_array(n, sizeof(struct future *)), bench_array(n, sizeof(long)),
                             n, n };

    for (size_t i = 0; i < n; i++)
        gather.children[i] = future_new(gather_child, &gather);
    for (size_t i = 0; i < n; i++)
        future_set(gather.children[order[i]], (long)order[i]);
    while (!ring_is_empty(&ring))
        ring_run_one(&ring);
    if (gather.results[n - 1] != (long)n - 1)
        bench_fail("a wrong result");
    free(gather.children);
    free(gather.results);
}

static void w4_setup(size_t n)
{
    order = bench_order(n);
}

static void w4_round(size_t n)
{
    size_t gathers = bench_gathers(n);

    bench_memory_begin();
    bench_begin();
    for (size_t i = 0; i < gathers; i++)
        gather_all(n);
    bench_end("W4", gathers * n);
    bench_memory_end("W4.bytes", n);
}

static void w4_close(void)
{
    free(order);
    w1_close();
}

/* W5: a heap. */

struct timer {
    void (*function)(struct timer *timer);
    size_t place; /* in the heap */
};

struct entry {
    double at;
    struct timer *timer;
};

static struct bench_timers plan;
static struct timer *timers;
static struct entry *heap;
static size_t heap_count;
static size_t fired;

static void heap_put(size_t place, struct entry entry)
{
    heap[place] = entry;
    entry.timer->place = place;
}

static void heap_up(size_t place, struct entry entry)
{
    while (place > 0) {
        size_t parent = (place - 1) / 4;
        if (heap[parent].at <= entry.at)
            break;
        heap_put(place, heap[parent]);
        place = parent;
    }
    heap_put(place, entry);
}

static size_t first_of(size_t child, size_t end)
{
    size_t first = child;

    for (child++; child < end; child++)
        if (heap[child].at < heap[first].at)
            first = child;
    return first;
}

static void heap_down(size_t place, struct entry entry)
{
    for (;;) {
        size_t child = 4 * place + 1;
        if (child >= heap_count)
            break;
        child = first_of(child, child + 4 < heap_count ? child + 4 : heap_count);
        if (entry.at <= heap[child].at)
            break;
        heap_put(place, heap[child]);
        place = child;
    }
    heap_put(place, entry);
}

static void heap_remove(size_t place)
{
    struct entry last = heap[--heap_count];

    if (place == heap_count)
        return;
    if (place > 0 && last.at < heap[(place - 1) / 4].at)
        heap_up(place, last);
    else
        heap_down(place, last);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void fire(struct timer *unused)
{
    (void)unused;
    fired++;
}

static void w5_setup(size_t n)
{
    bench_timers_plan(&plan, n);
    timers = bench_array(n, sizeof *timers);
    heap = bench_array(n, sizeof *heap);
    for (size_t i = 0; i < n; i++)
        timers[i].function = fire;
}

static void w5_round(size_t n)
{
    double started = now();
    fired = 0;

    bench_begin();
    for (size_t i = 0; i < n; i++)
        heap_up(heap_count++, (struct entry){ started + plan.delay[i], &timers[i] });
    bench_end("W5.start", n);

    bench_begin();
    for (size_t i = 0; i < plan.cancelled; i++)
        heap_remove(timers[plan.order[i]].place);
    bench_end("W5.cancel", plan.cancelled);

    bench_timers_sleep();
    bench_begin();
    for (double due = now(); heap_count > 0 && heap[0].at <= due;) {
        struct timer *timer = heap[0].timer;
        heap_remove(0);
        timer->function(timer);
    }
    bench_end("W5.fire", fired);
    bench_timers_check(&plan, fired);
}

static void w5_close(void)
{
    bench_timers_free(&plan);
    free(timers);
    free(heap);
}

/* W11: a mailbox and an eventfd, written only while the reader sleeps (as libev does inside). */

static struct mailbox box;
static int poll_fd;
static int wake_fd;
static atomic_bool asleep; /* the reader is in epoll_wait, or about to look once more */
static bool done;

static void open_poll(void)
{
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = { .events = EPOLLIN };
    if (poll_fd < 0 || wake_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0)
        bench_fail("cannot open epoll and eventfd");
}

static void receive(void *unused)
{
    (void)unused;
    done = bench_received();
}

static void send_one(size_t i)
{
    uint64_t one = 1;

    (void)i;
    if (!mailbox_put(&box, receive, NULL) || !atomic_load(&asleep))
        return;
    if (write(wake_fd, &one, sizeof one) != sizeof one)
        bench_fail("cannot write to the eventfd");
}

/* Polls, and sleeps only if no call waits.  A call put in before the look is seen by it; one put
 * in after it finds the reader asleep.  The poll is made even when calls wait, as in any loop; it
 * also lets the calls gather, which costs less than to fight for the mutex over each one. */
static void wait_for_mail(void)
{
    struct epoll_event event;
    uint64_t wakes;

    atomic_store(&asleep, true);
    if (!mailbox_is_empty(&box))
        atomic_store(&asleep, false);
    if (epoll_wait(poll_fd, &event, 1, atomic_load(&asleep) ? -1 : 0) == 1)
        if (read(wake_fd, &wakes, sizeof wakes) < 0)
            bench_fail("cannot read the eventfd");
    atomic_store(&asleep, false);
}

static void w11_setup(size_t n)
{
    mailbox_open(&box, n);
    open_poll();
}

static void w11_round(size_t n)
{
    done = false;
    bench_sender_start(n, send_one);
    while (!done) {
        wait_for_mail();
        mailbox_run(&box);
    }
    bench_sender_join();
}

static void w11_close(void)
{
    close(wake_fd);
    close(poll_fd);
    mailbox_close(&box);
}

/* W10: a queue of bare jobs with a mutex and a semaphore (a condition of glibc 2.36 lost a signal
 * now and then), and the same way back as in W11.  A worker is woken only if one sleeps that was
 * not woken yet. */

struct job {
    struct job *next;
    long value;
};

static struct {
    pthread_mutex_t mutex;
    sem_t something;
    struct job *first, **end;
    int asleep, woken;
    bool over;
    pthread_t threads[BENCH_WORKERS];
    struct job jobs[BENCH_IN_FLIGHT];
    size_t to_submit, to_arrive;
} pool;

static void submit(struct job *job)
{
    pthread_mutex_lock(&pool.mutex);
    job->next = NULL;
    *pool.end = job;
    pool.end = &job->next;
    bool wakes = pool.asleep > pool.woken;
    pool.woken += wakes;
    pthread_mutex_unlock(&pool.mutex);
    if (wakes)
        sem_post(&pool.something);
}

static void job_arrived(void *argument)
{
    struct job *job = argument;
    if (pool.to_submit > 0) {
        pool.to_submit--;
        submit(job);
    }
    pool.to_arrive--;
}

static void send_back(struct job *job)
{
    uint64_t one = 1;
    if (!mailbox_put(&box, job_arrived, job) || !atomic_load(&asleep))
        return;
    if (write(wake_fd, &one, sizeof one) != sizeof one)
        bench_fail("cannot write to the eventfd");
}

static void *work(void *unused)
{
    pthread_mutex_lock(&pool.mutex);
    while (!pool.over) {
        struct job *job = pool.first;
        if (!job) {
            pool.asleep++;
            pthread_mutex_unlock(&pool.mutex);
            sem_wait(&pool.something);
            pthread_mutex_lock(&pool.mutex);
            pool.asleep--;
            pool.woken -= pool.woken > 0;
            continue;
        }
        pool.first = job->next;
        if (!pool.first)
            pool.end = &pool.first;
        pthread_mutex_unlock(&pool.mutex);
        job->value++;
        send_back(job);
        pthread_mutex_lock(&pool.mutex);
    }
    pthread_mutex_unlock(&pool.mutex);
    return unused;
}

static void w10_setup(size_t n)
{
    (void)n;
    mailbox_open(&box, BENCH_IN_FLIGHT);
    open_poll();
    bench_core_stay();
    pthread_mutex_init(&pool.mutex, NULL);
    sem_init(&pool.something, 0, 0);
    pool.end = &pool.first;
    for (size_t i = 0; i < BENCH_WORKERS; i++)
        if (pthread_create(&pool.threads[i], NULL, work, NULL) != 0)
            bench_fail("cannot start a thread");
}

static void w10_many(const char *phase, size_t n, size_t in_flight)
{
    pool.to_submit = n - in_flight;
    pool.to_arrive = n;
    bench_begin();
    for (size_t i = 0; i < in_flight; i++)
        submit(&pool.jobs[i]);
    while (pool.to_arrive > 0) {
        wait_for_mail();
        mailbox_run(&box);
    }
    bench_end(phase, n);
}

static void w10a_round(size_t n)
{
    w10_many("W10a", n, 1);
}

static void w10b_round(size_t n)
{
    w10_many("W10b", n, BENCH_IN_FLIGHT);
}

static void w10_close(void)
{
    pthread_mutex_lock(&pool.mutex);
    pool.over = true;
    pthread_mutex_unlock(&pool.mutex);
    for (size_t i = 0; i < BENCH_WORKERS; i++)
        sem_post(&pool.something);
    for (size_t i = 0; i < BENCH_WORKERS; i++)
        pthread_join(pool.threads[i], NULL);
    bench_core_leave();
    w11_close();
}

/* W12: what a loop needs at least, and one call. */

static void w12_setup(size_t n)
{
    (void)n;
    open_poll();
}

static void w12_round(size_t n)
{
    chains("W12", n, 1);
}

int main(int argc, char **argv)
{
    static const struct bench_workload table[] = {
        { "W1a", NULL, w1a_round, w1_close },         { "W1b", NULL, w1b_round, w1_close },
        { "W2a", NULL, w2a_round, w1_close },         { "W2b", NULL, w2b_round, w1_close },
        { "W2n", NULL, w2n_round, w1_close },         { "W3", NULL, w3_round, w1_close },
        { "W3n", NULL, w3n_round, w1_close },         { "W4", w4_setup, w4_round, w4_close },
        { "W5", w5_setup, w5_round, w5_close },       { "W9a", NULL, w9a_round, w1_close },
        { "W9at", NULL, w9at_round, w1_close },       { "W9b", NULL, w9b_round, w1_close },
        { "W9c", NULL, w9c_round, w1_close },         { "W10a", w10_setup, w10a_round, w10_close },
        { "W10b", w10_setup, w10b_round, w10_close }, { "W11", w11_setup, w11_round, w11_close },
        { "W12", w12_setup, w12_round, NULL },        { 0 },
    };
    return bench_main(argc, argv, "limit", table);
}
