package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidewright.dev/controlplane/internal/node"
)

var metricRules = schema.GroupVersionResource{Group: "tidewright.dev", Version: "v1alpha1", Resource: "metricrules"}

const ownRules = `
apiVersion: tidewright.dev/v1alpha1
kind: MetricRule
metadata: {name: template}
spec:
  seriesQuery: orders_total
  resources: {template: <<.Resource>>}
  name: {as: orders}
  metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
---
apiVersion: tidewright.dev/v1alpha1
kind: MetricRule
metadata: {name: promql}
spec:
  promql: 'max by (namespace, pod) (orders_open)'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: open}
---
apiVersion: tidewright.dev/v1alpha1
kind: MetricRule
metadata: {name: faulty}
spec:
  promql: 'max by (namespace, pod) (orders_open'
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  name: {as: broken}
`

func TestNamespacesBringTheirOwnMetricRules(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, exampleValues)
	w.waitAvailable(t)
	namespace, other := w.namespace(t, "rules"), w.namespace(t, "other")
	for _, name := range []string{namespace, other} {
		w.node.Metrics().SetGauge(node.Pods{Namespace: name}, "orders_open", 7)
		w.apply(t, name, fmt.Sprintf(webWorkload, 1))
		w.readyPods(t, name, 1)
	}
	w.apply(t, namespace, ownRules)

	open := func(namespace string) string {
		return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/open"
	}
	eventually(t, soon, "the rule to be served", func(ctx context.Context) error {
		return w.serves(ctx, []served{{open(namespace), []string{"7000"}}})
	})
	if err := w.serves(t.Context(), []served{{open(other), nil}}); !apierrors.IsNotFound(err) {
		t.Errorf("a rule of one namespace serves another: %v", err)
	}
	for name, wanted := range map[string]string{
		"template": "False NoMetrics: no series matches orders_total",
		"promql":   "True Listed: gives 1 metrics",
		"faulty":   "False Invalid: MetricRule " + namespace + "/faulty: spec.promql",
	} {
		eventually(t, soon, "the status of "+name, func(ctx context.Context) error {
			object, err := w.dynamic.Resource(metricRules).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if status, text := condition(object, "Ready"); !strings.HasPrefix(status+" "+text, wanted) {
				return fmt.Errorf("%s: %s", status, text)
			}
			return nil
		})
	}
	if table := w.kubectl(t, "get", "metricrules", "-n", namespace); !strings.Contains(table, "pods/open") {
		t.Errorf("kubectl get metricrules prints\n%s", table)
	}
}
