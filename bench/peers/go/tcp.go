package main

import (
	"io"
	"net"
	"sort"
	"time"
)

// messageBytes is the size of a message.
const messageBytes = 64

// tcp makes N round trips through the kernel, among T pairs of goroutines.
func tcp(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "%v", err)
	each := max(o.n/max(o.tasks, 1), 1)
	var clients, servers []net.Conn
	for range o.tasks {
		client, err := net.Dial("tcp", listener.Addr().String())
		check(err == nil, "%v", err)
		server, err := listener.Accept()
		check(err == nil, "%v", err)
		clients, servers = append(clients, client), append(servers, server)
	}
	taken := make(chan []time.Duration, o.tasks)
	begin := time.Now()
	for index := range clients {
		go answerMessages(servers[index])
		go func() { taken <- talk(clients[index], byte(index), each) }()
	}
	var times []time.Duration
	for range o.tasks {
		times = append(times, <-taken...)
	}
	wall := time.Since(begin)
	check(len(times) == each*o.tasks, "%d round trips", len(times))
	sort.Slice(times, func(one, other int) bool { return times[one] < times[other] })
	at := func(share float64) float64 {
		return times[int(float64(len(times)-1)*share+0.5)].Seconds() * 1e6
	}
	r := ofOperations(len(times), wall)
	r.with("late_p50_us", at(0.5))
	r.with("late_p99_us", at(0.99))
	return r.with("late_max_us", at(1))
}

func answerMessages(connection net.Conn) {
	buffer := make([]byte, messageBytes)
	for {
		if _, err := io.ReadFull(connection, buffer); err != nil {
			return
		}
		if _, err := connection.Write(buffer); err != nil {
			return
		}
	}
}

func talk(connection net.Conn, value byte, count int) []time.Duration {
	taken := make([]time.Duration, 0, count)
	message, buffer := make([]byte, messageBytes), make([]byte, messageBytes)
	for index := range message {
		message[index] = value
	}
	for range count {
		begin := time.Now()
		_, err := connection.Write(message)
		check(err == nil, "%v", err)
		_, err = io.ReadFull(connection, buffer)
		check(err == nil, "%v", err)
		taken = append(taken, time.Since(begin))
		check(string(buffer) == string(message), "another message came back")
	}
	connection.Close()
	return taken
}
