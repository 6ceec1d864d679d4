package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidewright.dev/controlplane/internal/node"
)

// What prometheus-adapter's walk-through, its manifests and its page about external metrics configure, spelled as there:
// quoted keys, block scalars, queries over several lines.
const walkthroughValues = `
resourceMetrics: true
extraArgs: [--adapter.relist-interval=1000]
adapterRules: |
  "rules":
  - "seriesQuery": |
       {namespace!="",__name__!~"^container_.*"}
    "resources":
      "template": "<<.Resource>>"
    "name":
      "matches": "^(.*)_total"
      "as": ""
    "metricsQuery": |
      sum by (<<.GroupBy>>) (
        irate (
          <<.Series>>{<<.LabelMatchers>>}[1m]
        )
      )
  "externalRules":
  - seriesQuery: '{__name__="queue_consumer_lag",name!=""}'
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)
    resources:
      overrides: { namespace: {resource: "namespace"} }
  - seriesQuery: '{__name__="queue_depth",name!=""}'
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (name)
    resources:
      namespaced: false
adapterResourceRules: |
  "resourceRules":
    "cpu":
      "containerLabel": "container"
      "containerQuery": |
        sum by (<<.GroupBy>>) (
          irate (
              container_cpu_usage_seconds_total{<<.LabelMatchers>>,container!="",pod!=""}[4m]
          )
        )
      "nodeQuery": |
        sum by (<<.GroupBy>>) (
          irate(
              node_cpu_usage_seconds_total{<<.LabelMatchers>>}[4m]
          )
        )
      "resources":
        "overrides":
          "namespace":
            "resource": "namespace"
          "node":
            "resource": "node"
          "pod":
            "resource": "pod"
    "memory":
      "containerLabel": "container"
      "containerQuery": |
        sum by (<<.GroupBy>>) (
          container_memory_working_set_bytes{<<.LabelMatchers>>,container!="",pod!=""}
        )
      "nodeQuery": |
        sum by (<<.GroupBy>>) (
          node_memory_working_set_bytes{<<.LabelMatchers>>}
        )
      "resources":
        "overrides":
          "node":
            "resource": "node"
          "namespace":
            "resource": "namespace"
          "pod":
            "resource": "pod"
    "window": "5m"
`

