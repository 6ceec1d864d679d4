package faults

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"syscall"
	"testing"
	"time"
)

// rig is a proxy in front of an API server of a few lines.
type rig struct {
	proxy  *Proxy
	client *http.Client
	events chan string // What the upstream sends to the watch.
}

func newRig(t *testing.T, http2 bool) *rig {
	t.Helper()
	r := &rig{events: make(chan string)}
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(r.answer))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	cas := x509.NewCertPool()
	cas.AddCert(upstream.Certificate())
	r.proxy, err = Start(Options{
		Listen:      netip.MustParseAddrPort("127.0.0.1:0"),
		Certificate: upstream.TLS.Certificates[0],
		Upstream:    target,
		UpstreamCAs: cas,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.proxy.Close)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cas}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	r.client = &http.Client{Transport: transport}
	return r
}

func (r *rig) answer(w http.ResponseWriter, request *http.Request) {
	if request.URL.Query().Get("watch") != "true" {
		fmt.Fprintf(w, "%s %s", request.Method, request.Header.Get("Authorization"))
		return
	}
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	for {
		select {
		case <-request.Context().Done():
			return
		case event := <-r.events:
			fmt.Fprintln(w, event)
			http.NewResponseController(w).Flush()
		}
	}
}

// get returns status, Retry-After and body.
func (r *rig) get(ctx context.Context, path string) (int, string, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+r.proxy.Address().String()+path, nil)
	if err != nil {
		return 0, "", "", err
	}
	request.Header.Set("Authorization", "Bearer secret")
	response, err := r.client.Do(request)
	if err != nil {
		return 0, "", "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Retry-After"), string(body), err
}

