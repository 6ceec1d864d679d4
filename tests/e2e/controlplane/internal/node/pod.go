package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tidewright.dev/controlplane/internal/network"
)

// retryDelay is waited for after the API server, a volume or the network has failed.
const retryDelay = 500 * time.Millisecond

// pod brings one pod to where its specification wants it. Its goroutine looks at everything anew whenever it is woken, so
// it does not matter what has happened in between.
type pod struct {
	node *Node
	name types.NamespacedName
	uid  types.UID
	log  *slog.Logger
	kick chan struct{}

	mutex   sync.Mutex
	object  *corev1.Pod
	removed bool // From the cluster.

	// Of the pod's goroutine; of `containers` only the slice.
	containers  []*container
	real        bool // At least one container is a process.
	seen        metav1.Time
	address     netip.Addr
	namespace   *network.PodNetwork // Of real pods.
	volumes     *volumes            // Of real pods.
	terminating time.Time
	reported    *corev1.PodStatus
}

func newPod(n *Node, object *corev1.Pod) *pod {
	p := &pod{
		node:   n,
		name:   types.NamespacedName{Namespace: object.Namespace, Name: object.Name},
		uid:    object.UID,
		kick:   make(chan struct{}, 1),
		object: object,
		seen:   metav1.Now(),
	}
	p.log = n.options.Log.With("pod", p.name.String())
	for i := range object.Spec.Containers {
		c := newContainer(p, &object.Spec.Containers[i])
		p.real = p.real || c.program != ""
		p.containers = append(p.containers, c)
	}
	if p.real {
		p.volumes = newVolumes(n, p.folder())
	}
	return p
}

func (p *pod) folder() string { return filepath.Join(p.node.options.Folder, "pods", string(p.uid)) }

func (p *pod) update(object *corev1.Pod) {
	p.mutex.Lock()
	p.object = object
	p.mutex.Unlock()
	p.wake()
}

func (p *pod) remove() {
	p.mutex.Lock()
	p.removed = true
	p.mutex.Unlock()
	p.wake()
}

// wake makes the pod's goroutine look at everything soon. It does not block.
func (p *pod) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *pod) renewTokens() {
	if p.volumes != nil {
		p.volumes.expireTokens()
	}
	p.wake()
}

