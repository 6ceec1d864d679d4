package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidewright.dev/controlplane/internal/node"
)

// The rules of a cluster whose HPAs use all three kinds of metrics. Rates look back for a shorter time than the HPAs'
// stabilization windows: in between, the rate of a counter that has disappeared falls before it is gone.
const hpaValues = `
extraArgs: [--adapter.relist-interval=1000]
adapterRules: |
  rules:
    - seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
      resources:
        overrides:
          namespace: {resource: namespace}
          pod: {resource: pod}
      name: {matches: '^(.*)_total$', as: '${1}_per_second'}
      metricsQuery: 'sum(rate(<<.Series>>{<<.LabelMatchers>>}[4s])) by (<<.GroupBy>>)'
    - seriesQuery: 'orders_open{namespace!="",service!=""}'
      resources:
        overrides:
          namespace: {resource: namespace}
          service: {resource: service}
      metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
  externalRules:
    - seriesQuery: 'mails_waiting{namespace!=""}'
      resources:
        overrides:
          namespace: {resource: namespace}
      metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
`

// scaled is an HPA of webWorkload with the metric in the place of %s.
const scaled = `
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 6
  metrics:
    - %s
  behavior:
    scaleDown: {stabilizationWindowSeconds: 8}
`

// driven is a workload of one HPA, and how its metric is driven.
type driven struct {
	metric string
	// load sets what the metric measures so that it asks for a number of replicas.
	load func(m *node.Metrics, pods node.Pods, replicas float64)
	// series is what the metric is made of; without it, the metric is gone.
	series string
	// failure is the reason of ScalingActive=False then.
	failure string
}

var drivenByHPA = map[string]driven{
	"Pods": {
		metric: `{type: Pods, pods: {metric: {name: http_requests_per_second},
                  target: {type: AverageValue, averageValue: "10"}}}`,
		load: func(m *node.Metrics, pods node.Pods, replicas float64) {
			m.ShareRate(pods, "http_requests_total", 10*replicas-2)
		},
		series:  "http_requests_total",
		failure: "FailedGetPodsMetric",
	},
	"Object": {
		metric: `{type: Object, object: {metric: {name: orders_open}, target: {type: AverageValue, averageValue: "50"},
                  describedObject: {apiVersion: v1, kind: Service, name: web}}}`,
		load: func(m *node.Metrics, pods node.Pods, replicas float64) {
			m.SetGauge(pods, `orders_open{service="web"}`, 50*replicas-10)
			m.SetGauge(pods, `orders_open{service="other"}`, 1000)
		},
		series:  "orders_open",
		failure: "FailedGetObjectMetric",
	},
	"External": {
		metric: `{type: External, external: {metric: {name: mails_waiting, selector: {matchLabels: {queue: fast}}},
                  target: {type: AverageValue, averageValue: "20"}}}`,
		load: func(m *node.Metrics, pods node.Pods, replicas float64) {
			m.SetGauge(pods, `mails_waiting{queue="fast"}`, 20*replicas-4)
			m.SetGauge(pods, `mails_waiting{queue="slow"}`, 1000)
		},
		series:  "mails_waiting",
		failure: "FailedGetExternalMetric",
	},
}

func TestTheClustersHPAControllerScalesByOurMetrics(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, hpaValues)
	t.Run("Each", func(t *testing.T) { // Ends, and uninstalls after, when those in parallel have.
		for name, one := range drivenByHPA {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w.checkHPA(t, one)
			})
		}
	})
}

func (w *world) checkHPA(t *testing.T, one driven) {
	namespace := w.namespace(t, "hpa")
	pods, metrics := node.Pods{Namespace: namespace}, w.node.Metrics()
	one.load(metrics, pods, 1)
	w.apply(t, namespace, fmt.Sprintf(webWorkload, 1)+fmt.Sprintf(scaled, one.metric))
	web := w.watchReplicas(t, deployments, namespace, "web")
	eventually(t, soon, "the HPA to read its metric", func(ctx context.Context) error {
		return w.hpaCondition(ctx, namespace, autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound")
	})
	since := metav1.Now()

	one.load(metrics, pods, 4)
	eventually(t, soon, "the HPA to scale up", web.stay(4))
	one.load(metrics, pods, 2)
	eventually(t, soon, "the HPA to scale down", web.stay(2))
	one.load(metrics, pods, 3)
	eventually(t, soon, "the HPA to scale up again", web.stay(3))
	w.checkUninterrupted(t, namespace, since)

	gone := time.Now()
	metrics.Drop(pods, one.series)
	eventually(t, soon, "the HPA to miss its metric", func(ctx context.Context) error {
		return w.hpaCondition(ctx, namespace, autoscalingv2.ScalingActive, corev1.ConditionFalse, one.failure)
	})
	throughout(t, 12*time.Second, "the metric is gone", web.neverShrank(gone))
	one.load(metrics, pods, 5)
	eventually(t, soon, "the HPA to go on when the metric is back", web.stay(5))
}

func (w *world) hpaCondition(
	ctx context.Context, namespace string, kind autoscalingv2.HorizontalPodAutoscalerConditionType,
	status corev1.ConditionStatus, reason string,
) error {
	hpa, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range hpa.Status.Conditions {
		if condition.Type == kind && condition.Status == status && (reason == "" || condition.Reason == reason) {
			return nil
		}
	}
	return fmt.Errorf("%s is not %s with reason %q: %+v", kind, status, reason, hpa.Status.Conditions)
}

// checkUninterrupted fails the test unless the HPA could scale, and read its metric, all the time.
func (w *world) checkUninterrupted(t *testing.T, namespace string, since metav1.Time) {
	t.Helper()
	hpa, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	held := map[autoscalingv2.HorizontalPodAutoscalerConditionType]bool{}
	for _, condition := range hpa.Status.Conditions {
		held[condition.Type] = condition.Status == corev1.ConditionTrue && !condition.LastTransitionTime.After(since.Time)
	}
	if !held[autoscalingv2.ScalingActive] || !held[autoscalingv2.AbleToScale] {
		t.Errorf("ScalingActive or AbleToScale was not True all the time since %s: %+v", since, hpa.Status.Conditions)
	}
}
