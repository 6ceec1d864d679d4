package network

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
)

// forwarder carries connections from a port of the user's network to an address inside a run's.
type forwarder struct {
	listener net.Listener
	target   netip.AddrPort
}

func newForwarder(target netip.AddrPort) (*forwarder, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a port on the loopback device: %w", err)
	}
	return &forwarder{listener: listener, target: target}, nil
}

func (f *forwarder) address() net.Addr { return f.listener.Addr() }

func (f *forwarder) close() { _ = f.listener.Close() }

// serve carries connections into the network namespace of the process until the forwarder is closed.
func (f *forwarder) serve(pid int) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		go f.carry(client, pid)
	}
}

func (f *forwarder) carry(client net.Conn, pid int) {
	defer client.Close()
	server, err := f.dial(pid)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = pair[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
}

func (f *forwarder) dial(pid int) (net.Conn, error) {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	var server net.Conn
	err = onThread(namespace, func() error {
		// One address, so that the dialer opens its socket on this thread.
		server, err = net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(f.target))
		return err
	})
	return server, err
}

// onThread calls `action` on a thread that is in the network namespace.
func onThread(namespace *os.File, action func() error) error {
	result := make(chan error, 1)
	go func() {
		// Only a thread that is back in its own namespace is given back; any other ends with this goroutine.
		runtime.LockOSThread()
		err, restored := inNamespace(namespace, action)
		if restored {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
