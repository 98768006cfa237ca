// node as a peer: promises and their then.
//
// How it works: `node_peer.js WORKLOAD N` does what the C programs do.  W2 resolves a promise whose
// then has a bound argument and makes the next one; V8 runs that from its queue of microtasks, and
// node polls nothing until this is empty.  In W3 an async function awaits one promise after the
// other, each resolved from that queue by a promise's then: queueMicrotask, process.nextTick and
// setImmediate cost 1.5, 2 and 9 times as much.  W4 is Promise.all of promises that are resolved in
// random order; W6 is Promise.all of node's own promises of timers, W6t of async functions that
// await them.  W9's queue and lock are written here, as node has none; who holds the lock awaits a
// resolved promise, which lets other microtasks run.  Each round runs twice in one process, and the
// second is measured.  The collector runs when V8 wants it to.
'use strict';

const fs = require('fs');
const { setTimeout: sleep } = require('timers/promises');

const TICK = 1000; // promises in flight in W2b
const CHILDREN = 200000; // small gathers of W4 are repeated until so many are done
const NAP = 1; // how long each sleeper of W6 sleeps, in seconds
const QUEUE = 100; // items in the queue of W9a at most
const LOCKERS = 100; // async functions that want the lock of W9c
const SOON = Promise.resolve(); // its then calls soon, by the queue of microtasks

let measured = false; // the second round
let started = 0;
let resident = 0; // bytes; 0 where memory is not measured

function wall() {
    return Number(process.hrtime.bigint());
}

// Of the whole process: V8's threads collect garbage, too.
function cpu() {
    const usage = process.cpuUsage();
    return (usage.user + usage.system) * 1e3;
}

function begin(clock = wall) {
    started = clock();
}

function end(phase, operations, clock = wall) {
    const ns = (clock() - started) / operations;
    if (measured)
        console.log(`${phase}\tnode\t${operations}\t${ns.toFixed(3)}\t-`);
}

// A line of /proc/self/status in bytes.
function memory(name) {
    const status = fs.readFileSync('/proc/self/status', 'utf8');
    return Number(status.match(new RegExp(`${name}:\\s+(\\d+)`))[1]) * 1024;
}

// Makes what is resident the high-water mark, in the first round, where that is allowed.
function memoryBegin() {
    resident = 0;
    if (measured)
        return;
    try {
        fs.writeFileSync('/proc/self/clear_refs', '5');
    } catch {
        return;
    }
    resident = memory('VmRSS');
}

function memoryEnd(phase, count) {
    if (resident === 0)
        return;
    const grown = (memory('VmHWM') - resident) / count;
    console.log(`${phase}\tnode\t${count}\t${grown.toFixed(1)}\t-`);
}

// W2: `width` promises, the callback of each of which makes the next, until n are done.
function futures(phase, n, width) {
    return new Promise((finish) => {
        let left = n - width;
        let active = width;

        function start(bound) {
            let setResult;
            const future = new Promise((resolve) => { setResult = resolve; });
            future.then((value) => onDone(bound, value));
            setResult(1);
        }

        function onDone(bound, value) {
            if (left > 0) {
                left -= value;
                start(bound);
            } else if (--active === 0) {
                end(phase, n);
                finish();
            }
        }

        begin();
        for (let i = 0; i < width; i++)
            start(i);
    });
}

// W3: an async function awaits one promise after the other.
async function w3(n) {
    begin();
    for (let left = n; left > 0;) {
        let setResult;
        const future = new Promise((resolve) => { setResult = resolve; });
        SOON.then(() => setResult(1));
        left -= await future;
    }
    end('W3', n);
}

async function nested(value) {
    return value;
}

async function w3n(n) {
    begin();
    for (let left = n; left > 0;)
        left -= await nested(1);
    end('W3n', n);
}

