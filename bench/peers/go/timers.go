package main

import (
	"time"
)

const (
	// far is when timers that are stopped would be due.
	far = time.Hour
	// lead is when the first timer that fires is due, spread over how long they are.
	lead, spread = 2 * time.Second, time.Second
)

// timersStop arms n timers an hour ahead, then stops them all.
func timersStop(o options) *report {
	var arm func(time.Duration) *time.Timer
	switch o.variant {
	case defaultVariant:
		arm = func(d time.Duration) *time.Timer {
			return time.AfterFunc(d, func() { check(false, "a stopped timer fired") })
		}
	case "newtimer":
		arm = time.NewTimer
	default:
		return nil
	}
	timers := make([]*time.Timer, 0, o.n)
	before := rssBytes()
	begin := time.Now()
	for i := range o.n {
		timers = append(timers, arm(far+time.Duration(i)*time.Microsecond))
	}
	created := time.Since(begin)
	grown := rssBytes() - before
	begin = time.Now()
	stopped := 0
	for _, timer := range timers {
		if timer.Stop() {
			stopped++
		}
	}
	stop := time.Since(begin)
	check(stopped == o.n, "%d stopped", stopped)
	each := func(d time.Duration) float64 { return d.Seconds() * 1e9 / float64(o.n) }
	return ofOperations(o.n, created+stop).
		with("create_ns", each(created)).
		with("stop_ns", each(stop)).
		with("rss_bytes_per_unit", float64(grown)/float64(o.n))
}

// timersFire has n timers, or by the variant n sleeping goroutines, due within one second.
func timersFire(o options) *report {
	if o.variant != defaultVariant && o.variant != "sleep" {
		return nil
	}
	var late lateness
	cpu := cpuTime()
	begin := time.Now()
	for i := range o.n {
		due := begin.Add(lead + time.Duration(float64(spread)*float64(i)/float64(o.n)))
		if o.variant == "sleep" {
			go func() {
				time.Sleep(time.Until(due))
				late.note(time.Since(due))
			}()
		} else {
			time.AfterFunc(time.Until(due), func() { late.note(time.Since(due)) })
		}
	}
	for late.count.Load() < int64(o.n) {
		time.Sleep(10 * time.Millisecond)
	}
	wall, cpu := time.Since(begin), cpuTime()-cpu
	return newReport(wall).
		with("ns_per_op", cpu.Seconds()*1e9/float64(o.n)).
		with("late_mean_ms", late.meanMilliseconds()).
		with("late_max_ms", late.maxMilliseconds())
}
