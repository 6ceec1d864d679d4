package cluster

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const (
	auditLog = "audit.log"
	// A line holds a request and its response.
	longestAuditLine = 16 << 20
)

// Audit returns the requests that `keep` chooses among those that kube-apiserver has answered so far, in the order of its
// log. A watch is there twice, the first time with the stage ResponseStarted.
func (c *Cluster) Audit(keep func(auditv1.Event) bool) ([]auditv1.Event, error) {
	file, err := os.Open(c.file(auditLog))
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	defer file.Close()
	var events []auditv1.Event
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestAuditLine)
	for number := 1; lines.Scan(); number++ {
		var event auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			// The last line may be being written.
			if lines.Scan() {
				return nil, fmt.Errorf("reading line %d of the audit log: %w", number, err)
			}
			break
		}
		if keep(event) {
			events = append(events, event)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return events, nil
}
