package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func TestPollReturnsWhenTheCheckIsContent(t *testing.T) {
	tries := 0
	err := Poll(t.Context(), "three tries", func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestPollSaysWhatItSawLast(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := Poll(ctx, "the tide", func(ctx context.Context) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.New("low water")
	})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the tide") ||
		!strings.Contains(err.Error(), "low water") {
		t.Errorf("the error is %v", err)
	}
}

func TestPollGivesUpWhenItIsInVain(t *testing.T) {
	gone := errors.New("the program ended")
	tries := 0
	err := Poll(t.Context(), "a program", func(context.Context) error {
		tries++
		return Final(gone)
	})
	if !errors.Is(err, gone) || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestProgramThatEndsByItselfIsReportedWithItsLog(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := &program{name: "sh", path: "/bin/sh", args: []string{"-c", "echo no such flag; exit 1"}, log: log}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	err := Poll(t.Context(), "the end", func(context.Context) error {
		if failure := p.failure(); failure != nil {
			return Final(failure)
		}
		return errors.New("it runs")
	})
	if err == nil || !strings.Contains(err.Error(), "no such flag") {
		t.Errorf("the error is %v", err)
	}
	if err := errors.Join(p.stop(), p.kill()); err != nil {
		t.Errorf("stopping what does not run: %v", err)
	}
}

func TestProgramRunsOnceUntilItIsStopped(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	p := &program{name: "sleep", path: "/bin/sleep", args: []string{"1000"}, log: log}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	if p.failure() != nil || p.start() == nil {
		t.Error("it runs, but may be started again")
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if p.failure() == nil {
		t.Error("it was stopped, but runs")
	}
	if err := errors.Join(p.start(), p.kill()); err != nil {
		t.Error(err)
	}
}

func TestAuditSkipsTheLineThatIsBeingWritten(t *testing.T) {
	c := &Cluster{options: Options{Dir: t.TempDir()}}
	all := func(auditv1.Event) bool { return true }
	for _, test := range []struct {
		name, text string
		events     int
		good       bool
	}{
		{"complete", "{\"verb\":\"get\"}\n{\"verb\":\"list\"}\n", 2, true},
		{"torn at the end", "{\"verb\":\"get\"}\n{\"verb\":\"li", 1, true},
		{"torn in between", "{\"verb\":\"get\"}\n{\"verb\":\"li\n{\"verb\":\"get\"}\n", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(c.file(auditLog), []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			events, err := c.Audit(all)
			if len(events) != test.events || (err == nil) != test.good {
				t.Errorf("%d events, %v", len(events), err)
			}
		})
	}
}
