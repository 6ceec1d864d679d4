package node

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const defaultGrace = 30 * time.Second

// container is one of a pod's, through all its restarts. Its mutex guards what other goroutines than the pod's look at.
type container struct {
	pod     *pod
	spec    *corev1.Container
	program string // The executable of the image; empty: the container is simulated.

	mutex   sync.Mutex
	process *process // The one that runs.

	// Of the pod's goroutine.
	startedAt metav1.Time // Zero: not running.
	last      *corev1.ContainerStateTerminated
	restarts  int32
	crashes   int // In a row; decides the back-off.
	startAt   time.Time
	problem   error // Why the last attempt to start failed.
	killAt    time.Time
}

func newContainer(p *pod, spec *corev1.Container) *container {
	c := &container{pod: p, spec: spec, program: p.node.options.Programs[repository(spec.Image)]}
	if c.program == "" {
		c.startAt = p.seen.Add(p.node.options.StartDelay)
	}
	return c
}

// repository is the image's name without tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if colon := strings.LastIndexByte(image, ':'); colon > strings.LastIndexByte(image, '/') {
		image = image[:colon] // A colon before a slash belongs to the registry's port.
	}
	return image
}

func (c *container) current() *process {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.process
}

// live is the process unless it has ended.
func (c *container) live() *process {
	process := c.current()
	if process != nil && process.ended() {
		return nil
	}
	return process
}

// sync starts, buries and kills, and returns when it wants to be called again at the latest; zero: when woken.
func (c *container) sync(object *corev1.Pod, now time.Time) time.Time {
	if process := c.current(); process != nil {
		if !process.ended() {
			return c.supervise(process, object, now)
		}
		c.bury(process)
	}
	switch {
	case !c.startedAt.IsZero() || c.pod.node.holds(c.pod.name, c.last != nil):
		return time.Time{} // A simulated one that runs, or one that shall not.
	case now.Before(c.startAt):
		return c.startAt
	case c.program == "":
		c.startedAt = metav1.NewTime(now)
		return time.Time{}
	}
	process, err := startProcess(c, object)
	if err != nil {
		c.problem = err
		c.pod.log.Warn("starting a container", "container", c.spec.Name, "error", err)
		c.startAt = now.Add(retryDelay)
		return c.startAt
	}
	if c.last != nil {
		c.restarts++
	}
	c.problem = nil
	c.startedAt = metav1.NewTime(process.startedAt)
	c.mutex.Lock()
	c.process = process
	c.mutex.Unlock()
	return time.Time{}
}

// supervise kills a process whose probes say that it is past hope.
func (c *container) supervise(process *process, object *corev1.Pod, now time.Time) time.Time {
	switch {
	case !process.health.hopeless():
		return time.Time{}
	case c.killAt.IsZero():
		c.pod.log.Warn("a probe failed for good", "container", c.spec.Name, "error", process.health.lastError())
		grace := defaultGrace
		if seconds := object.Spec.TerminationGracePeriodSeconds; seconds != nil {
			grace = time.Duration(*seconds) * time.Second
		}
		c.killAt = now.Add(grace)
		process.signal(syscall.SIGTERM)
	case !now.Before(c.killAt):
		process.signal(syscall.SIGKILL)
		return now.Add(retryDelay)
	}
	return c.killAt
}

func (c *container) bury(process *process) {
	c.mutex.Lock()
	c.process = nil
	c.mutex.Unlock()
	options := &c.pod.node.options
	if process.end.FinishedAt.Sub(process.startedAt) > 2*options.MaxRestartDelay {
		c.crashes = 0
	}
	delay := options.MaxRestartDelay
	if c.crashes < 10 {
		delay = min(delay, options.RestartDelay<<c.crashes)
	}
	c.crashes++
	c.startAt = process.end.FinishedAt.Add(delay)
	c.last = &process.end
	c.startedAt = metav1.Time{}
	c.killAt = time.Time{}
	c.pod.log.Info("a container ended", "container", c.spec.Name, "exitCode", c.last.ExitCode, "signal", c.last.Signal)
}

// status is what the cluster is told. `problem` is what keeps the whole pod from starting.
func (c *container) status(problem error) corev1.ContainerStatus {
	process := c.current()
	running := !c.startedAt.IsZero()
	started := running && (process == nil || process.health.started())
	status := corev1.ContainerStatus{
		Name:         c.spec.Name,
		Image:        c.spec.Image,
		ImageID:      c.spec.Image,
		RestartCount: c.restarts,
		Started:      &started,
		Ready:        started && (process == nil || process.health.ready()) && !c.pod.wantedUnready(),
	}
	if c.last != nil {
		status.LastTerminationState.Terminated = c.last
	}
	switch {
	case running:
		status.State.Running = &corev1.ContainerStateRunning{StartedAt: c.startedAt}
		status.ContainerID = "process://" + string(c.pod.uid) + "/" + c.spec.Name
	case problem != nil:
		status.State.Waiting = waiting("ContainerCreating", problem)
	case c.problem != nil:
		status.State.Waiting = waiting(reasonOf(c.problem), c.problem)
	case c.last != nil:
		status.State.Waiting = waiting("CrashLoopBackOff", errors.New("the container ended and waits to be restarted"))
	default:
		status.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
	}
	return status
}

func waiting(reason string, err error) *corev1.ContainerStateWaiting {
	return &corev1.ContainerStateWaiting{Reason: reason, Message: err.Error()}
}

// configError says that a specification cannot be carried out, here or at all.
type configError struct{ error }

func reasonOf(err error) string {
	if errors.As(err, &configError{}) {
		return "CreateContainerConfigError"
	}
	return "RunContainerError"
}