// run works until the pod is gone or the node stops.
func (p *pod) run(ctx context.Context) {
	defer p.free()
	for {
		again, gone := p.sync(ctx)
		if gone {
			return
		}
		timer := time.NewTimer(time.Until(again))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-p.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sync returns when to look again at the latest, or that the pod is gone.
func (p *pod) sync(ctx context.Context) (again time.Time, gone bool) {
	p.mutex.Lock()
	object, removed := p.object, p.removed
	p.mutex.Unlock()
	switch {
	case removed:
		return time.Time{}, true
	case object.DeletionTimestamp != nil:
		return p.terminate(ctx, object)
	}
	now := time.Now()
	again = now.Add(time.Hour)
	problem := p.prepare(ctx, object)
	if problem != nil {
		p.log.Warn("preparing the pod", "error", problem)
		again = now.Add(retryDelay)
	} else {
		for _, c := range p.containers {
			again = earlier(again, c.sync(object, now))
		}
		if p.volumes != nil {
			again = earlier(again, p.volumes.renewal())
		}
	}
	if err := p.report(ctx, object, problem); err != nil && ctx.Err() == nil {
		p.log.Warn("reporting the pod's status", "error", err)
		again = earlier(again, now.Add(retryDelay))
	}
	return again, false
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// prepare makes what containers need before they start, and keeps their volumes current afterwards.
func (p *pod) prepare(ctx context.Context, object *corev1.Pod) error {
	if !p.address.IsValid() {
		address, err := p.node.options.Bridge.Allocate()
		if err != nil {
			return err
		}
		p.address = address
	}
	if !p.real {
		return nil // The address is put on the bridge when the pod runs.
	}
	if p.namespace == nil {
		namespace, err := p.node.options.Bridge.NewPod(p.address)
		if err != nil {
			return err
		}
		p.namespace = namespace
	}
	return p.volumes.sync(ctx, object, p.address)
}

// terminate ends the containers within their grace period and then deletes the pod for good.
func (p *pod) terminate(ctx context.Context, object *corev1.Pod) (again time.Time, gone bool) {
	now := time.Now()
	grace := p.node.options.StopDelay
	if object.DeletionGracePeriodSeconds != nil {
		asked := time.Duration(*object.DeletionGracePeriodSeconds) * time.Second
		if p.real || asked < grace {
			grace = asked
		}
	}
	if p.terminating.IsZero() {
		p.terminating = now
		p.signal(syscall.SIGTERM)
	}
	deadline := p.terminating.Add(grace)
	if p.running() || !p.real {
		if now.Before(deadline) {
			return deadline, false
		}
		p.signal(syscall.SIGKILL)
		if p.running() {
			return now.Add(retryDelay), false // The end of a process wakes this goroutine earlier.
		}
	}
	p.release()
	err := p.node.client.CoreV1().Pods(p.name.Namespace).Delete(ctx, p.name.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(p.uid)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		p.log.Warn("deleting the pod", "error", err)
		return now.Add(retryDelay), false
	}
	return time.Time{}, true
}

func (p *pod) running() bool {
	for _, c := range p.containers {
		if c.live() != nil {
			return true
		}
	}
	return false
}

// signal goes to all processes that run.
func (p *pod) signal(s syscall.Signal) {
	for _, c := range p.containers {
		if process := c.live(); process != nil {
			process.signal(s)
		}
	}
}

// free kills what runs and gives everything back.
func (p *pod) free() {
	p.signal(syscall.SIGKILL)
	for _, c := range p.containers {
		if process := c.current(); process != nil {
			<-process.done
		}
	}
	p.release()
}

// release gives the pod's network back; nothing answers at its address any more.
func (p *pod) release() {
	p.node.metrics.remove(p.uid)
	p.node.usage.remove(p.uid)
	if p.namespace != nil {
		if err := p.namespace.Close(); err != nil {
			p.log.Warn("freeing the pod's network", "error", err)
		}
		p.namespace = nil
	}
	if p.address.IsValid() && !p.real {
		if err := p.node.options.Bridge.RemoveAddress(p.address); err != nil {
			p.log.Warn("freeing the pod's address", "error", err)
		}
	}
}

// show lets the metrics know the pod as its status says it is.
func (p *pod) show(object *corev1.Pod, status *corev1.PodStatus) error {
	if p.real || status.Phase != corev1.PodRunning {
		return nil
	}
	if err := p.node.options.Bridge.AddAddress(p.address); err != nil {
		return err
	}
	shown := shownPod{
		uid: p.uid, namespace: p.name.Namespace, name: p.name.Name, labels: object.Labels, address: p.address,
		ready: isReady(status), started: status.StartTime.Time,
	}
	for _, c := range p.containers {
		shown.containers = append(shown.containers, c.spec.Name)
	}
	p.node.metrics.set(shown)
	p.node.usage.set(shown)
	return nil
}

func isReady(status *corev1.PodStatus) bool {
	for _, condition := range status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// KillContainer sends a signal to the container's process, as its own kernel would see it: it is process 1 of its
// namespace, so a signal other than KILL and STOP has to be handled by it to have an effect.
func (n *Node) KillContainer(namespace, podName, containerName string, s syscall.Signal) error {
	p, err := n.find(namespace, podName)
	if err != nil {
		return err
	}
	for _, c := range p.containers {
		if c.spec.Name != containerName {
			continue
		}
		process := c.live()
		if process == nil {
			return fmt.Errorf("container %s of pod %s has no process", containerName, p.name)
		}
		return process.signal(s)
	}
	return fmt.Errorf("pod %s has no container %s", p.name, containerName)
}

// Pause stops the container's process where it is: connections stay open and nothing is answered.
func (n *Node) Pause(namespace, podName, container string) error {
	return n.KillContainer(namespace, podName, container, syscall.SIGSTOP)
}

// Continue undoes Pause.
func (n *Node) Continue(namespace, podName, container string) error {
	return n.KillContainer(namespace, podName, container, syscall.SIGCONT)
}
