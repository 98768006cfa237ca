//! tokio as a peer, on its runtime of one thread.
//!
//! How it works: a future is a oneshot channel.  In W2 a spawned task awaits it and then calls the
//! callback, which makes the next; in W4 join_all awaits the receivers, which get their values in
//! random order; W6 is join_all of sleeps, W6t of tasks that sleep.  W1 spawns a task for each
//! call, since tokio has no other call_soon; so does W3, whose one task awaits a receiver after the
//! other.  In W3n it awaits an async fn, which the compiler makes a part of it: black_box keeps it
//! from vanishing altogether.  W9a and W9at are its bounded channel, between two tasks.  W9b
//! and W9c lock tokio's own Mutex, whose guard unlocks it.  In W9c the holder yields by yield_now,
//! after which the runtime polls; so it has I/O there, as programs do.  Each round runs twice in
//! one runtime, and the second is measured.
use futures_util::future::join_all;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, Mutex, Notify};

const TICK: usize = 1000; // callbacks in flight in W1b, futures in W2b
const CHILDREN: usize = 200000; // small gathers of W4 are repeated until so many are done
const NAP: Duration = Duration::from_secs(1); // of each sleeper in W6
const QUEUE: usize = 100; // items in the channel of W9a at most
const LOCKERS: usize = 100; // tasks that want the lock of W9c

static MEASURED: AtomicBool = AtomicBool::new(false); // the second round

fn clock(id: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// A phase, from begin to end, by the wall clock or the process's own.
struct Phase {
    id: libc::clockid_t,
    started: f64,
}

impl Phase {
    fn begin(id: libc::clockid_t) -> Phase {
        Phase { id, started: clock(id) }
    }

    fn end(&self, name: &str, operations: usize) {
        let ns = (clock(self.id) - self.started) / operations as f64;
        if MEASURED.load(Relaxed) {
            println!("{name}\ttokio\t{operations}\t{ns:.3}\t-");
        }
    }
}

/// A line of /proc/self/status in bytes.
fn memory(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Makes what is resident the high-water mark, in the first round, where that is allowed.
fn memory_begin() -> Option<usize> {
    if MEASURED.load(Relaxed) {
        return None;
    }
    fs::write("/proc/self/clear_refs", "5").ok()?;
    Some(memory("VmRSS"))
}

fn memory_end(resident: Option<usize>, name: &str, count: usize) {
    if let Some(resident) = resident {
        let grown = (memory("VmHWM") - resident) as f64 / count as f64;
        println!("{name}\ttokio\t{count}\t{grown:.1}\t-");
    }
}

/// What the chains of W1 and W2 share; spawned tasks could be on any thread, as far as Rust knows.
struct Chains {
    left: AtomicUsize,   // operations still to be started
    active: AtomicUsize, // chains that have not ended
    ended: Notify,
}

impl Chains {
    fn new(n: usize, width: usize) -> Arc<Chains> {
        Arc::new(Chains {
            left: AtomicUsize::new(n - width),
            active: AtomicUsize::new(width),
            ended: Notify::new(),
        })
    }

    /// Whether the chain goes on.
    fn next(&self) -> bool {
        let left = self.left.load(Relaxed);
        if left > 0 {
            self.left.store(left - 1, Relaxed);
            return true;
        }
        let active = self.active.load(Relaxed) - 1;
        self.active.store(active, Relaxed);
        if active == 0 {
            self.ended.notify_one();
        }
        false
    }
}

fn call_soon(chains: Arc<Chains>) {
    tokio::spawn(async move {
        if chains.next() {
            call_soon(chains);
        }
    });
}

async fn w1(name: &str, n: usize, width: usize) {
    let chains = Chains::new(n, width);
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    for _ in 0..width {
        call_soon(chains.clone());
    }
    chains.ended.notified().await;
    phase.end(name, n);
}

fn start(chains: Arc<Chains>) {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if receiver.await == Ok(1) && chains.next() {
            start(chains);
        }
    });
    sender.send(1).unwrap();
}

async fn w2(name: &str, n: usize, width: usize) {
    let chains = Chains::new(n, width);
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    for _ in 0..width {
        start(chains.clone());
    }
    chains.ended.notified().await;
    phase.end(name, n);
}

async fn w3(n: usize) {
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    let task = tokio::spawn(async move {
        let mut left = n;
        while left > 0 {
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move { sender.send(1) });
            left -= receiver.await.unwrap();
        }
    });
    task.await.unwrap();
    phase.end("W3", n);
}

