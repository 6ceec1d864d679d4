// Package network makes the private world that a run lives in: namespaces of processes, mounts and network, and a bridge
// that stands for the cluster's pod network. The kernel takes all of it away when the run ends, however it ends.
package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNotPrivileged says that the program may not make namespaces.
var ErrNotPrivileged = errors.New("namespaces of processes, mounts and network need root")

// The program runs three times: outside, as process 1 of the new namespaces, and as that one's child, for whom Enter
// returns. Process 1 does nothing but wait, so that the one that does the work may end like any other and be noticed, and
// so that it reaps no process that somebody else waits for.
const (
	stageVariable   = "CONTROLPLANE_STAGE"
	forwardVariable = "CONTROLPLANE_FORWARD"
	stageFirst      = "first"
	stageInside     = "inside"
)

var forwardedSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

var proxyVariables = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
}

// Enter moves the program into namespaces of its own. In the process that the user started it does not return: that one
// starts the program again inside, hands signals on (the second one kills), waits and exits with its exit code. Inside,
// it returns the bridge. Call it first in main or TestMain. An error means that namespaces cannot be made here, and why.
func Enter() (*Bridge, error) { return enter(netip.AddrPort{}) }

// EnterForwarding is Enter with a port on the loopback device outside whose connections go to `inside`.
// Bridge.Forwarded names it.
func EnterForwarding(inside netip.AddrPort) (*Bridge, error) { return enter(inside) }

func enter(forward netip.AddrPort) (*Bridge, error) {
	stage := os.Getenv(stageVariable)
	if err := os.Unsetenv(stageVariable); err != nil {
		return nil, err
	}
	switch stage {
	case stageFirst:
		code, err := first()
		if err != nil {
			return nil, err
		}
		os.Exit(code)
	case stageInside:
		return inside()
	}
	code, err := outside(forward)
	if err != nil {
		return nil, err
	}
	os.Exit(code)
	return nil, nil
}

// outside starts process 1 and returns its exit code. The kernel reports the end of process 1 only when every other
// process of its namespace is gone.
func outside(forward netip.AddrPort) (int, error) {
	if os.Geteuid() != 0 {
		return 0, ErrNotPrivileged
	}
	child := self(stageFirst)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true, // The terminal's signals come once, from here.
	}
	var door *forwarder
	if forward.IsValid() {
		var err error
		if door, err = newForwarder(forward); err != nil {
			return 0, err
		}
		defer door.close()
		child.Env = append(child.Env, forwardVariable+"="+door.address().String())
	}
	// The child's death signal is bound to the thread that starts it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, forwardedSignals...)
	if err := child.Start(); err != nil {
		if errors.Is(err, unix.EPERM) {
			return 0, fmt.Errorf("%w, with the capability CAP_SYS_ADMIN: %w", ErrNotPrivileged, err)
		}
		return 0, fmt.Errorf("making namespaces: %w", err)
	}
	if door != nil {
		go door.serve(child.Process.Pid)
	}
	go handOn(signals, child.Process)
	return exitCode(child.Wait())
}

func handOn(signals <-chan os.Signal, process *os.Process) {
	received := 0
	for next := range signals {
		received++
		if received > 1 {
			next = syscall.SIGKILL
		}
		_ = process.Signal(next)
	}
}

func exitCode(err error) (int, error) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal()), nil
	}
	return 0, fmt.Errorf("waiting for the namespaces' first process: %w", err)
}

// first is process 1: it makes the mounts, starts the program proper and reaps everything until that one ends.
func first() (int, error) {
	// A mount in here must not be seen outside, and /proc must show the processes of this namespace.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("making the mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 0, fmt.Errorf("mounting /proc: %w", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, forwardedSignals...)
	child := self(stageInside)
	if err := child.Start(); err != nil {
		return 0, fmt.Errorf("starting the program inside its namespaces: %w", err)
	}
	go func() {
		for next := range signals {
			_ = child.Process.Signal(next)
		}
	}()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return 0, fmt.Errorf("waiting for the program inside its namespaces: %w", err)
		case err != nil || pid != child.Process.Pid:
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}

func inside() (*Bridge, error) {
	// What the programs in here talk to is in here.
	for _, name := range proxyVariables {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	bridge, err := newBridge()
	if err != nil {
		return nil, err
	}
	if text, found := os.LookupEnv(forwardVariable); found {
		if bridge.forwarded, err = netip.ParseAddrPort(text); err != nil {
			return nil, fmt.Errorf("reading %s: %w", forwardVariable, err)
		}
	}
	return bridge, nil
}

func self(stage string) *exec.Cmd {
	// Not /proc/self/exe by that name: process 1 mounts another /proc.
	program, err := os.Executable()
	if err != nil {
		program = os.Args[0]
	}
	return &exec.Cmd{
		Path: program, Args: os.Args, Env: append(os.Environ(), stageVariable+"="+stage),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}
}
