package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// batch is how many goroutines of spawn's variant are alive at once.
const batch = 10_000

// noop starts one goroutine; it is timed from outside.
func noop(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	begin := time.Now()
	answer := make(chan int)
	go func() { answer <- 42 }()
	check(<-answer == 42, "not 42")
	wall := time.Since(begin)
	return newReport(wall).with("ms", milliseconds(wall))
}

// spawn starts n goroutines that only say that they are done.
func spawn(o options) *report {
	begin := time.Now()
	switch o.variant {
	case defaultVariant:
		spawnAll(o.n)
	case "batch":
		for left := o.n; left > 0; left -= batch {
			spawnAll(min(left, batch))
		}
	case "join":
		spawnAndJoin(o.n)
	default:
		return nil
	}
	return ofOperations(o.n, time.Since(begin))
}

func spawnAll(count int) {
	var group sync.WaitGroup
	group.Add(count)
	for range count {
		go group.Done()
	}
	group.Wait()
}

// spawnAndJoin collects a channel for each goroutine, which is as near as Go has to a handle.
func spawnAndJoin(count int) {
	handles := make([]chan uint64, 0, count)
	for i := range uint64(count) {
		handle := make(chan uint64, 1)
		go func() { handle <- i }()
		handles = append(handles, handle)
	}
	sum := uint64(0)
	for _, handle := range handles {
		sum += <-handle
	}
	check(sum == sumBelow(count), "%d", sum)
}

// yield has two goroutines yield n times each.
func yield(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	done := make(chan int, 2)
	begin := time.Now()
	for range 2 {
		go func() {
			count := 0
			for count < o.n {
				runtime.Gosched()
				count++
			}
			done <- count
		}()
	}
	count := <-done + <-done
	wall := time.Since(begin)
	check(count == 2*o.n, "%d", count)
	return ofOperations(2*o.n, wall)
}

// sleepers has n goroutines sleep.
func sleepers(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	period := time.Duration(o.secs) * time.Second
	var group sync.WaitGroup
	var late lateness
	before := rssBytes()
	begin := time.Now()
	group.Add(o.n)
	for range o.n {
		go func() {
			begin := time.Now()
			time.Sleep(period)
			late.note(time.Since(begin) - period)
			group.Done()
		}()
	}
	spawned := time.Since(begin)
	group.Wait()
	wall := time.Since(begin)
	check(late.count.Load() == int64(o.n), "%d woke", late.count.Load())
	each := float64(status("VmHWM:")*1024-before) / float64(o.n)
	return newReport(wall).
		with("ms", milliseconds(wall)).
		with("rss_bytes_per_unit", each).
		with("overrun_ms", milliseconds(wall-period)).
		with("late_mean_ms", late.meanMilliseconds()).
		with("late_max_ms", late.maxMilliseconds()).
		with("spawn_secs", spawned.Seconds())
}

// parked has n goroutines receive on one channel until it is closed.
func parked(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	channel := make(chan uint64)
	var group sync.WaitGroup
	var inside atomic.Int64
	before := rssBytes()
	begin := time.Now()
	group.Add(o.n)
	for range o.n {
		go func() {
			inside.Add(1)
			_, open := <-channel
			check(!open, "something was received")
			group.Done()
		}()
	}
	for inside.Load() < int64(o.n) {
		time.Sleep(time.Millisecond)
	}
	in := time.Since(begin)
	time.Sleep(100 * time.Millisecond)
	each := float64(rssBytes()-before) / float64(o.n)
	closed := time.Now()
	close(channel)
	group.Wait()
	release := time.Since(closed)
	wall := time.Since(begin)
	return newReport(wall).
		with("ms", milliseconds(wall)).
		with("rss_bytes_per_unit", each).
		with("park_secs", in.Seconds()).
		with("release_ms", milliseconds(release))
}

// lateness is how late many goroutines were.
type lateness struct {
	count, sum, max atomic.Int64
}

func (l *lateness) note(late time.Duration) {
	l.sum.Add(int64(late))
	for {
		seen := l.max.Load()
		if int64(late) <= seen || l.max.CompareAndSwap(seen, int64(late)) {
			break
		}
	}
	l.count.Add(1)
}

func (l *lateness) meanMilliseconds() float64 {
	return float64(l.sum.Load()) / float64(l.count.Load()) / 1e6
}

func (l *lateness) maxMilliseconds() float64 {
	return float64(l.max.Load()) / 1e6
}