// sampleApp is the walk-through's application with its Service, as far as the cluster looks at it.
const sampleApp = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: sample-app, labels: {app: sample-app}}
spec:
  replicas: 1
  selector: {matchLabels: {app: sample-app}}
  template:
    metadata: {labels: {app: sample-app}}
    spec:
      containers:
        - {name: metrics-provider, image: sample-app, ports: [{name: http, containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: sample-app, labels: {app: sample-app}}
spec:
  type: ClusterIP
  selector: {app: sample-app}
  ports: [{name: http, port: 80, protocol: TCP, targetPort: 8080}]
`

const sampleMonitor = `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: sample-app, labels: {app: sample-app}}
spec:
  selector: {matchLabels: {app: sample-app}}
  endpoints: [{port: http}]
`

const sampleHPA = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: sample-app}
  minReplicas: 1
  maxReplicas: 10
  metrics:
    - %s
`

// A target of type Value with an averageValue is what the walk-through writes, and what the API server takes.
const sampleRequests = `{type: Pods, pods: {metric: {name: http_requests}, target: {type: Value, averageValue: 500m}}}`

// sampleQueue is about a queue in another namespace, %s.
const sampleQueue = `{type: External, external: {target: {type: AverageValue, averageValue: "50"},
       metric: {name: queue_depth, selector: {matchLabels: {namespace: %s, name: my-sample-queue}}}}}`

func TestPrometheusAdaptersWalkthroughWorks(t *testing.T) {
	w := sharedWorld(t)
	w.defineMonitorKinds(t)
	w.install(t, walkthroughValues)
	w.waitAvailable(t)
	w.kubectl(t, "get", "--raw", "/apis/custom.metrics.k8s.io/v1beta2")
	namespace := w.namespace(t, "walkthrough")
	pods, metrics := node.Pods{Namespace: namespace}, w.node.Metrics()
	metrics.ShareRate(pods, "http_requests_total", 0.1)
	w.node.SetUsage(pods, 0.25, 64<<20)
	w.apply(t, namespace, sampleApp)
	w.apply(t, namespace, sampleMonitor)

	t.Run("Requests", func(t *testing.T) {
		w.waitListed(t, "v1beta2", map[string]bool{"pods/http_requests": true, "namespaces/http_requests": false,
			"services/http_requests": true})
		// The walk-through spells the selector's parameter so that nobody reads it.
		path := "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/http_requests?selector=app%3Dsample-app"
		eventually(t, soon, "the application's requests", func(ctx context.Context) error {
			output, err := w.plane.Kubectl(ctx, "get", "--raw", path)
			if err != nil {
				return err
			}
			if !strings.Contains(output, `"windowSeconds":60`) || !strings.Contains(output, `"name":"sample-app-`) {
				return fmt.Errorf("kubectl get --raw prints %s", output)
			}
			return nil
		})
		app := w.watchReplicas(t, deployments, namespace, "sample-app")
		w.apply(t, namespace, fmt.Sprintf(sampleHPA, "sample-app", sampleRequests))
		metrics.ShareRate(pods, "http_requests_total", 1.8)
		eventually(t, soon, "the HPA to scale up", app.stay(4))
		if text := w.kubectl(t, "describe", "hpa", "sample-app", "-n", namespace); !strings.Contains(text,
			"\"http_requests\" on pods") || !strings.Contains(text, "SuccessfulRescale") {
			t.Errorf("kubectl describe hpa prints\n%s", text)
		}
		metrics.ShareRate(pods, "http_requests_total", 0.3)
		eventually(t, soon, "the HPA to scale down", app.stay(1))
		w.kubectl(t, "delete", "hpa", "sample-app", "-n", namespace)
	})
	t.Run("External", func(t *testing.T) {
		queue := w.namespace(t, "queue")
		w.apply(t, queue, fmt.Sprintf(webWorkload, 1))
		metrics.SetGauge(node.Pods{Namespace: queue}, `queue_depth{name="my-sample-queue"}`, 140)
		metrics.SetGauge(node.Pods{Namespace: queue}, `queue_depth{name="other"}`, 1000)
		metrics.SetGauge(pods, `queue_consumer_lag{name="jobs"}`, 12)
		path := "/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace
		eventually(t, soon, "external metrics", func(ctx context.Context) error {
			return w.serves(ctx, []served{
				{path + "/queue_consumer_lag", []string{"12000"}},
				{path + "/queue_depth", []string{"140000", "1000000"}},
			})
		})
		app := w.watchReplicas(t, deployments, namespace, "sample-app")
		w.apply(t, namespace, fmt.Sprintf(sampleHPA, "external-queue-scaler", fmt.Sprintf(sampleQueue, queue)))
		eventually(t, soon, "the HPA to follow a queue of another namespace", app.stay(3))
		w.kubectl(t, "delete", "hpa", "external-queue-scaler", "-n", namespace)
	})
	t.Run("Top", func(t *testing.T) {
		eventually(t, soon, "kubectl top to show the pods", func(ctx context.Context) error {
			output, err := w.plane.Kubectl(ctx, "top", "pods", "--no-headers", "-n", namespace)
			if err == nil && (!strings.Contains(output, "250m") || !strings.Contains(output, "64Mi")) {
				err = fmt.Errorf("kubectl top pods prints %s", output)
			}
			return err
		})
		if output := w.kubectl(t, "top", "node"); !strings.Contains(output, "node-1") {
			t.Errorf("kubectl top node prints\n%s", output)
		}
	})
}

// The rules that prometheus-adapter generates, and its Helm chart's default, with a shorter range.
const defaultRulesValues = `
extraArgs: [--adapter.relist-interval=1000]
adapterRules: |
  rules:
  - seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
    seriesFilters: []
    resources:
      overrides:
        namespace: {resource: namespace}
        pod: {resource: pod}
    name: {matches: ^container_(.*)_seconds_total$, as: ""}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[10s])) by (<<.GroupBy>>)
  - seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
    seriesFilters:
    - isNot: ^container_.*_seconds_total$
    resources:
      overrides:
        namespace: {resource: namespace}
        pod: {resource: pod}
    name: {matches: ^container_(.*)_total$, as: ""}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>,container!="POD"}[10s])) by (<<.GroupBy>>)
  - seriesQuery: '{__name__=~"^container_.*",container!="POD",namespace!="",pod!=""}'
    seriesFilters:
    - isNot: ^container_.*_total$
    resources:
      overrides:
        namespace: {resource: namespace}
        pod: {resource: pod}
    name: {matches: ^container_(.*)$, as: ""}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>,container!="POD"}) by (<<.GroupBy>>)
  - seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
    seriesFilters:
    - isNot: .*_total$
    resources: {template: <<.Resource>>}
    name: {matches: "", as: ""}
    metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
  - seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
    seriesFilters:
    - isNot: .*_seconds_total
    resources: {template: <<.Resource>>}
    name: {matches: ^(.*)_total$, as: ""}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)
  - seriesQuery: '{namespace!="",__name__!~"^container_.*"}'
    seriesFilters: []
    resources: {template: <<.Resource>>}
    name: {matches: ^(.*)_seconds_total$, as: ""}
    metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[10s])) by (<<.GroupBy>>)
`

func TestPrometheusAdaptersDefaultRulesWork(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, defaultRulesValues)
	w.waitCustomAvailable(t)
	namespace := w.namespace(t, "defaults")
	pods, metrics := node.Pods{Namespace: namespace}, w.node.Metrics()
	metrics.SetRate(pods, "http_requests_total", 7)
	metrics.SetRate(pods, "work_seconds_total", 2)
	metrics.SetGauge(pods, "queue_length", 21)
	w.node.SetUsage(pods, 0.25, 64<<20)
	w.apply(t, namespace, fmt.Sprintf(webWorkload, 2))

	w.waitListed(t, "v1beta1", map[string]bool{
		"pods/cpu_usage": true, "pods/fs_reads": true, "pods/memory_working_set_bytes": true, "pods/queue_length": true,
		"pods/http_requests": true, "pods/work": true, "namespaces/http_requests": false,
	})
	// Exact ones; what rates are depends on when was scraped.
	path := "/apis/custom.metrics.k8s.io/v1beta1/namespaces/" + namespace
	eventually(t, soon, "the gauges", func(ctx context.Context) error {
		return w.serves(ctx, []served{
			{path + "/pods/*/queue_length", []string{"21000", "21000"}},
			{path + "/metrics/queue_length", []string{"42000"}},
			{path + "/pods/*/memory_working_set_bytes", []string{fmt.Sprint(64 << 20 * 1000), fmt.Sprint(64 << 20 * 1000)}},
		})
	})
	for _, metric := range []string{"cpu_usage", "fs_reads", "http_requests", "work"} {
		eventually(t, soon, metric, func(ctx context.Context) error {
			return w.servesSome(ctx, path+"/pods/*/"+metric, 2)
		})
	}
}