async fn nested(value: usize) -> usize {
    black_box(value)
}

async fn w3n(n: usize) {
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    let task = tokio::spawn(async move {
        let mut left = n;
        while left > 0 {
            left -= nested(1).await;
        }
    });
    task.await.unwrap();
    phase.end("W3n", n);
}

/// splitmix64, as in the C programs.
fn random_order(n: usize) -> Vec<usize> {
    let mut state: u64 = 20240229;
    let mut order: Vec<usize> = (0..n).collect();
    for i in 0..n {
        state = state.wrapping_add(0x9e3779b97f4a7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
        order.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
    }
    order
}

async fn gather_once(order: &[usize]) {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = order
        .iter()
        .map(|_| {
            let (sender, receiver) = oneshot::channel();
            (Some(sender), receiver)
        })
        .unzip();
    let all = tokio::spawn(join_all(receivers));
    tokio::task::yield_now().await; // all receivers wait
    for &i in order {
        senders[i].take().unwrap().send(i).unwrap();
    }
    assert_eq!(all.await.unwrap().len(), order.len());
}

async fn w4(n: usize) {
    let order = random_order(n);
    let gathers = (CHILDREN / n).max(1);
    let resident = memory_begin();
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    for _ in 0..gathers {
        gather_once(&order).await;
    }
    phase.end("W4", gathers * n);
    memory_end(resident, "W4.bytes", n);
}

async fn w6(n: usize) {
    let resident = memory_begin();
    let phase = Phase::begin(libc::CLOCK_PROCESS_CPUTIME_ID);
    join_all((0..n).map(|_| tokio::time::sleep(NAP))).await;
    phase.end("W6", n);
    memory_end(resident, "W6.bytes", n);
}

async fn w6t(n: usize) {
    let resident = memory_begin();
    let phase = Phase::begin(libc::CLOCK_PROCESS_CPUTIME_ID);
    let tasks = (0..n).map(|_| tokio::spawn(async { tokio::time::sleep(NAP).await }));
    join_all(tasks).await;
    phase.end("W6t", n);
    memory_end(resident, "W6t.bytes", n);
}

async fn items(name: &str, n: usize) {
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let producer = tokio::spawn(async move {
        for item in 0..n {
            sender.send(item).await.unwrap();
        }
    });
    let consumer = tokio::spawn(async move {
        for item in 0..n {
            assert_eq!(receiver.recv().await, Some(item));
        }
    });
    producer.await.unwrap();
    consumer.await.unwrap();
    phase.end(name, n);
}

async fn w9b(n: usize) {
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    let task = tokio::spawn(async move {
        let lock = Mutex::new(());
        for _ in 0..n {
            drop(lock.lock().await);
        }
    });
    task.await.unwrap();
    phase.end("W9b", n);
}

async fn take_turns(lock: Arc<Mutex<()>>, turns: usize) {
    for _ in 0..turns {
        let held = lock.lock().await;
        tokio::task::yield_now().await;
        drop(held);
    }
}

async fn w9c(n: usize) {
    let turns = n / LOCKERS;
    let phase = Phase::begin(libc::CLOCK_MONOTONIC);
    let lock = Arc::new(Mutex::new(()));
    let lockers = (0..LOCKERS).map(|_| tokio::spawn(take_turns(lock.clone(), turns)));
    join_all(lockers).await;
    phase.end("W9c", turns * LOCKERS);
}

async fn round(workload: &str, n: usize) {
    match workload {
        "W1a" => w1("W1a", n, 1).await,
        "W1b" => w1("W1b", n, TICK).await,
        "W2a" => w2("W2a", n, 1).await,
        "W2b" => w2("W2b", n, TICK).await,
        "W3" => w3(n).await,
        "W3n" => w3n(n).await,
        "W4" => w4(n).await,
        "W6" => w6(n).await,
        "W6t" => w6t(n).await,
        "W9a" | "W9at" => items(workload, n).await,
        "W9b" => w9b(n).await,
        "W9c" => w9c(n).await,
        _ => {
            eprintln!("tokio: no workload {workload}");
            std::process::exit(2);
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let n = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(0);
    if n == 0 {
        eprintln!("usage: tokio WORKLOAD N");
        std::process::exit(2);
    }
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time();
    if arguments[1] == "W9c" {
        builder.enable_io();
    }
    let runtime = builder.build().unwrap();
    runtime.block_on(round(&arguments[1], n));
    MEASURED.store(true, Relaxed);
    runtime.block_on(round(&arguments[1], n));
}
