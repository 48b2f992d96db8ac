// Command pause holds a pod's network: it waits until it is told to end.
// With an address as its argument it also answers each connection with the host's name over HTTP, which
// makes it the smallest application that a test of the cluster itself can call.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		go serve(os.Args[1])
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}

func serve(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	name, _ := os.Hostname()
	answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(name), name)
	for {
		connection, err := listener.Accept()
		if err != nil {
			continue
		}
		go func() {
			defer connection.Close()
			request := make([]byte, 4096)
			if _, err := connection.Read(request); err == nil {
				fmt.Fprint(connection, answer)
			}
		}()
	}
}
