// Go as a peer: channels, and goroutines that wait for them.
//
// How it works: a future is a channel that holds one value.  In W2 a goroutine waits for it and
// then calls the callback, which makes the next.  In W3 one goroutine waits for one channel after
// the other, each filled by a goroutine started for it, since Go has no other call_soon.  In W4 the
// results are taken from the channels in turn, while another goroutine fills them in random order:
// a goroutine for each child would cost more.  In W6 a goroutine for each sleeper sleeps, and a
// WaitGroup waits for all; so it is in W6t, since a goroutine is a task.  W9a is a channel and two
// goroutines, and so is W9at.  W9b and W9c are sync.Mutex, which serves threads, too, and
// Gosched yields.  One processor runs goroutines, as the other subjects have one thread; the
// collector may use another one.  Each round runs twice in one process, and the second is measured.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	tick     = 1000        // futures in flight in W2b
	children = 200000      // small gathers of W4 are repeated until so many are done
	nap      = time.Second // how long each sleeper of W6 sleeps
	bound    = 100         // items in the channel of W9a at most
	lockers  = 100         // goroutines that want the lock of W9c
)

var (
	measured bool          // the second round
	started  time.Duration // of whichever clock the phase has
	resident int           // bytes; 0 where memory is not measured
)

var epoch = time.Now()

func wall() time.Duration {
	return time.Since(epoch)
}

// cpu is of the whole process, the collector's threads included.
func cpu() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func begin(clock func() time.Duration) {
	started = clock()
}

func end(phase string, operations int, clock func() time.Duration) {
	spent := clock() - started
	if measured {
		ns := float64(spent.Nanoseconds()) / float64(operations)
		fmt.Printf("%s\tgo\t%d\t%.3f\t-\n", phase, operations, ns)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "go:", err)
	os.Exit(2)
}

// memory is a line of /proc/self/status in bytes.
func memory(name string) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	words := bytes.Fields(status[bytes.Index(status, []byte(name)):])
	kib, err := strconv.Atoi(string(words[1]))
	if err != nil {
		fail(err)
	}
	return kib * 1024
}

// memoryBegin makes what is resident the high-water mark, in the first round, where it may.
func memoryBegin() {
	resident = 0
	if measured {
		return
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err == nil {
		resident = memory("VmRSS")
	}
}

func memoryEnd(phase string, count int) {
	if resident != 0 {
		grown := float64(memory("VmHWM")-resident) / float64(count)
		fmt.Printf("%s\tgo\t%d\t%.1f\t-\n", phase, count, grown)
	}
}

// futures does W2: width futures, the callback of each of which makes the next, until n are done.
func futures(phase string, n, width int) {
	left := n - width
	var running sync.WaitGroup
	running.Add(width)

	var onDone func(bound, value int)
	start := func(bound int) {
		future := make(chan int, 1)
		go func() {
			onDone(bound, <-future)
		}()
		future <- 1
	}
	onDone = func(bound, value int) {
		if left == 0 {
			running.Done()
			return
		}
		left -= value
		start(bound)
	}

	begin(wall)
	for i := 0; i < width; i++ {
		start(i)
	}
	running.Wait()
	end(phase, n, wall)
}

func w3(n int) {
	ended := make(chan bool)

	begin(wall)
	go func() {
		for left := n; left > 0; {
			future := make(chan int, 1)
			go func() {
				future <- 1
			}()
			left -= <-future
		}
		ended <- true
	}()
	<-ended
	end("W3", n, wall)
}

func gatherOnce(order []int) {
	futures := make([]chan int, len(order))
	for i := range futures {
		futures[i] = make(chan int, 1)
	}
	go func() {
		for _, i := range order {
			futures[i] <- i
		}
	}()
	results := make([]int, len(order))
	for i, future := range futures {
		results[i] = <-future
	}
}

func w4(n int) {
	order := rand.New(rand.NewSource(20240229)).Perm(n)
	gathers := children / n
	if gathers == 0 {
		gathers = 1
	}

	memoryBegin()
	begin(wall)
	for i := 0; i < gathers; i++ {
		gatherOnce(order)
	}
	end("W4", gathers*n, wall)
	memoryEnd("W4.bytes", n)
}

func sleepers(phase string, n int) {
	var running sync.WaitGroup

	memoryBegin()
	begin(cpu)
	running.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			time.Sleep(nap)
			running.Done()
		}()
	}
	running.Wait()
	end(phase, n, cpu)
	memoryEnd(phase+".bytes", n)
}

func items(phase string, n int) {
	queue := make(chan int, bound)
	ended := make(chan bool)

	begin(wall)
	go func() {
		for item := 0; item < n; item++ {
			queue <- item
		}
	}()
	go func() {
		for item := 0; item < n; item++ {
			if <-queue != item {
				fail(errors.New("a wrong item"))
			}
		}
		ended <- true
	}()
	<-ended
	end(phase, n, wall)
}

func w9b(n int) {
	var lock sync.Mutex

	begin(wall)
	for i := 0; i < n; i++ {
		lock.Lock()
		lock.Unlock()
	}
	end("W9b", n, wall)
}

func w9c(n int) {
	var lock sync.Mutex
	var running sync.WaitGroup
	turns := n / lockers

	begin(wall)
	running.Add(lockers)
	for i := 0; i < lockers; i++ {
		go func() {
			for turn := 0; turn < turns; turn++ {
				lock.Lock()
				runtime.Gosched()
				lock.Unlock()
			}
			running.Done()
		}()
	}
	running.Wait()
	end("W9c", turns*lockers, wall)
}

func main() {
	rounds := map[string]func(n int){
		"W2a":  func(n int) { futures("W2a", n, 1) },
		"W2b":  func(n int) { futures("W2b", n, tick) },
		"W3":   w3,
		"W4":   w4,
		"W6":   func(n int) { sleepers("W6", n) },
		"W6t":  func(n int) { sleepers("W6t", n) },
		"W9a":  func(n int) { items("W9a", n) },
		"W9at": func(n int) { items("W9at", n) },
		"W9b":  w9b,
		"W9c":  w9c,
	}
	if len(os.Args) != 3 || rounds[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go WORKLOAD N")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[2])
	if err != nil || n <= 0 {
		fmt.Fprintln(os.Stderr, "go: no such N")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	rounds[os.Args[1]](n)
	measured = true
	rounds[os.Args[1]](n)
}
