package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// process is one life of a real container.
type process struct {
	command   *exec.Cmd
	startedAt time.Time
	health    *health
	done      chan struct{}
	end       corev1.ContainerStateTerminated // Valid once `done` is closed.
}

// copyPrograms puts the executables into the node's folder, where building them anew does not touch them.
func (n *Node) copyPrograms() error {
	copies := map[string]string{}
	number := 0
	for image, source := range n.options.Programs {
		target := filepath.Join(n.options.Folder, "programs", fmt.Sprint(number), filepath.Base(source))
		number++
		if err := copyFile(source, target, 0o755); err != nil {
			return fmt.Errorf("copying the program of image %s: %w", image, err)
		}
		copies[image] = target
	}
	n.options.Programs = copies
	return nil
}

func copyFile(source, target string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// startProcess starts the container's program behind this very executable as first process (RunPodInit), which makes the
// namespace habitable. It wakes the pod's goroutine when the process ends or its probes change their mind.
func startProcess(c *container, object *corev1.Pod) (*process, error) {
	spec, err := c.initSpec(object)
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding the process's specification: %w", err)
	}
	probes, err := newProbes(c.spec, c.pod.address)
	if err != nil {
		return nil, err
	}
	output, err := openLog(c.pod.node.LogFile(c.pod.name.Namespace, c.pod.name.Name, c.spec.Name))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p := &process{done: make(chan struct{}), health: newHealth(probes, c.pod.wake), startedAt: time.Now()}
	p.command = &exec.Cmd{
		Path:   c.pod.node.executable,
		Args:   []string{c.pod.node.executable, podInitCommand},
		Env:    []string{},
		Stdin:  bytes.NewReader(encoded),
		Stdout: output,
		Stderr: output,
		SysProcAttr: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
			Setsid:     true,
		},
	}
	if err := c.pod.namespace.Run(p.command.Start); err != nil {
		return nil, fmt.Errorf("starting the process: %w", err)
	}
	probing, stop := context.WithCancel(context.Background())
	go p.health.run(probing)
	go func() {
		p.wait()
		stop()
		close(p.done)
		c.pod.wake()
	}()
	return p, nil
}

func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder of a log: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	return file, nil
}

func (p *process) wait() {
	_ = p.command.Wait() // The state tells more than the error.
	p.end = corev1.ContainerStateTerminated{
		Reason: "Error", ExitCode: 128, StartedAt: metav1.NewTime(p.startedAt), FinishedAt: metav1.Now(),
	}
	status, ok := p.command.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		p.end.Signal = int32(status.Signal())
		p.end.ExitCode = 128 + p.end.Signal
	case ok:
		p.end.ExitCode = int32(status.ExitStatus())
		if p.end.ExitCode == 0 {
			p.end.Reason = "Completed"
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.command.Process.Signal(s); err != nil {
		return fmt.Errorf("sending %s to process %d: %w", s, p.command.Process.Pid, err)
	}
	return nil
}
