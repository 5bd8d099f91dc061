// Command gobench is Go's side of the bench: the same workloads, command line and JSON keys as
// gaggle-bench, on goroutines and the standard library alone.
//
//	go build -o gobench . && ./gobench WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]
//
// It prints one line of JSON. Every result is checked, and a wrong one ends the program with status 1.
// Servers print "READY ip:port" on standard error and run until killed. Status 2: wrong usage. Status 3:
// no such workload or variant.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
)

// options is what the command line says.
type options struct {
	workload string
	n        int
	procs    int
	tasks    int
	variant  string
	addr     string
	secs     int
}

// workload is one thing that can be measured.
type workload struct {
	// n is the size, and procs the number of processors (0: the machine's), unless told otherwise.
	n, procs int
	// run measures; nil: it has no such variant.
	run func(options) *report
}

var workloads = map[string]workload{
	"spawn":        {1_000_000, 0, spawn},
	"yield":        {5_000_000, 1, yield},
	"sleepers":     {100_000, 0, sleepers},
	"parked":       {1_000_000, 0, parked},
	"noop":         {1, 0, noop},
	"pingpong":     {1_000_000, 0, pingpong},
	"chan_spsc":    {10_000_000, 0, chanSPSC},
	"chan_mpmc4x4": {10_000_000, 0, chanMPMC},
	"select":       {2_000_000, 1, selectRendezvous},
	"select_buf":   {2_000_000, 1, selectBuffered},
	"workerpool":   {1_000_000, 0, workerPool},
	"pipeline":     {1_000_000, 0, pipeline},
	"mutex":        {10_000_000, 2, mutex},
	"rwmutex":      {10_000_000, 2, rwMutex},
	"fib":          {32, 0, fib},
	"nqueens":      {11, 0, nQueens},
	"hogs":         {100, 0, hogs},
	"blocking":     {100, 2, blocking},
	"timers_stop":  {1_000_000, 0, timersStop},
	"timers_fire":  {1_000_000, 0, timersFire},
	"http_hello":   {0, 1, httpHello},
	"http_db":      {0, 1, httpDB},
	"echo":         {0, 1, echo},
	"tcp":          {100_000, 0, tcp},
}

// defaultVariant names what a workload does unless told otherwise.
const defaultVariant = "default"

const unknown = 3

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "gobench: which workload? gobench WORKLOAD [--n N] [--procs P] [--tasks T] [--variant V] [--addr A] [--secs S]")
		os.Exit(2)
	}
	o := options{workload: os.Args[1]}
	flags := flag.NewFlagSet("gobench", flag.ExitOnError)
	flags.IntVar(&o.n, "n", 0, "the workload's size")
	flags.IntVar(&o.procs, "procs", 0, "GOMAXPROCS")
	flags.IntVar(&o.tasks, "tasks", 8, "how many goroutines contend")
	flags.StringVar(&o.variant, "variant", defaultVariant, "which way of doing it")
	flags.StringVar(&o.addr, "addr", "127.0.0.1:0", "where a server listens")
	flags.IntVar(&o.secs, "secs", 10, "how long sleepers sleep, in seconds")
	flags.Parse(os.Args[2:])

	w, found := workloads[o.workload]
	if !found {
		fmt.Fprintf(os.Stderr, "gobench: no workload %q\n", o.workload)
		os.Exit(unknown)
	}
	if o.n == 0 {
		o.n = w.n
	}
	if o.procs == 0 {
		o.procs = w.procs
	}
	if o.procs > 0 {
		runtime.GOMAXPROCS(o.procs)
	}
	o.procs = runtime.GOMAXPROCS(0)
	cpu := cpuTime()
	result := make(chan *report)
	go func() { result <- w.run(o) }()
	r := <-result
	if r == nil {
		fmt.Fprintf(os.Stderr, "gobench: %s has no variant %q\n", o.workload, o.variant)
		os.Exit(unknown)
	}
	fmt.Println(r.line(o, cpuTime()-cpu))
}

// check ends the program if a result is wrong.
func check(right bool, format string, arguments ...any) {
	if !right {
		fmt.Fprintf(os.Stderr, "gobench: wrong result: "+format+"\n", arguments...)
		os.Exit(1)
	}
}

// sumBelow is the sum of the numbers below count.
func sumBelow(count int) uint64 {
	return uint64(count) * uint64(count-1) / 2
}

func milliseconds(d time.Duration) float64 {
	return d.Seconds() * 1e3
}
