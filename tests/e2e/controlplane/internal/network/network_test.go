package network_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tidewright.dev/controlplane/internal/network"
)

// probeVariable names what the program is to do instead of testing, when a test starts it again.
const probeVariable = "NETWORK_TEST_PROBE"

var (
	bridge      *network.Bridge
	unavailable error
)

// The tests themselves run inside, so that what a run leaves behind "on the host" is only theirs to see.
func TestMain(m *testing.M) {
	bridge, unavailable = network.Enter()
	if unavailable != nil && !errors.Is(unavailable, network.ErrNotPrivileged) {
		fmt.Fprintln(os.Stderr, unavailable)
		os.Exit(1)
	}
	if probe := os.Getenv(probeVariable); probe != "" {
		os.Exit(runProbe(probe))
	}
	os.Exit(m.Run())
}

func needNamespaces(t *testing.T) {
	if unavailable != nil {
		t.Skip(unavailable)
	}
}

// runProbe makes a mess: processes that outlive their parents, mounts, network devices. Then it ends as it is told.
func runProbe(probe string) int {
	for _, line := range []string{
		"sleep 1000 & sleep 1001 & sleep 0.01",
		"mount -t tmpfs mess /mnt",
		"setsid sleep 1002 >/dev/null 2>&1 </dev/null &",
	} {
		command := exec.Command("sh", "-c", line)
		if err := command.Run(); err != nil {
			fmt.Fprintln(os.Stderr, line, err)
			return 1
		}
	}
	address, err := bridge.Allocate()
	if err != nil {
		return 1
	}
	if _, err := bridge.NewPod(address); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	switch probe {
	case "fail":
		return 3
	case "wait":
		_, _ = io.Copy(io.Discard, os.Stdin) // Until it is killed.
	}
	return 0
}

// hostState is what a run could leave behind.
func hostState(t *testing.T) []string {
	t.Helper()
	state := []string{}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range processes {
		text, err := os.ReadFile(file)
		if err == nil && len(text) > 0 {
			state = append(state, file+" "+strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	state = append(state, strings.Split(string(mounts), "\n")...)
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		state = append(state, "link "+link.Attrs().Name)
	}
	namespaces, err := filepath.Glob("/run/netns/*")
	if err != nil {
		t.Fatal(err)
	}
	return append(state, namespaces...)
}

// startProbe starts this program again, which makes namespaces within ours, and returns when it has made its mess.
func startProbe(t *testing.T, probe string) *exec.Cmd {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program)
	command.Env = append(os.Environ(), probeVariable+"="+probe)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("ready\n"))
	if _, err := io.ReadFull(output, ready); err != nil || string(ready) != "ready\n" {
		t.Fatalf("the probe says %q: %v", ready, err)
	}
	return command
}

func TestNothingIsLeftBehind(t *testing.T) {
	needNamespaces(t)
	for _, test := range []struct {
		name, probe string
		end         func(*exec.Cmd) error
		exitCode    int
	}{
		{"OfASuccess", "end", func(*exec.Cmd) error { return nil }, 0},
		{"OfAFailure", "fail", func(*exec.Cmd) error { return nil }, 3},
		{"OfAnInterruptedRun", "wait", func(c *exec.Cmd) error { return c.Process.Signal(syscall.SIGINT) }, 128 + 2},
		{"OfATerminatedRun", "wait", func(c *exec.Cmd) error { return c.Process.Signal(syscall.SIGTERM) }, 128 + 15},
		{"OfAKilledRun", "wait", func(c *exec.Cmd) error { return c.Process.Kill() }, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := hostState(t)
			command := startProbe(t, test.probe)
			if err := test.end(command); err != nil {
				t.Fatal(err)
			}
			var exit *exec.ExitError
			if err := command.Wait(); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if code := command.ProcessState.ExitCode(); code != test.exitCode {
				t.Errorf("the exit code is %d instead of %d", code, test.exitCode)
			}
			// A killed parent does not wait for the kernel to clean up.
			deadline := time.Now().Add(10 * time.Second)
			after := hostState(t)
			for !slices.Equal(before, after) && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
				after = hostState(t)
			}
			if !slices.Equal(before, after) {
				t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
		})
	}
}

// serve answers each connection at the address, in the network namespace of the caller, with a text.
func serve(t *testing.T, address, text string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, text)
		}))
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return listener, nil
}

func ask(address string) (string, error) {
	connection, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(connection)
	_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	return string(body), err
}

func TestPodsReachEachOtherAndTheGateway(t *testing.T) {
	needNamespaces(t)
	pods := make([]*network.PodNetwork, 2)
	for i := range pods {
		address, err := bridge.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		if pods[i], err = bridge.NewPod(address); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := pods[i].Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	if _, err := serve(t, bridge.Gateway().String()+":8080", "gateway"); err != nil {
		t.Fatal(err)
	}
	if err := pods[0].Run(func() error {
		_, err := serve(t, pods[0].Address().String()+":8080", "pod")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	fromPod := func(address string) (text string, err error) {
		err = pods[1].Run(func() error {
			text, err = ask(address)
			return err
		})
		return text, err
	}
	for _, test := range []struct {
		name, address, want string
		ask                 func(string) (string, error)
	}{
		{"from the gateway to a pod", pods[0].Address().String(), "pod", ask},
		{"from a pod to a pod", pods[0].Address().String(), "pod", fromPod},
		{"from a pod to the gateway", bridge.Gateway().String(), "gateway", fromPod},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := test.ask(test.address + ":8080"); err != nil || got != test.want {
				t.Errorf("got %q, %v instead of %q", got, err, test.want)
			}
		})
	}
}

func TestTheBridgeKeepsItsHardwareAddressWhenPodsComeAndGo(t *testing.T) {
	needNamespaces(t)
	hardware := func() string {
		link, err := netlink.LinkByName("pods")
		if err != nil {
			t.Fatal(err)
		}
		return link.Attrs().HardwareAddr.String()
	}
	before := hardware()
	for range 16 { // Each has a random address, of which every other one is likely to be the lowest so far at first.
		address, err := bridge.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		pod, err := bridge.NewPod(address)
		if err != nil {
			t.Fatal(err)
		}
		if now := hardware(); now != before {
			t.Errorf("the bridge has %s instead of %s", now, before)
		}
		if err := pod.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAddressOfTheBridgeAnswersWhileItIsThere(t *testing.T) {
	needNamespaces(t)
	address, err := bridge.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.AddAddress(address); err != nil {
		t.Fatal(err)
	}
	if _, err := serve(t, address.String()+":8080", "simulated"); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(address.String() + ":8080"); err != nil || got != "simulated" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := bridge.RemoveAddress(address); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(address.String() + ":8080"); err == nil {
		t.Errorf("got %q from an address that is gone", got)
	}
}

func TestAddressesAreNeverGivenTwice(t *testing.T) {
	needNamespaces(t)
	seen := map[string]bool{}
	for range 300 {
		address, err := bridge.Allocate()
		if err != nil {
			t.Fatal(err)
		}
		if seen[address.String()] || address == bridge.Gateway() || !network.Subnet.Contains(address) {
			t.Fatalf("%s is no free address", address)
		}
		seen[address.String()] = true
	}
}
