package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// report is what a workload measured.
type report struct {
	wall time.Duration
	keys []string
	own  map[string]float64
	// variant replaces the command line's, where a default has a name of its own.
	variant string
}

func newReport(wall time.Duration) *report {
	return &report{wall: wall, own: map[string]float64{}}
}

// ofOperations is the report of a workload that did count operations.
func ofOperations(count int, wall time.Duration) *report {
	r := newReport(wall)
	r.with("ns_per_op", wall.Seconds()*1e9/float64(count))
	return r.with("ops_per_s", float64(count)/wall.Seconds())
}

func (r *report) with(key string, value float64) *report {
	r.keys = append(r.keys, key)
	r.own[key] = value
	return r
}

// line is the line of JSON, its keys in the order in which every peer prints them.
func (r *report) line(o options, cpu time.Duration) string {
	variant := o.variant
	if r.variant != "" {
		variant = r.variant
	}
	var line bytes.Buffer
	put := func(key string, value any) {
		text, err := json.Marshal(value)
		check(err == nil, "%s is %v", key, value)
		if line.Len() > 0 {
			line.WriteByte(',')
		}
		line.WriteString(strconv.Quote(key))
		line.WriteByte(':')
		line.Write(text)
	}
	put("peer", "go")
	put("ver", strings.TrimPrefix(runtime.Version(), "go"))
	put("workload", o.workload)
	put("variant", variant)
	put("n", o.n)
	put("procs", o.procs)
	for _, key := range r.keys {
		put(key, rounded(r.own[key]))
	}
	put("secs", rounded(r.wall.Seconds()))
	put("peak_rss_bytes", status("VmHWM:")*1024)
	put("cpu_s", rounded(cpu.Seconds()))
	return "{" + line.String() + "}"
}

// rounded to four digits behind the point, more than any measurement here is worth.
func rounded(value float64) float64 {
	return math.Round(value*1e4) / 1e4
}

// cpuTime is the processor time that the whole process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	check(err == nil, "getrusage: %v", err)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// rssBytes is the memory that is resident now.
func rssBytes() uint64 {
	return status("VmRSS:") * 1024
}

// status is a number of /proc/self/status.
func status(name string) uint64 {
	text, err := os.ReadFile("/proc/self/status")
	check(err == nil, "/proc/self/status: %v", err)
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, name); found {
			number, err := strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			check(err == nil, "%s: %v", name, err)
			return number
		}
	}
	check(false, "no %s", name)
	return 0
}
