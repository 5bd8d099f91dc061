package main

import (
	"sync"
	"time"
)

const (
	// capacity of a buffered channel.
	capacity = 128
	// arms of a select.
	arms = 8
	// side is how many send, and how many receive, in chan_mpmc4x4.
	side = 4
	// workers of a pool.
	workers = 8
	// stages of a pipeline between its source and its sink.
	stages = 4
)

// pingpong makes n round trips through two rendezvous channels.
func pingpong(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	ping, pong := make(chan uint64), make(chan uint64)
	last := make(chan uint64, 1)
	begin := time.Now()
	go func() {
		for value := range ping {
			pong <- value + 1
		}
	}()
	go func() {
		value := uint64(0)
		for range o.n {
			ping <- value
			value = <-pong
		}
		last <- value
	}()
	value := <-last
	wall := time.Since(begin)
	close(ping)
	check(value == uint64(o.n), "%d", value)
	return ofOperations(o.n, wall)
}

// sendAll sends the numbers below count.
func sendAll(channel chan<- uint64, count int) {
	for value := range uint64(count) {
		channel <- value
	}
}

// sumAll sums what comes until the channel is closed.
func sumAll(channel <-chan uint64, sum chan<- uint64) {
	total := uint64(0)
	for value := range channel {
		total += value
	}
	sum <- total
}

// chanSPSC has one sender and one receiver.
func chanSPSC(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	channel, sum := make(chan uint64, capacity), make(chan uint64, 1)
	begin := time.Now()
	go func() {
		sendAll(channel, o.n)
		close(channel)
	}()
	go sumAll(channel, sum)
	total := <-sum
	wall := time.Since(begin)
	check(total == sumBelow(o.n), "%d", total)
	return ofOperations(o.n, wall)
}

// chanMPMC has four senders and four receivers.
func chanMPMC(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	each := o.n / side
	channel, sum := make(chan uint64, capacity), make(chan uint64, side)
	var senders sync.WaitGroup
	begin := time.Now()
	for range side {
		go sumAll(channel, sum)
	}
	for range side {
		senders.Go(func() { sendAll(channel, each) })
	}
	senders.Wait()
	close(channel)
	total := uint64(0)
	for range side {
		total += <-sum
	}
	wall := time.Since(begin)
	check(total == side*sumBelow(each), "%d", total)
	return ofOperations(side*each, wall)
}

func selectRendezvous(o options) *report { return selectOver(o, 0) }

func selectBuffered(o options) *report { return selectOver(o, capacity) }

// selectOver receives n values by selects over eight channels of the given capacity.
func selectOver(o options, capacity int) *report {
	if o.variant != defaultVariant {
		return nil
	}
	each := o.n / arms
	var c [arms]chan uint64
	begin := time.Now()
	for i := range c {
		c[i] = make(chan uint64, capacity)
		go sendAll(c[i], each)
	}
	sum := make(chan uint64, 1)
	go func() {
		total := uint64(0)
		c0, c1, c2, c3, c4, c5, c6, c7 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
		for range arms * each {
			var value uint64
			select {
			case value = <-c0:
			case value = <-c1:
			case value = <-c2:
			case value = <-c3:
			case value = <-c4:
			case value = <-c5:
			case value = <-c6:
			case value = <-c7:
			}
			total += value
		}
		sum <- total
	}()
	total := <-sum
	wall := time.Since(begin)
	check(total == arms*sumBelow(each), "%d", total)
	return ofOperations(arms*each, wall)
}

// workerPool has eight workers between a producer and this goroutine.
func workerPool(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	jobs, results := make(chan uint64, capacity), make(chan uint64, capacity)
	begin := time.Now()
	for range workers {
		go func() {
			for job := range jobs {
				results <- 2 * job
			}
		}()
	}
	go func() {
		sendAll(jobs, o.n)
		close(jobs)
	}()
	total := uint64(0)
	for range o.n {
		total += <-results
	}
	wall := time.Since(begin)
	check(total == 2*sumBelow(o.n), "%d", total)
	return ofOperations(o.n, wall)
}

// pipeline has a source, four stages that add one, and this goroutine, joined by rendezvous channels.
func pipeline(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	begin := time.Now()
	last := make(chan uint64)
	go func(out chan<- uint64) {
		sendAll(out, o.n)
		close(out)
	}(last)
	for range stages {
		from, to := last, make(chan uint64)
		go func() {
			for value := range from {
				to <- value + 1
			}
			close(to)
		}()
		last = to
	}
	total := uint64(0)
	for value := range last {
		total += value
	}
	wall := time.Since(begin)
	check(total == sumBelow(o.n)+stages*uint64(o.n), "%d", total)
	return ofOperations(o.n, wall)
}
