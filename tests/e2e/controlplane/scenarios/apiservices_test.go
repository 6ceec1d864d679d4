package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidewright.dev/controlplane/internal/node"
)

var (
	apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

	allAPIServices = []string{
		"v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io",
		"v1beta1.metrics.k8s.io", "v1.metrics.k8s.io",
	}
)

const withResourceMetrics = "resourceMetrics: true\n"

// shop is a Deployment whose pods are scraped.
const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata:
      labels: {app: shop}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
    spec:
      containers:
        - {name: shop, image: shop, resources: {requests: {cpu: 100m}}}
`

func TestMetricsAPIsAreServedThroughTheAggregationLayer(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, withResourceMetrics)
	namespace := w.openShop(t)
	w.node.SetUsage(node.Pods{Namespace: namespace}, 0.25, 64<<20)
	w.waitAvailable(t)

	t.Run("Discovery", func(t *testing.T) {
		eventually(t, soon, "discovery to list the metrics", func(context.Context) error {
			for _, group := range allAPIServices {
				version, name, _ := strings.Cut(group, ".")
				resources, err := w.client.Discovery().ServerResourcesForGroupVersion(name + "/" + version)
				if err != nil {
					return err
				}
				wanted := map[string]string{
					"custom.metrics.k8s.io":   "pods/http_requests_per_second",
					"external.metrics.k8s.io": "",
					"metrics.k8s.io":          "pods",
				}[name]
				if wanted != "" && !slices.ContainsFunc(resources.APIResources,
					func(r metav1.APIResource) bool { return r.Name == wanted }) {
					return fmt.Errorf("%s does not list %s", group, wanted)
				}
			}
			return nil
		})
	})
	t.Run("Raw", func(t *testing.T) {
		w.waitMetric(t, namespace)
		output := w.kubectl(t, "get", "--raw", shopMetric(namespace))
		if err := checkMetric(output); err != nil {
			t.Error(err)
		}
	})
	t.Run("Top", func(t *testing.T) {
		eventually(t, soon, "kubectl top to show the pods", func(ctx context.Context) error {
			output, err := w.plane.Kubectl(ctx, "top", "pods", "--no-headers", "-n", namespace)
			if err != nil {
				return err
			}
			if strings.Count(output, "250m") != 2 || strings.Count(output, "64Mi") != 2 {
				return errors.New(output)
			}
			return nil
		})
		if output := w.kubectl(t, "top", "nodes"); !strings.Contains(output, "node-1") {
			t.Errorf("kubectl top nodes prints\n%s", output)
		}
	})
}

// openShop deploys the shop, whose two pods get 7 requests per second each.
func (w *world) openShop(t *testing.T) (namespace string) {
	t.Helper()
	namespace = w.namespace(t, "shop")
	w.apply(t, namespace, shop)
	w.node.Metrics().SetRate(node.Pods{Namespace: namespace}, "http_requests_total", 7)
	return namespace
}

// shopMetric is the path of the requests per second.
func shopMetric(namespace string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/http_requests_per_second"
}

// checkMetric says what is wrong with the answer that shopMetric leads to.
func checkMetric(answer string) error {
	var list struct {
		Kind  string
		Items []struct {
			DescribedObject struct{ Name string }
			Value           string
		}
	}
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		return fmt.Errorf("%w: %s", err, answer)
	}
	if list.Kind != "MetricValueList" || len(list.Items) != 2 {
		return fmt.Errorf("not a MetricValueList with 2 items: %s", answer)
	}
	for _, item := range list.Items {
		value, err := resource.ParseQuantity(item.Value)
		if err != nil || value.AsApproximateFloat64() < 6.5 || value.AsApproximateFloat64() > 7.5 {
			return fmt.Errorf("%s does not have about 7 requests per second: %s", item.DescribedObject.Name, answer)
		}
	}
	return nil
}

// askMetric asks kube-apiserver for the requests per second of the shop, and says what is wrong with the answer.
func (w *world) askMetric(ctx context.Context, namespace string) error {
	answer, err := w.client.RESTClient().Get().AbsPath(shopMetric(namespace)).DoRaw(ctx)
	if err != nil {
		return err
	}
	return checkMetric(string(answer))
}

func (w *world) waitMetric(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, soon, "the metric to have its value", func(ctx context.Context) error {
		return w.askMetric(ctx, namespace)
	})
}

// waitAvailable waits until kube-apiserver itself finds that the metrics APIs are served.
func (w *world) waitAvailable(t *testing.T) {
	t.Helper()
	eventually(t, soon, "the APIServices to be Available", func(ctx context.Context) error {
		return w.availability(ctx, allAPIServices, "True")
	})
}

// availability says what is wrong unless each of the APIServices has the condition Available with this status.
func (w *world) availability(ctx context.Context, names []string, wanted string) error {
	for _, name := range names {
		object, err := w.dynamic.Resource(apiServices).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, text := condition(object, "Available")
		if status != wanted {
			return fmt.Errorf("%s: Available is %q: %s", name, status, text)
		}
	}
	return nil
}

// condition returns the status of a condition, "" if it is not there, and its reason and message.
func condition(object *unstructured.Unstructured, name string) (status, text string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, entry := range conditions {
		fields, _ := entry.(map[string]any)
		if fields["type"] == name {
			return fmt.Sprint(fields["status"]), fmt.Sprintf("%v: %v", fields["reason"], fields["message"])
		}
	}
	return "", "no such condition"
}
