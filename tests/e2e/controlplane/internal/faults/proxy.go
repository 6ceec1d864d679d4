// Package faults stands between a client and kube-apiserver and gives the client a bad day: a TLS reverse proxy whose
// faults are set while it runs, and which remembers every request, so that a test can say how often a client asked.
//
// Authorization headers and bodies are passed on as they are, watches are streamed, and HTTP/1.1 and HTTP/2 are spoken.
// A client certificate cannot be passed on: what comes through the proxy has to show a bearer token.
package faults

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// Options says where a proxy listens and whom it speaks for.
type Options struct {
	// Listen is the proxy's own address; port 0 takes a free one.
	Listen netip.AddrPort
	// Certificate is what the proxy shows. It must be valid for the address of Listen.
	Certificate tls.Certificate
	// Upstream is the API server.
	Upstream *url.URL
	// UpstreamCAs verify the API server's certificate.
	UpstreamCAs *x509.CertPool
	// ErrorLog takes what the HTTP server and the reverse proxy complain about; nil discards it, since in this
	// package broken connections are the purpose.
	ErrorLog *log.Logger
}

// Proxy is safe for concurrent use.
type Proxy struct {
	options Options
	address netip.AddrPort
	reverse *httputil.ReverseProxy
	journal journal

	mutex   sync.Mutex
	faults  []Fault
	changed chan struct{} // Closed, and made anew, when the faults change.
	streams map[*stream]struct{}
	server  *http.Server // Nil while connections are refused.
	closed  bool
	serving sync.WaitGroup
}

// Start listens and passes everything on. The caller must Close the proxy.
func Start(options Options) (*Proxy, error) {
	if options.ErrorLog == nil {
		options.ErrorLog = log.New(discard{}, "", 0)
	}
	p := &Proxy{
		options: options,
		changed: make(chan struct{}),
		streams: map[*stream]struct{}{},
	}
	p.reverse = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(options.Upstream)
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: options.UpstreamCAs},
			ForceAttemptHTTP2:   true,
			DisableCompression:  true, // Bodies pass as they are.
			TLSHandshakeTimeout: 10 * time.Second,
		},
		FlushInterval: -1, // A watch's event must not wait for the next one.
		ErrorLog:      options.ErrorLog,
	}
	if err := p.listen(options.Listen); err != nil {
		return nil, err
	}
	return p, nil
}

// Address is where the proxy listens. It stays the same while connections are refused.
func (p *Proxy) Address() netip.AddrPort { return p.address }

// Close ends the proxy and every connection.
func (p *Proxy) Close() {
	p.mutex.Lock()
	p.closed = true
	server := p.server
	p.server = nil
	p.mutex.Unlock()
	if server != nil {
		server.Close() // Cancels the requests' contexts, which frees the hanging ones.
	}
	p.serving.Wait()
	if transport, ok := p.reverse.Transport.(*http.Transport); ok {
		transport.CloseIdleConnections()
	}
}

// Set replaces the faults. The first one that matches a request applies to it, and none means that it passes.
// Streams that are open obey the new faults, too: a matching Stall or Hang silences them for good, and Refuse and Reset
// cut all connections.
func (p *Proxy) Set(faults ...Fault) error {
	for _, fault := range faults {
		if err := fault.validate(); err != nil {
			return err
		}
	}
	p.mutex.Lock()
	if p.closed {
		p.mutex.Unlock()
		return errors.New("setting faults: the proxy is closed")
	}
	p.faults = faults
	for s := range p.streams {
		if fault := match(faults, s.request); fault.silences() {
			s.silence()
		}
	}
	close(p.changed)
	p.changed = make(chan struct{})
	cut := p.connectionFault()
	var server *http.Server
	if cut != Pass {
		server, p.server = p.server, nil
	}
	listen := cut != Refuse && p.server == nil
	p.mutex.Unlock()

	if server != nil {
		server.Close()
	}
	if listen {
		return p.listen(p.address)
	}
	return nil
}

// Pass ends all faults. What was silenced or cut stays so: a connection that a middlebox has forgotten does not come
// back either, and to notice that is the client's task.
func (p *Proxy) Pass() error { return p.Set() }

// connectionFault is Refuse or Reset where such a fault is set, and Pass otherwise. The mutex must be held.
func (p *Proxy) connectionFault() Mode {
	for _, fault := range p.faults {
		if fault.Mode.ofConnections() {
			return fault.Mode
		}
	}
	return Pass
}

// listen opens the port and serves on it until the server is closed.
func (p *Proxy) listen(address netip.AddrPort) error {
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return fmt.Errorf("listening for the fault proxy on %s: %w", address, err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(p.serve),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{p.options.Certificate},
			NextProtos:   []string{"h2", "http/1.1"},
		},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          p.options.ErrorLog,
	}
	p.mutex.Lock()
	p.server = server
	p.address = listener.Addr().(*net.TCPAddr).AddrPort()
	p.mutex.Unlock()
	p.serving.Add(1)
	go func() {
		defer p.serving.Done()
		err := server.ServeTLS(&cuttingListener{listener, p}, "", "")
		if !errors.Is(err, http.ErrServerClosed) {
			p.options.ErrorLog.Printf("serving on %s: %v", address, err)
		}
	}()
	return nil
}

// cuttingListener resets new connections while the proxy is told to, and notes them.
type cuttingListener struct {
	net.Listener
	proxy *Proxy
}

func (l *cuttingListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.proxy.mutex.Lock()
		mode := l.proxy.connectionFault()
		l.proxy.mutex.Unlock()
		if mode == Pass {
			return connection, nil
		}
		l.proxy.journal.add(&Request{Time: time.Now(), Verb: Connect, Mode: mode})
		if tcp, ok := connection.(*net.TCPConn); ok {
			tcp.SetLinger(0) // Makes the kernel send a reset instead of an orderly end.
		}
		connection.Close()
	}
}

// serve answers one request, or does not.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) {
	request := describe(r)
	s := &stream{ResponseWriter: w, request: request, context: r.Context(), silenced: make(chan struct{})}
	p.mutex.Lock()
	fault := match(p.faults, request)
	request.Mode = fault.Mode
	if request.Verb == Watch {
		p.streams[s] = struct{}{}
		if fault.silences() {
			s.silence()
		}
	}
	p.mutex.Unlock()
	p.journal.add(request)
	defer func() {
		p.mutex.Lock()
		delete(p.streams, s)
		p.mutex.Unlock()
	}()

	if fault.Latency > 0 && !p.delay(r.Context(), fault.Latency) {
		return
	}
	switch fault.Mode {
	case Hang:
		<-r.Context().Done()
	case Throttle, Fail:
		fault.refuse(w)
	default:
		p.reverse.ServeHTTP(s, r)
	}
}

// delay waits, unless the faults change or the client leaves before. It returns false if the client has left.
func (p *Proxy) delay(ctx context.Context, latency time.Duration) bool {
	p.mutex.Lock()
	changed := p.changed
	p.mutex.Unlock()
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-changed:
	}
	return true
}

type discard struct{}

func (discard) Write(bytes []byte) (int, error) { return len(bytes), nil }