function randomOrder(n) {
    const order = Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
        const j = Math.floor(Math.random() * (i + 1));
        [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
}

async function gatherOnce(n, order) {
    const resolve = new Array(n);
    const children = new Array(n);
    for (let i = 0; i < n; i++)
        children[i] = new Promise((setResult) => { resolve[i] = setResult; });
    const all = Promise.all(children);
    for (const i of order)
        resolve[i](i);
    await all;
}

async function w4(n) {
    const order = randomOrder(n);
    const gathers = Math.max(1, Math.floor(CHILDREN / n));

    memoryBegin();
    begin();
    for (let i = 0; i < gathers; i++)
        await gatherOnce(n, order);
    end('W4', gathers * n);
    memoryEnd('W4.bytes', n);
}

async function w6(n) {
    memoryBegin();
    begin(cpu);
    await Promise.all(Array.from({ length: n }, () => sleep(NAP * 1000)));
    end('W6', n, cpu);
    memoryEnd('W6.bytes', n);
}

async function nap() {
    await sleep(NAP * 1000);
}

async function w6t(n) {
    memoryBegin();
    begin(cpu);
    await Promise.all(Array.from({ length: n }, nap));
    end('W6t', n, cpu);
    memoryEnd('W6t.bytes', n);
}

// For one that puts and one that gets.  Who finds it full, or empty, waits for a promise.
class Queue {
    constructor() {
        this.items = new Array(QUEUE);
        this.first = 0;
        this.count = 0;
        this.wakePutter = null;
        this.wakeGetter = null;
    }

    async put(item) {
        while (this.count === QUEUE)
            await new Promise((resolve) => { this.wakePutter = resolve; });
        this.items[(this.first + this.count++) % QUEUE] = item;
        if (this.wakeGetter !== null) {
            this.wakeGetter();
            this.wakeGetter = null;
        }
    }

    async get() {
        while (this.count === 0)
            await new Promise((resolve) => { this.wakeGetter = resolve; });
        const item = this.items[this.first];
        this.first = (this.first + 1) % QUEUE;
        this.count--;
        if (this.wakePutter !== null) {
            this.wakePutter();
            this.wakePutter = null;
        }
        return item;
    }
}

async function produce(queue, n) {
    for (let item = 0; item < n; item++)
        await queue.put(item);
}

async function consume(queue, n) {
    for (let item = 0; item < n; item++) {
        if (await queue.get() !== item)
            throw new Error('a wrong item');
    }
}

async function items(phase, n) {
    const queue = new Queue();
    begin();
    await Promise.all([produce(queue, n), consume(queue, n)]);
    end(phase, n);
}

// Those that wait are a list: to shift an array of a hundred costs three times as much as the rest.
class Lock {
    constructor() {
        this.locked = false;
        this.first = null;
        this.last = null;
    }

    acquire() {
        if (this.locked)
            return new Promise((resolve) => this.append({ resolve, next: null }));
        this.locked = true;
        return SOON;
    }

    append(waiter) {
        if (this.first === null)
            this.first = waiter;
        else
            this.last.next = waiter;
        this.last = waiter;
    }

    // Hands the lock over to who came first.
    release() {
        const waiter = this.first;
        if (waiter === null) {
            this.locked = false;
            return;
        }
        this.first = waiter.next;
        waiter.resolve();
    }
}

async function w9b(n) {
    const lock = new Lock();
    begin();
    for (let i = 0; i < n; i++) {
        await lock.acquire();
        lock.release();
    }
    end('W9b', n);
}

async function takeTurns(lock, turns) {
    for (let i = 0; i < turns; i++) {
        await lock.acquire();
        await SOON;
        lock.release();
    }
}

async function w9c(n) {
    const lock = new Lock();
    const turns = Math.floor(n / LOCKERS);
    begin();
    await Promise.all(Array.from({ length: LOCKERS }, () => takeTurns(lock, turns)));
    end('W9c', turns * LOCKERS);
}

async function main(workload, n) {
    const rounds = {
        W2a: () => futures('W2a', n, 1),
        W2b: () => futures('W2b', n, TICK),
        W3: () => w3(n),
        W3n: () => w3n(n),
        W4: () => w4(n),
        W6: () => w6(n),
        W6t: () => w6t(n),
        W9a: () => items('W9a', n),
        W9at: () => items('W9at', n),
        W9b: () => w9b(n),
        W9c: () => w9c(n),
    };
    if (!(workload in rounds) || !(n > 0)) {
        console.error('usage: node_peer.js WORKLOAD N');
        process.exit(2);
    }
    await rounds[workload]();
    measured = true;
    await rounds[workload]();
}

main(process.argv[2], Number(process.argv[3]));
