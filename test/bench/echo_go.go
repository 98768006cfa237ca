// The echo and HTTP servers in Go: net, with a goroutine for each connection, and net/http.
//
// How it works: `echo_go echo|http`.  A goroutine reads into a buffer of its own and writes.  Go
// sets TCP_NODELAY by itself.  Pinned to one core, Go takes one processor.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

const (
	bufferSize = 2048 // more than a request of 1 KiB
	body       = "Hello, ferry\n"
)

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, bufferSize)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err = connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func page(response http.ResponseWriter, request *http.Request) {
	response.Header().Set("Content-Type", "text/plain")
	response.Write([]byte(body))
}

func main() {
	if len(os.Args) != 2 || (os.Args[1] != "echo" && os.Args[1] != "http") {
		fmt.Fprintln(os.Stderr, "usage: echo_go echo|http")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port, os.Getpid())
	if os.Args[1] == "http" {
		panic(http.Serve(listener, http.HandlerFunc(page)))
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			panic(err)
		}
		go echo(connection)
	}
}