// What the configuration walk-through assumes of the labels.
const ownLabelsValues = `
extraArgs: [--adapter.relist-interval=1000]
prometheusConfig: |
  global: {scrape_interval: 1s}
  scrape_configs:
    - job_name: pods
      kubernetes_sd_configs: [{role: pod}]
      relabel_configs:
        - {source_labels: [__meta_kubernetes_pod_annotation_prometheus_io_scrape], action: keep, regex: "true"}
        - source_labels: [__address__, __meta_kubernetes_pod_annotation_prometheus_io_port]
          regex: '([^:]+)(?::\d+)?;(\d+)'
          target_label: __address__
          replacement: $1:$2
        - {source_labels: [__meta_kubernetes_namespace], target_label: kubernetes_namespace}
        - {source_labels: [__meta_kubernetes_pod_name], target_label: kubernetes_pod_name}
adapterRules: |
  rules:
  - seriesQuery: 'http_requests_total{kubernetes_namespace!="",kubernetes_pod_name!=""}'
    resources:
      overrides:
        kubernetes_namespace: {resource: "namespace"}
        kubernetes_pod_name: {resource: "pod"}
    name:
      matches: "^(.*)_total"
      as: "${1}_per_second"
    metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)'
`

func TestPrometheusAdaptersConfigurationWalkthroughWorks(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, ownLabelsValues)
	w.waitCustomAvailable(t)
	t.Run("NamespacesCanBeDeleted", w.deletesANamespace)
	namespace := w.openShop(t)
	w.waitListed(t, "v1beta1", map[string]bool{
		"pods/http_requests_per_second": true, "namespaces/http_requests_per_second": false,
	})
	eventually(t, soon, "the requests of pods and of their namespace", func(ctx context.Context) error {
		// How much they are depends on how much of the two minutes has passed.
		path := "/apis/custom.metrics.k8s.io/v1beta1/namespaces/" + namespace
		for suffix, count := range map[string]int{
			"/pods/*/http_requests_per_second": 2, "/metrics/http_requests_per_second": 1,
		} {
			if err := w.servesSome(ctx, path+suffix, count); err != nil {
				return err
			}
		}
		return nil
	})
}

