package main

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	// load is how long one hog computes, and how long one blocking call blocks.
	load = 100 * time.Millisecond
	// calibrationRounds of the loop are timed.
	calibrationRounds = 1_000_000
)

// ticks is what became of a ticker's plan.
type ticks struct {
	// late is, for every planned tick, how long after it the ticker first woke.
	late  []time.Duration
	woken int
}

// startTicker starts a goroutine that wants to wake at fixed times; calling the result ends it.
func startTicker(period time.Duration) func() ticks {
	var stop atomic.Bool
	result := make(chan ticks)
	go func() {
		t := ticks{late: make([]time.Duration, 0, 100_000)}
		planned := time.Now().Add(period)
		for !stop.Load() {
			time.Sleep(time.Until(planned))
			now := time.Now()
			t.woken++
			for !planned.After(now) {
				t.late = append(t.late, now.Sub(planned))
				planned = planned.Add(period)
			}
		}
		result <- t
	}()
	return func() ticks {
		stop.Store(true)
		return <-result
	}
}

func (t ticks) addTo(r *report) *report {
	slices.Sort(t.late)
	at := func(share float64) float64 {
		last := float64(len(t.late) - 1)
		return t.late[int(math.Round(last*share))].Seconds() * 1e6
	}
	return r.with("late_p50_us", at(0.5)).
		with("late_p99_us", at(0.99)).
		with("late_max_us", at(1)).
		with("ticks_planned", float64(len(t.late))).
		with("ticks_woken", float64(t.woken))
}

// hogSeed is a variable, so that no compiler computes the loop.
var hogSeed uint64 = 0x2545_F491_4F6C_DD1D

// hog is a loop without a call in it.
//
//go:noinline
func hog(rounds int) uint64 {
	state := hogSeed
	for range rounds {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
	}
	return state
}

// calibrate tells how many rounds take one load when nothing else runs.
func calibrate() int {
	best := time.Duration(math.MaxInt64)
	for range 10 {
		begin := time.Now()
		check(hog(calibrationRounds) != 0, "xorshift never is 0")
		best = min(best, time.Since(begin))
	}
	return int(calibrationRounds * load.Seconds() / best.Seconds())
}

// hogs has n goroutines compute for 100 ms each, without a call, beside a ticker of 10 ms.
func hogs(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	rounds := calibrate()
	expected := hog(rounds)
	finish := startTicker(10 * time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	var group sync.WaitGroup
	begin := time.Now()
	for range o.n {
		group.Go(func() { check(hog(rounds) == expected, "a hog's") })
	}
	group.Wait()
	wall := time.Since(begin)
	return finish().addTo(newReport(wall).with("ms", milliseconds(wall)))
}

// blocking has n goroutines block for 100 ms in the kernel beside a ticker of 1 ms: in a call that Go's
// scheduler sees, or by the variant in one that it does not.
func blocking(o options) *report {
	var block func()
	switch o.variant {
	case defaultVariant:
		block = func() { sleepInKernel(syscall.Syscall) }
	case "inline":
		block = func() { sleepInKernel(syscall.RawSyscall) }
	default:
		return nil
	}
	finish := startTicker(time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	var group sync.WaitGroup
	begin := time.Now()
	for range o.n {
		group.Go(block)
	}
	time.Sleep(load / 2)
	threads := status("Threads:")
	group.Wait()
	wall := time.Since(begin)
	r := newReport(wall).with("ms", milliseconds(wall)).with("threads", float64(threads))
	return finish().addTo(r)
}

// sleepInKernel blocks its OS thread for one load; Go's own signals interrupt it.
func sleepInKernel(call func(trap, a1, a2, a3 uintptr) (uintptr, uintptr, syscall.Errno)) {
	left := syscall.NsecToTimespec(int64(load))
	for {
		time := uintptr(unsafe.Pointer(&left))
		_, _, errno := call(syscall.SYS_NANOSLEEP, time, time, 0)
		if errno == 0 {
			return
		}
		check(errno == syscall.EINTR, "nanosleep: %v", errno)
	}
}
