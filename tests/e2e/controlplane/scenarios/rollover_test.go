package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	paperPods  = 500
	paperNodes = 5
	// rollers is how many pods are made and replaced at a time.
	rollers = 4
)

// onlyPods scrapes the pods of the namespace %s.
const onlyPods = `
global: {scrape_interval: 5s}
scrape_configs:
  - job_name: pods
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [%s]}, attach_metadata: {node: true}}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_pod_phase], regex: Running, action: keep}
      - {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
      - {source_labels: [__meta_kubernetes_node_name], target_label: node}
`

// Five nodes and five hundred pods that exist on paper only: nobody runs them, but the API server shows them as running.
func TestTargetsFollowPodsThatRollOver(t *testing.T) {
	w := sharedWorld(t)
	namespace := w.namespace(t, "paper")
	for i := range paperNodes {
		w.paperNode(t, fmt.Sprintf("paper-%d", i))
	}
	r := w.install(t, "prometheusConfig: |\n"+indent(fmt.Sprintf(onlyPods, namespace)))
	w.waitForAccount(t, namespace)
	pods := w.followPods(t, namespace)
	stop := pods.watchTargets(t, webAddress(r.pod(t)), namespace, 2*time.Second)

	begin := time.Now()
	roll(t, func(ctx context.Context, i int) error {
		return w.paperPod(ctx, namespace, fmt.Sprintf("old-%03d", i), i)
	})
	appeared := time.Since(begin)
	begin = time.Now()
	roll(t, func(ctx context.Context, i int) error {
		if err := w.paperPod(ctx, namespace, fmt.Sprintf("new-%03d", i), paperPods+i); err != nil {
			return err
		}
		none := int64(0)
		return w.client.CoreV1().Pods(namespace).Delete(ctx, fmt.Sprintf("old-%03d", i),
			metav1.DeleteOptions{GracePeriodSeconds: &none})
	})
	t.Logf("%d pods appeared within %s and were replaced within %s", paperPods, appeared, time.Since(begin))
	eventually(t, soon, "the rollover to be over", func(ctx context.Context) error {
		active, err := targetsAt(ctx, webAddress(r.pod(t)))
		if err != nil {
			return err
		}
		nodes := map[string]int{}
		for _, one := range active {
			nodes[one.Labels["node"]]++
		}
		if count := pods.running(); count != paperPods || len(active) != paperPods || len(nodes) != paperNodes {
			return fmt.Errorf("%d pods, %d targets, by node %v", count, len(active), nodes)
		}
		return nil
	})
	stop()
}

// roll does something for each of the pods, a few at a time.
func roll(t *testing.T, do func(ctx context.Context, i int) error) {
	t.Helper()
	numbers := make(chan int)
	problems := make(chan error, rollers)
	var workers sync.WaitGroup
	for range rollers {
		workers.Go(func() {
			var problem error
			for i := range numbers {
				problem = errors.Join(problem, do(t.Context(), i))
			}
			problems <- problem
		})
	}
	for i := range paperPods {
		numbers <- i
	}
	close(numbers)
	workers.Wait()
	close(problems)
	for problem := range problems {
		if problem != nil {
			t.Fatal(problem)
		}
	}
}

// paperNode makes a Node that nobody is, until the test ends.
func (w *world) paperNode(t *testing.T, name string) {
	t.Helper()
	nodes := w.client.CoreV1().Nodes()
	if _, err := nodes.Create(t.Context(), &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"made-of": "paper"}},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatalf("making the node %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := nodes.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the node %s: %v", name, err)
		}
	})
}

// waitForAccount waits until pods may be made in a new namespace.
func (w *world) waitForAccount(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, soon, "the namespace's ServiceAccount", func(ctx context.Context) error {
		_, err := w.client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// paperPod makes a pod and says in a kubelet's stead that it runs, at an address where connections are refused at once.
func (w *world) paperPod(ctx context.Context, namespace, name string, number int) error {
	pods := w.client.CoreV1().Pods(namespace)
	pod, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "paper"}},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprintf("paper-%d", number%paperNodes),
			Containers: []corev1.Container{{
				Name: "paper", Image: "paper", Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 8080}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making the pod %s: %w", name, err)
	}
	pod.Status = corev1.PodStatus{
		Phase:      corev1.PodRunning,
		PodIP:      fmt.Sprintf("127.20.%d.%d", number/200, number%200+1),
		HostIP:     "127.0.0.1",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	pod.Status.PodIPs = []corev1.PodIP{{IP: pod.Status.PodIP}}
	pod.Status.HostIPs = []corev1.HostIP{{IP: pod.Status.HostIP}}
	if _, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("setting the status of the pod %s: %w", name, err)
	}
	return nil
}
