package faults

import (
	"context"
	"net/http"
	"sync"
)

// stream is the response to one request. Once silenced it writes nothing more, and the connection stays open until the
// client gives up.
type stream struct {
	http.ResponseWriter
	request  *Request
	context  context.Context
	silenced chan struct{}
	once     sync.Once
}

func (s *stream) silence() { s.once.Do(func() { close(s.silenced) }) }

// Write blocks while the stream is silent: the reverse proxy then reads no further either.
func (s *stream) Write(bytes []byte) (int, error) {
	select {
	case <-s.silenced:
		<-s.context.Done()
		return 0, s.context.Err()
	default:
		return s.ResponseWriter.Write(bytes)
	}
}

// Unwrap lets http.ResponseController find Flush.
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
