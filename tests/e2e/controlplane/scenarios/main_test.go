// Package scenarios shows what Tidewright does in a real cluster: installed with its chart, run with the arguments, files
// and identity that the chart renders, watched through the API server.
package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"tidewright.dev/controlplane/internal/network"
	"tidewright.dev/controlplane/internal/node"
)

// theWorld is made by TestMain, before any test, and is what the tests share: a control plane takes seconds to start.
// Tests ask for it with sharedWorld.
var theWorld *world

// unavailable is why theWorld could not be made on this machine.
var unavailable error

func TestMain(m *testing.M) {
	node.RunPodInit() // Containers are this program, too, before they are another.
	bridge, err := network.Enter()
	if errors.Is(err, network.ErrNotPrivileged) {
		unavailable = err
		os.Exit(m.Run())
	}
	code := 1
	if err == nil {
		code, err = runInside(m, bridge)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scenarios:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runInside(m *testing.M, bridge *network.Bridge) (int, error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	folder, err := os.MkdirTemp(os.Getenv("CONTROLPLANE_RUNS"), "controlplane-")
	if err != nil {
		return 0, fmt.Errorf("making the run's folder: %w", err)
	}
	// Whatever else the programs write is to be found there, too.
	if err := os.Setenv("TMPDIR", folder); err != nil {
		return 0, err
	}
	code, err := runInFolder(ctx, m, bridge, folder)
	if code != 0 || err != nil {
		fmt.Fprintf(os.Stderr, "scenarios: the logs are kept in %s\n", folder)
		return code, err
	}
	return 0, os.RemoveAll(folder)
}

func runInFolder(ctx context.Context, m *testing.M, bridge *network.Bridge, folder string) (int, error) {
	var err error
	if theWorld, err = startWorld(ctx, bridge, folder); err != nil {
		return 0, err
	}
	// The kernel ends everything else. Not when the context ends only because the run has.
	defer context.AfterFunc(ctx, func() { os.Exit(130) })()
	code := m.Run()
	return code, theWorld.stop()
}

// sharedWorld is the first thing that a test calls, once.
func sharedWorld(t *testing.T) *world {
	t.Helper()
	if unavailable != nil {
		t.Skip(unavailable)
	}
	claimTest(t)
	return theWorld
}

// claimTest lets each test run once where several processes run them all side by side: CONTROLPLANE_CLAIMS is the folder in
// which they agree. tests/tools/summarize.py knows the words.
func claimTest(t *testing.T) {
	t.Helper()
	folder := os.Getenv("CONTROLPLANE_CLAIMS")
	if folder == "" {
		return
	}
	err := os.Mkdir(filepath.Join(folder, t.Name()), 0o700)
	if errors.Is(err, fs.ErrExist) {
		t.Skip("another process runs this one")
	} else if err != nil {
		t.Fatal(err)
	}
}
