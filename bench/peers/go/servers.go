package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// echoBytes is the buffer of one echo connection.
const echoBytes = 4096

// listen opens the address and says so.
func listen(o options) net.Listener {
	listener, err := net.Listen("tcp", o.addr)
	check(err == nil, "%v", err)
	fmt.Fprintf(os.Stderr, "READY %s\n", listener.Addr())
	return listener
}

// httpHello answers every request by `Hello, World!`.
func httpHello(o options) *report {
	return serveHTTP(o, func() {})
}

// httpDB does so after five to ten milliseconds, as if a database had been asked.
func httpDB(o options) *report {
	var counter atomic.Uint64
	return serveHTTP(o, func() {
		number := counter.Add(1) - 1
		time.Sleep(time.Duration(5+number%6) * time.Millisecond)
	})
}

func serveHTTP(o options, before func()) *report {
	if o.variant != defaultVariant {
		return nil
	}
	hello := []byte("Hello, World!")
	handler := func(w http.ResponseWriter, _ *http.Request) {
		before()
		w.Header().Set("Content-Type", "text/plain")
		w.Write(hello)
	}
	server := http.Server{Handler: http.HandlerFunc(handler)}
	err := server.Serve(listen(o))
	check(false, "the server ended: %v", err)
	return nil
}

// echo sends back what comes, on every connection. Go sets TCP_NODELAY by itself.
func echo(o options) *report {
	if o.variant != defaultVariant {
		return nil
	}
	listener := listen(o)
	for {
		connection, err := listener.Accept()
		check(err == nil, "%v", err)
		go echoOne(connection)
	}
}

func echoOne(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, echoBytes)
	for {
		count, err := connection.Read(buffer)
		if err == io.EOF {
			return
		}
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
			return
		}
	}
}