// watch returns the lines of a watch, and closes them at its end.
func (r *rig) watch(ctx context.Context, t *testing.T) <-chan string {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+r.proxy.Address().String()+"/api/v1/pods?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	go func() {
		defer close(lines)
		defer response.Body.Close()
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	return lines
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPassesRequestsAndWatchesOn(t *testing.T) {
	for name, http2 := range map[string]bool{"http1": false, "http2": true} {
		t.Run(name, func(t *testing.T) {
			r, ctx := newRig(t, http2), testContext(t)
			code, _, body, err := r.get(ctx, "/api/v1/pods")
			if err != nil || code != http.StatusOK || body != "GET Bearer secret" {
				t.Errorf("got %d %q %v, want 200 and the token untouched", code, body, err)
			}
			lines := r.watch(ctx, t)
			for _, event := range []string{"first", "second"} {
				r.events <- event
				if got := <-lines; got != event {
					t.Errorf("got event %q, want %q", got, event)
				}
			}
			all := r.proxy.Requests(time.Time{}, time.Now(), nil)
			if len(all) != 2 || all[0].Verb != "GET" || all[1].Verb != Watch || all[1].Path != "/api/v1/pods" {
				t.Errorf("remembered %+v, want a GET and a WATCH", all)
			}
		})
	}
}

func TestAnswersForTheServer(t *testing.T) {
	r, ctx := newRig(t, true), testContext(t)
	set(t, r.proxy, Fault{Mode: Throttle, RetryAfter: 3 * time.Second, Match: Under("/apis/apps")}, Fault{Mode: Fail})
	code, after, _, err := r.get(ctx, "/apis/apps/v1/deployments")
	if err != nil || code != http.StatusTooManyRequests || after != "3" {
		t.Errorf("got %d, Retry-After %q, %v; want 429 and 3", code, after, err)
	}
	if code, _, _, err := r.get(ctx, "/api/v1/pods"); err != nil || code != http.StatusInternalServerError {
		t.Errorf("got %d %v, want 500", code, err)
	}
	set(t, r.proxy)
	if code, _, _, err := r.get(ctx, "/api/v1/pods"); err != nil || code != http.StatusOK {
		t.Errorf("got %d %v, want 200 once the faults are gone", code, err)
	}
}

func TestCutsConnectionsAndComesBackAtTheSameAddress(t *testing.T) {
	for _, row := range []struct {
		mode  Mode
		want  syscall.Errno
		count int
	}{
		{Refuse, syscall.ECONNREFUSED, 0},
		{Reset, syscall.ECONNRESET, 1},
	} {
		t.Run(string(row.mode), func(t *testing.T) {
			r, ctx := newRig(t, false), testContext(t)
			lines := r.watch(ctx, t)
			set(t, r.proxy, Fault{Mode: row.mode})
			if _, open := <-lines; open {
				t.Error("the watch is still open")
			}
			if _, _, _, err := r.get(ctx, "/api/v1/pods"); !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			attempts := r.proxy.Requests(time.Time{}, time.Now(), func(r Request) bool { return r.Verb == Connect })
			if len(attempts) != row.count {
				t.Errorf("counted %d attempts, want %d", len(attempts), row.count)
			}
			set(t, r.proxy)
			if code, _, _, err := r.get(ctx, "/api/v1/pods"); err != nil || code != http.StatusOK {
				t.Errorf("got %d %v, want 200 after the cut", code, err)
			}
		})
	}
}

func TestSilencesOpenWatchesForGood(t *testing.T) {
	r, ctx := newRig(t, false), testContext(t)
	watching, leave := context.WithCancel(ctx)
	lines := r.watch(watching, t)
	r.events <- "heard"
	if got := <-lines; got != "heard" {
		t.Fatalf("got %q", got)
	}
	set(t, r.proxy, Fault{Mode: Stall})
	r.events <- "lost"
	if code, _, _, err := r.get(ctx, "/api/v1/pods"); err != nil || code != http.StatusOK {
		t.Errorf("got %d %v, want other requests to pass", code, err)
	}
	set(t, r.proxy)
	again := r.watch(ctx, t)
	for heard := false; !heard; { // An event goes to either watch.
		select {
		case r.events <- "heard again":
		case _, heard = <-again:
			if !heard {
				t.Fatal("the new watch ended")
			}
		}
	}
	leave()
	if line, open := <-lines; open {
		t.Errorf("the silent watch delivered %q", line)
	}
}

func TestHangsUntilTheClientLeaves(t *testing.T) {
	r, ctx := newRig(t, true), testContext(t)
	set(t, r.proxy, Fault{Mode: Hang})
	waiting, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, _, _, err := r.get(waiting, "/api/v1/pods"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the client's own deadline", err)
	}
}

func TestLatencyEndsWithItsFault(t *testing.T) {
	r, ctx := newRig(t, true), testContext(t)
	set(t, r.proxy, Fault{Mode: Pass, Latency: time.Hour})
	answered := make(chan error, 1)
	go func() {
		_, _, _, err := r.get(ctx, "/api/v1/pods")
		answered <- err
	}()
	for len(r.proxy.Requests(time.Time{}, time.Now().Add(time.Hour), nil)) == 0 {
		if ctx.Err() != nil {
			t.Fatal("the request never arrived")
		}
	}
	set(t, r.proxy)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestRejectsFaultsWithoutSense(t *testing.T) {
	r := newRig(t, true)
	for name, fault := range map[string]Fault{
		"unknown mode":          {Mode: "explode"},
		"requests of a refusal": {Mode: Refuse, Match: Watches},
	} {
		if err := r.proxy.Set(fault); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	r.proxy.Close()
	if err := r.proxy.Pass(); err == nil {
		t.Error("a closed proxy took faults")
	}
}

func TestBusiest(t *testing.T) {
	at := func(milliseconds ...int) (requests []Request) {
		for _, ms := range milliseconds {
			requests = append(requests, Request{Time: time.UnixMilli(int64(ms))})
		}
		return requests
	}
	for _, row := range []struct {
		name     string
		requests []Request
		count    int
		begin    int64
	}{
		{"none", nil, 0, 0},
		{"one", at(5), 1, 5},
		{"spread", at(0, 1000, 2000), 1, 0},
		{"burst in the middle", at(0, 1500, 1600, 2400, 9000), 3, 1500},
	} {
		count, begin := Busiest(row.requests, time.Second)
		if count != row.count || (count > 0 && begin.UnixMilli() != row.begin) {
			t.Errorf("%s: got %d from %d, want %d from %d", row.name, count, begin.UnixMilli(), row.count, row.begin)
		}
	}
}

func set(t *testing.T, p *Proxy, faults ...Fault) {
	t.Helper()
	if err := p.Set(faults...); err != nil {
		t.Fatal(err)
	}
}
