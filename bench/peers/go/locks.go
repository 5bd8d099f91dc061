package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// mutex has T goroutines lock, add one and unlock, n times in all.
func mutex(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	var lock sync.Mutex
	counter, each := 0, o.n/o.tasks
	wall := contend(o.tasks, func() {
		for range each {
			lock.Lock()
			counter++
			lock.Unlock()
		}
	})
	check(counter == o.tasks*each, "%d", counter)
	return ofOperations(o.tasks*each, wall).with("tasks", float64(o.tasks))
}

// readSum keeps the reads from being optimised away.
var readSum atomic.Uint64

// rwMutex is the same with a read-write lock, one write among ten.
func rwMutex(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	var lock sync.RWMutex
	counter, each := 0, o.n/o.tasks
	wall := contend(o.tasks, func() {
		sum := uint64(0)
		for i := range each {
			if i%10 == 0 {
				lock.Lock()
				counter++
				lock.Unlock()
			} else {
				lock.RLock()
				sum += uint64(counter)
				lock.RUnlock()
			}
		}
		readSum.Add(sum)
	})
	check(counter == o.tasks*((each+9)/10), "%d", counter)
	return ofOperations(o.tasks*each, wall).with("tasks", float64(o.tasks))
}

// contend runs f in tasks goroutines.
func contend(tasks int, f func()) time.Duration {
	var group sync.WaitGroup
	begin := time.Now()
	for range tasks {
		group.Go(f)
	}
	group.Wait()
	return time.Since(begin)
}
