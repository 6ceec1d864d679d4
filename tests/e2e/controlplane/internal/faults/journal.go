package faults

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// Verb tells a watch from another GET; otherwise it is the HTTP method.
type Verb string

const (
	// Watch is a GET with watch=true.
	Watch Verb = "WATCH"
	// Connect stands for a connection that was reset before it brought a request.
	Connect Verb = "CONNECT"
)

// Request is what the proxy remembers of a request.
type Request struct {
	Time time.Time
	Verb Verb
	// Path is without the query.
	Path string
	// UserAgent is the client's.
	UserAgent string
	// Mode is what the proxy did with it.
	Mode Mode
}

// describe leaves the mode empty.
func describe(r *http.Request) *Request {
	request := &Request{Time: time.Now(), Verb: Verb(r.Method), Path: r.URL.Path, UserAgent: r.UserAgent()}
	if watch := r.URL.Query().Get("watch"); r.Method == http.MethodGet && (watch == "true" || watch == "1") {
		request.Verb = Watch
	}
	return request
}

// Watches matches watches.
func Watches(r Request) bool { return r.Verb == Watch }

// Writes matches requests that change something.
func Writes(r Request) bool {
	return r.Verb != Watch && r.Verb != Connect && r.Verb != http.MethodGet && r.Verb != http.MethodHead
}

// Under matches requests whose path begins with the prefix.
func Under(prefix string) func(Request) bool {
	return func(r Request) bool { return strings.HasPrefix(r.Path, prefix) }
}

type journal struct {
	mutex    sync.Mutex
	requests []*Request // By time, nearly.
}

func (j *journal) add(r *Request) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	j.requests = append(j.requests, r)
}

// Requests returns those that arrived in [from, to) and match; a nil matcher takes all.
func (p *Proxy) Requests(from, to time.Time, matches func(Request) bool) []Request {
	p.journal.mutex.Lock()
	defer p.journal.mutex.Unlock()
	var found []Request
	for _, r := range p.journal.requests {
		if !r.Time.Before(from) && r.Time.Before(to) && (matches == nil || matches(*r)) {
			found = append(found, *r)
		}
	}
	return found
}

// Busiest returns how many of the requests fall into the window, of the given length, that holds the most of them,
// and when that window begins. The requests must be sorted by time, as those of Requests are but for microseconds.
func Busiest(requests []Request, length time.Duration) (count int, begin time.Time) {
	first := 0
	for last := range requests {
		for requests[last].Time.Sub(requests[first].Time) >= length {
			first++
		}
		if size := last - first + 1; size > count {
			count, begin = size, requests[first].Time
		}
	}
	return count, begin
}
