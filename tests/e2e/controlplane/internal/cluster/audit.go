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

// Audit returns what kube-apiserver has answered so far, in the order of its log. A request that is still running, such
// as a watch, is there with the stage ResponseStarted.
func (c *Cluster) Audit() ([]auditv1.Event, error) {
	file, err := os.Open(c.file(auditLog))
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	defer file.Close()
	var events []auditv1.Event
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longestAuditLine)
	for lines.Scan() {
		var event auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			// The last line may be being written.
			if lines.Scan() {
				return nil, fmt.Errorf("reading line %d of the audit log: %w", len(events)+1, err)
			}
			break
		}
		events = append(events, event)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return events, nil
}
