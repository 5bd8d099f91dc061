package main

import (
	"math/bits"
	"slices"
	"sync"
	"time"
)

const (
	// runs of one tree in one process.
	runs = 20
	// fibCutoff is the largest number below which fib starts no goroutine.
	fibCutoff = 12
	// queensRows is how many rows have a goroutine for each placement.
	queensRows = 5
)

// repeat runs f twenty times; expected 0: any value will do.
func repeat(expected uint64, f func() uint64) *report {
	var times []time.Duration
	begin := time.Now()
	for range runs {
		begin := time.Now()
		value := f()
		times = append(times, time.Since(begin))
		check(expected == 0 || value == expected, "%d", value)
	}
	wall := time.Since(begin)
	slices.Sort(times)
	median := (times[runs/2-1] + times[runs/2]) / 2
	return newReport(wall).with("ms", milliseconds(median)).with("ms_min", milliseconds(times[0]))
}

// fib is the Fibonacci number of n by the plain recursion, a goroutine for one of each two branches.
func fib(o options) *report {
	a, b := uint64(0), uint64(1)
	for range o.n {
		a, b = b, a+b
	}
	switch o.variant {
	case defaultVariant:
		return repeat(a, func() uint64 { return fibSpawned(o.n) })
	case "seq":
		return repeat(a, func() uint64 { return fibPlain(o.n) })
	}
	return nil
}

func fibSpawned(n int) uint64 {
	if n <= fibCutoff {
		return fibPlain(n)
	}
	one := make(chan uint64, 1)
	go func() { one <- fibSpawned(n - 1) }()
	two := fibSpawned(n - 2)
	return <-one + two
}

func fibPlain(n int) uint64 {
	if n < 2 {
		return uint64(n)
	}
	return fibPlain(n-1) + fibPlain(n-2)
}

// nQueens counts the ways to place n queens.
func nQueens(o options) *report {
	if o.variant != defaultVariant || o.n > 16 {
		return nil
	}
	expected := uint64(0)
	if o.n == 11 {
		expected = 2680
	}
	return repeat(expected, func() uint64 { return board{n: o.n}.count() })
}

// board is the rows placed so far, as the squares of the next row that they attack.
type board struct {
	n, row               int
	columns, left, right uint32
}

// next is the board with a queen on one square more.
func (b board) next(queen uint32) board {
	b.row++
	b.columns |= queen
	b.left = (b.left | queen) << 1
	b.right = (b.right | queen) >> 1
	return b
}

func (b board) free() uint32 {
	return ^(b.columns | b.left | b.right) & (1<<b.n - 1)
}

func (b board) count() uint64 {
	if b.row == b.n {
		return 1
	}
	free, sum := b.free(), uint64(0)
	if b.row >= queensRows {
		for ; free != 0; free &= free - 1 {
			sum += b.next(free & -free).count()
		}
		return sum
	}
	var group sync.WaitGroup
	counts := make([]uint64, bits.OnesCount32(free))
	for i := range counts {
		next := b.next(free & -free)
		free &= free - 1
		group.Go(func() { counts[i] = next.count() })
	}
	group.Wait()
	for _, count := range counts {
		sum += count
	}
	return sum
}
