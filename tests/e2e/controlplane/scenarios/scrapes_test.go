package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidewright.dev/controlplane/internal/node"
)

// The series of a pod end as soon as a scrape of it fails, and with them the result of the query.
func TestFailingScrapesShrinkNothing(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, "")
	namespace := w.namespace(t, "scrapes")
	metrics, pods := w.node.Metrics(), node.Pods{Namespace: namespace, Labels: map[string]string{"app": "front"}}
	metrics.SetGauge(pods, "orders_open", 38)
	w.apply(t, namespace, frontend)
	worker := w.follow(t, namespace, aDeployment, fmt.Sprintf(
		`{type: prometheus, metadata: {query: 'sum(orders_open{namespace="%s"})', threshold: '10'}}`, namespace))
	eventually(t, soon, "the orders' workers to wake up", worker.are(4))

	metrics.Fail(pods)
	t.Cleanup(func() { metrics.Answer(pods) })
	begin := time.Now()
	w.waitNotReady(t, namespace, "the query has had no result since ")
	throughout(t, 10*time.Second, "the scrapes fail", worker.neverShrank(begin))

	before := r.pod(t)
	r.kill(t, before) // What it read is forgotten; the store knows.
	r.waitRestarted(t, before)
	w.waitNotReady(t, namespace, "the query has had no result since ")
	throughout(t, 5*time.Second, "the scrapes still fail", worker.neverShrank(begin))

	metrics.Answer(pods)
	metrics.SetGauge(pods, "orders_open", 11)
	eventually(t, soon, "the workers to become fewer", worker.are(2))
	w.checkActive(t, namespace)
}

// waitNotReady waits until the ScaledObject says that it holds, and why.
func (w *world) waitNotReady(t *testing.T, namespace, why string) {
	t.Helper()
	eventually(t, soon, "the ScaledObject to say that it holds", func(ctx context.Context) error {
		object, err := w.dynamic.Resource(scaledObjects).Namespace(namespace).Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if status, text := condition(object, "Ready"); status != "False" || !strings.Contains(text, why) {
			return fmt.Errorf("Ready is %q: %s", status, text)
		}
		return nil
	})
}
