package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// grace is how long a program may take to end by itself. It is thrown away, so nothing is lost when it may not.
const grace = 5 * time.Second

const logTailLines = 20

// program is one process of the control plane. Its log is appended to over restarts.
type program struct {
	name string
	path string
	args []string
	log  string

	mutex   sync.Mutex
	command *exec.Cmd
	ended   chan struct{} // Closed when the process that `command` started is gone.
}

func (p *program) start() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.running() {
		return fmt.Errorf("%s runs already", p.name)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer log.Close()
	command := &exec.Cmd{
		Path: p.path, Args: append([]string{p.name}, p.args...), Env: os.Environ(), Stdout: log, Stderr: log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true}, // A terminal's signals are for us.
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	ended := make(chan struct{})
	p.command, p.ended = command, ended
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	return nil
}

// stop asks the process to end, waits, and kills it when it takes too long. A program that does not run stays so.
func (p *program) stop() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !p.running() {
		return nil
	}
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(grace):
	}
	return p.killLocked()
}

func (p *program) kill() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !p.running() {
		return nil
	}
	return p.killLocked()
}

func (p *program) killLocked() error {
	if err := p.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.ended
	return nil
}

func (p *program) running() bool {
	if p.command == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// failure says that the program ended although nobody asked it to; nil while it runs.
func (p *program) failure() error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.running() {
		return nil
	}
	return fmt.Errorf("%s ended by itself; the end of %s:\n%s", p.name, p.log, tail(p.log))
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-logTailLines):], []byte("\n")))
}
