package faults

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mode is what happens to a request.
type Mode string

const (
	// Pass hands the request to the API server.
	Pass Mode = "pass"
	// Refuse closes the port: new connections are refused by the kernel, and open ones end. The attempts cannot be
	// counted; Reset is the countable sibling.
	Refuse Mode = "refuse"
	// Reset accepts each new connection and resets it at once, and cuts the open ones.
	Reset Mode = "reset"
	// Hang accepts the request and never answers; open watches fall silent.
	Hang Mode = "hang"
	// Stall answers watches with their headers and then with nothing more, and silences the open ones. Other
	// requests pass.
	Stall Mode = "stall"
	// Throttle answers 429 with Retry-After.
	Throttle Mode = "throttle"
	// Fail answers 500.
	Fail Mode = "fail"
)

// ofConnections says that the mode acts on connections, before there is a request to match.
func (m Mode) ofConnections() bool { return m == Refuse || m == Reset }

// Fault is a mode and the requests that it meets.
type Fault struct {
	Mode Mode
	// Match chooses requests; nil means all of them, and all watches for Stall. Not for Refuse and Reset.
	Match func(Request) bool
	// RetryAfter is for Throttle, in whole seconds.
	RetryAfter time.Duration
	// Latency is waited for before anything else is done with the request. With mode Pass it is the whole fault.
	Latency time.Duration
}

func (f Fault) validate() error {
	switch f.Mode {
	case Pass, Hang, Stall, Throttle, Fail:
		return nil
	case Refuse, Reset:
		if f.Match != nil {
			return fmt.Errorf("fault %q acts on connections and cannot match requests", f.Mode)
		}
		return nil
	}
	return fmt.Errorf("unknown fault %q", f.Mode)
}

func (f Fault) silences() bool { return f.Mode == Stall || f.Mode == Hang }

// match returns the first fault for the request, or one that lets it pass.
func match(faults []Fault, request *Request) Fault {
	for _, fault := range faults {
		if fault.Mode == Stall && request.Verb != Watch {
			continue
		}
		if !fault.Mode.ofConnections() && (fault.Match == nil || fault.Match(*request)) {
			return fault
		}
	}
	return Fault{Mode: Pass}
}

// refuse answers with a Status object, as the API server itself does.
func (f Fault) refuse(w http.ResponseWriter) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Message:  "Internal error occurred: the fault proxy was told to fail",
		Reason:   metav1.StatusReasonInternalError,
		Code:     http.StatusInternalServerError,
	}
	if f.Mode == Throttle {
		seconds := int32(f.RetryAfter / time.Second)
		status.Message = "Too many requests, please try again later."
		status.Reason = metav1.StatusReasonTooManyRequests
		status.Code = http.StatusTooManyRequests
		status.Details = &metav1.StatusDetails{RetryAfterSeconds: seconds}
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	json.NewEncoder(w).Encode(status) // A client that has left need not be told.
}
