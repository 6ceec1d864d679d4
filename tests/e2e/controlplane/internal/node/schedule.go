package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// see takes note of a pod as it is now in the cluster. Of several nodes, the first one to bind a pod gets it.
func (n *Node) see(ctx context.Context, object *corev1.Pod) {
	switch object.Spec.NodeName {
	case "":
		if object.DeletionTimestamp == nil {
			n.bind(ctx, object)
		}
	case n.options.Name:
		n.runPod(ctx, object)
	}
}

func (n *Node) runPod(ctx context.Context, object *corev1.Pod) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if ctx.Err() != nil {
		return // Stop may be waiting already.
	}
	p := n.pods[object.UID]
	if p == nil {
		p = newPod(n, object)
		n.pods[object.UID] = p
		n.routines.Go(func() {
			p.run(ctx)
			n.mutex.Lock()
			defer n.mutex.Unlock()
			delete(n.pods, p.uid)
		})
	}
	p.update(object)
}

// miss takes note of a pod that is no longer in the cluster.
func (n *Node) miss(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	deleted, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if p := n.pods[deleted.UID]; p != nil {
		p.remove()
	}
}

func (n *Node) kickAll() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, p := range n.pods {
		p.wake()
	}
}

// bind gives the pod to this node, however long the API server takes to agree.
func (n *Node) bind(ctx context.Context, object *corev1.Pod) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.binding[object.UID] || ctx.Err() != nil {
		return
	}
	n.binding[object.UID] = true
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: object.Name, UID: object.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: n.options.Name},
	}
	attempt := func(ctx context.Context) (bool, error) {
		err := n.client.CoreV1().Pods(object.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
		return err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err), nil
	}
	n.routines.Go(func() {
		// Ends with success, with the pod, or with the node: none of them is an error.
		_ = wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, attempt)
		n.mutex.Lock()
		defer n.mutex.Unlock()
		delete(n.binding, object.UID)
	})
}