// deletesANamespace fails the test unless a namespace goes when it is deleted, which takes the discovery of every API.
func (w *world) deletesANamespace(t *testing.T) {
	namespaces := w.client.CoreV1().Namespaces()
	doomed, err := namespaces.Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "doomed-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	if err := namespaces.Delete(t.Context(), doomed.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatalf("deleting a namespace: %v", err)
	}
	eventually(t, soon, "the namespace to be gone", func(ctx context.Context) error {
		left, err := namespaces.Get(ctx, doomed.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is there: %v", left.Status.Conditions)
		}
		return err
	})
}

// waitCustomAvailable is waitAvailable for rules without resource metrics. Where they have no external ones either, that
// API is available all the same.
func (w *world) waitCustomAvailable(t *testing.T) {
	t.Helper()
	eventually(t, soon, "the APIs of the chart to be Available", func(ctx context.Context) error {
		return w.availability(ctx, slices.DeleteFunc(slices.Clone(allAPIServices), func(name string) bool {
			_, group, _ := strings.Cut(name, ".")
			return group == "metrics.k8s.io"
		}), "True")
	})
}

// waitListed waits until kubectl get --raw of the version's discovery document lists these, namespaced as said.
func (w *world) waitListed(t *testing.T, version string, wanted map[string]bool) {
	t.Helper()
	eventually(t, soon, "discovery to list the metrics", func(ctx context.Context) error {
		output, err := w.plane.Kubectl(ctx, "get", "--raw", "/apis/custom.metrics.k8s.io/"+version)
		if err != nil {
			return err
		}
		var list metav1.APIResourceList
		if err := json.Unmarshal([]byte(output), &list); err != nil {
			return fmt.Errorf("%w: %s", err, output)
		}
		for name, namespaced := range wanted {
			if !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
				return r.Name == name && r.Namespaced == namespaced && r.Kind == "MetricValueList"
			}) {
				return fmt.Errorf("%s (namespaced: %t) is not among %s", name, namespaced, output)
			}
		}
		return nil
	})
}

// defineMonitorKinds makes the kinds of prometheus-operator known until the test ends.
func (w *world) defineMonitorKinds(t *testing.T) {
	t.Helper()
	definitions := strings.Join(monitorKinds, "---\n")
	w.apply(t, "default", definitions)
	t.Cleanup(func() {
		if _, err := w.plane.KubectlInput(context.Background(), definitions, "delete", "-f", "-"); err != nil {
			t.Errorf("deleting the kinds: %v", err)
		}
	})
	w.kubectl(t, "wait", "--for=condition=Established", "crd/servicemonitors.monitoring.coreos.com")
}
