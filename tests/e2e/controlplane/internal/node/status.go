package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// report writes the pod's status unless it is what was written last.
func (p *pod) report(ctx context.Context, object *corev1.Pod, problem error) error {
	status := p.status(object, problem)
	if p.reported != nil && equality.Semantic.DeepEqual(*p.reported, status) {
		return nil
	}
	if err := p.show(object, &status); err != nil {
		return err
	}
	// The UID makes the API server refuse a status that is meant for another pod of the same name.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.uid}, "status": status})
	if err != nil {
		return fmt.Errorf("encoding the status of pod %s: %w", p.name, err)
	}
	_, err = p.node.client.CoreV1().Pods(p.name.Namespace).
		Patch(ctx, p.name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("patching the status of pod %s: %w", p.name, err)
	}
	p.reported = &status
	return nil
}

func (p *pod) status(object *corev1.Pod, problem error) corev1.PodStatus {
	status := corev1.PodStatus{
		Phase:     corev1.PodRunning,
		HostIP:    p.node.options.Bridge.Gateway().String(),
		StartTime: &p.seen,
		QOSClass:  object.Status.QOSClass,
	}
	status.HostIPs = []corev1.HostIP{{IP: status.HostIP}}
	if p.address.IsValid() {
		status.PodIP = p.address.String()
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
	}
	var unready []string
	for _, c := range p.containers {
		one := c.status(problem)
		if one.State.Running == nil && one.LastTerminationState.Terminated == nil {
			status.Phase = corev1.PodPending
		}
		if !one.Ready {
			unready = append(unready, one.Name)
		}
		status.ContainerStatuses = append(status.ContainerStatuses, one)
	}
	status.Conditions = p.conditions(object, unready)
	return status
}

func (p *pod) conditions(object *corev1.Pod, unready []string) []corev1.PodCondition {
	previous := object.Status.Conditions
	if p.reported != nil {
		previous = p.reported.Conditions
	}
	containersReady := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}
	if len(unready) > 0 {
		containersReady.Status = corev1.ConditionFalse
		containersReady.Reason = "ContainersNotReady"
		containersReady.Message = "containers with unready status: [" + strings.Join(unready, " ") + "]"
	}
	ready := containersReady
	ready.Type = corev1.PodReady
	conditions := []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		containersReady,
		ready,
	}
	// The HPA controller judges by the time of the last transition whether a pod is young.
	for i := range conditions {
		conditions[i].LastTransitionTime = metav1.Now()
		for _, old := range previous {
			if old.Type == conditions[i].Type && old.Status == conditions[i].Status {
				conditions[i].LastTransitionTime = old.LastTransitionTime
			}
		}
	}
	return conditions
}

// wantedUnready says that a test wants the pod unready.
func (p *pod) wantedUnready() bool {
	p.mutex.Lock()
	_, annotated := p.object.Annotations[UnreadyAnnotation]
	p.mutex.Unlock()
	p.node.mutex.Lock()
	defer p.node.mutex.Unlock()
	return annotated || p.node.unready[p.name]
}
