package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidewright.dev/controlplane/internal/node"
)

// Gauges as they are, so that a test sets to the last digit what the HPA controller computes with.
const exampleValues = `
resourceMetrics: true
extraArgs: [--adapter.relist-interval=1000]
adapterRules: |
  rules:
    - seriesQuery: '{__name__=~"load|level",namespace!="",pod!=""}'
      resources: {template: <<.Resource>>}
      metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
  externalRules:
    - seriesQuery: 'backlog{namespace!=""}'
      resources: {template: <<.Resource>>}
      metricsQuery: 'max(<<.Series>>{<<.LabelMatchers>>}) by (queue)'
`

const exampleHPA = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 50
  metrics: [%s]
  behavior: {%s}
`

// Whatever is asked for may happen at once.
const unlimited = `scaleUp: {policies: [{type: Pods, value: 100, periodSeconds: 15}]},
             scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 100, periodSeconds: 15}]}`

const twoPoliciesDown = `scaleDown: {stabilizationWindowSeconds: 0, selectPolicy: %s,
             policies: [{type: Percent, value: 10, periodSeconds: 60}, {type: Pods, value: 4, periodSeconds: 60}]}`

// The kinds of metrics of the examples.
func utilization(target int) string {
	return fmt.Sprintf(`{type: Resource, resource: {name: memory,
             target: {type: Utilization, averageUtilization: %d}}}`, target)
}

func ofPods(target string) string {
	return fmt.Sprintf(`{type: Pods, pods: {metric: {name: load},
             target: {type: AverageValue, averageValue: "%s"}}}`, target)
}

func ofService(kind, target string) string {
	field := strings.ToLower(kind[:1]) + kind[1:]
	return fmt.Sprintf(`{type: Object, object: {metric: {name: level}, target: {type: %s, %s: "%s"},
             describedObject: {apiVersion: v1, kind: Service, name: web}}}`, kind, field, target)
}

func external(kind, target string) string {
	field := strings.ToLower(kind[:1]) + kind[1:]
	return fmt.Sprintf(`{type: External, external: {metric: {name: backlog}, target: {type: %s, %s: "%s"}}}`,
		kind, field, target)
}

const missingMetric = `{type: External, external: {metric: {name: nothing}, target: {type: Value, value: "1"}}}`

// example is one computation of the HPA controller from metrics that Tidewright serves.
type example struct {
	name     string
	replicas int
	metrics  []string
	behavior string // Default: unlimited.
	// Of the pods, in the order of their names: memory in percent of the request, or load. The pods without a value
	// have no metric.
	memory, load []float64
	level        float64
	backlog      []float64 // One per queue.
	wanted       int64     // The first number that the HPA sets; replicas if it leaves it alone.
	inactive     bool      // ScalingActive is False.
}

// What the HPA controller's documentation and code compute, with upstream's numbers.
var examples = []example{
	{name: "Utilization", replicas: 3, metrics: []string{utilization(50)}, memory: []float64{60, 80, 100}, wanted: 5},
	{name: "UtilizationAtTheTolerance", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{55, 55, 55, 55}, wanted: 4},
	{name: "UtilizationTruncated", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{55.9, 55.9, 55.9, 55.9}, wanted: 4},
	{name: "UtilizationBeyondTheTolerance", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{56, 56, 56, 56}, wanted: 5},
	{name: "UtilizationMissingDown", replicas: 4, metrics: []string{utilization(60)},
		memory: []float64{20, 20, 20}, wanted: 3},
	{name: "UtilizationMissingUp", replicas: 4, metrics: []string{utilization(60)},
		memory: []float64{90, 90, 90}, wanted: 5},
	{name: "UtilizationMissingAboveHundred", replicas: 4, metrics: []string{utilization(150)},
		memory: []float64{50, 50, 50}, wanted: 2},
	{name: "UtilizationMissingHolds", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{20, 20, 20}, wanted: 4},
	{name: "Pods", replicas: 3, metrics: []string{ofPods("10")}, load: []float64{12.5, 14, 15.5}, wanted: 5},
	{name: "PodsMissingUp", replicas: 4, metrics: []string{ofPods("10")}, load: []float64{20, 20, 20}, wanted: 6},
	{name: "PodsMissingDown", replicas: 4, metrics: []string{ofPods("10")}, load: []float64{4, 4, 4}, wanted: 3},
	{name: "ObjectValue", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 30, wanted: 13},
	{name: "ObjectValueWithinTheTolerance", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 13, wanted: 5},
	{name: "ObjectValueBeyondTheTolerance", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 13.3,
		wanted: 6},
	{name: "ObjectAverage", replicas: 4, metrics: []string{ofService("AverageValue", "4")}, level: 20, wanted: 5},
	{name: "ObjectAverageWithinTheTolerance", replicas: 4, metrics: []string{ofService("AverageValue", "4")}, level: 17,
		wanted: 4},
	{name: "ObjectAverageBeyondTheTolerance", replicas: 4, metrics: []string{ofService("AverageValue", "4")}, level: 18,
		wanted: 5},
	{name: "ExternalValueOfTwo", replicas: 3, metrics: []string{external("Value", "5")}, backlog: []float64{7, 5},
		wanted: 8},
	{name: "ExternalAverage", replicas: 3, metrics: []string{external("AverageValue", "30")}, backlog: []float64{100},
		wanted: 4},
	{name: "ExternalAverageDown", replicas: 10, metrics: []string{external("AverageValue", "30")}, backlog: []float64{9},
		wanted: 1},
	{name: "ToleranceUp", replicas: 3, metrics: []string{external("Value", "8800")}, backlog: []float64{8900}, wanted: 4,
		behavior: `scaleUp: {tolerance: "0.01"}`},
	{name: "ToleranceDownInclusive", replicas: 10, metrics: []string{external("Value", "10000")},
		backlog: []float64{9000}, wanted: 10},
	{name: "ToleranceDown", replicas: 10, metrics: []string{external("Value", "10000")}, backlog: []float64{8999},
		wanted: 9},
	{name: "OneOfTwoFailsUp", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{50}, wanted: 5},
	{name: "OneOfTwoFailsDown", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{30}, wanted: 4, inactive: true},
	{name: "DefaultPoliciesUp", replicas: 3, metrics: []string{external("AverageValue", "1")}, backlog: []float64{50},
		wanted: 7, behavior: `scaleDown: {stabilizationWindowSeconds: 0}`},
	{name: "OneOfTwoFailsSame", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{40}, wanted: 4},
	{name: "BothFail", replicas: 3, metrics: []string{missingMetric, missingMetric}, backlog: []float64{1}, wanted: 3,
		inactive: true},
	{name: "ExternalAverageOfNothing", replicas: 3, metrics: []string{external("AverageValue", "30")},
		backlog: []float64{0}, wanted: 1},
	{name: "DefaultPoliciesUpTwofold", replicas: 10, metrics: []string{external("AverageValue", "1")},
		backlog: []float64{50}, wanted: 20, behavior: `scaleDown: {stabilizationWindowSeconds: 0}`},
	{name: "PodsPolicyUp", replicas: 7, metrics: []string{external("AverageValue", "1")}, backlog: []float64{40},
		wanted: 11, behavior: `scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}`},
	{name: "LargerPolicyDown", replicas: 12, metrics: []string{external("AverageValue", "1")}, backlog: []float64{1},
		wanted: 8, behavior: fmt.Sprintf(twoPoliciesDown, "Max")},
	{name: "SmallerPolicyDown", replicas: 12, metrics: []string{external("AverageValue", "1")}, backlog: []float64{1},
		wanted: 10, behavior: fmt.Sprintf(twoPoliciesDown, "Min")},
	// A fifth of 10 is 1.9999999999999996 in the controller's arithmetic.
	{name: "PercentPolicyDownRounded", replicas: 10, metrics: []string{external("AverageValue", "1")},
		backlog: []float64{1}, wanted: 1,
		behavior: `scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 80, periodSeconds: 60}]}`},
	{name: "PercentPolicyUp", replicas: 7, metrics: []string{external("AverageValue", "1")}, backlog: []float64{40},
		wanted: 8, behavior: `scaleUp: {policies: [{type: Percent, value: 10, periodSeconds: 60}]}`},
}

func TestHPAExamplesHold(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, exampleValues)
	w.waitAvailable(t)
	t.Run("Each", func(t *testing.T) { // Ends, and uninstalls after, when those in parallel have.
		for _, one := range examples {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				w.checkExample(t, one)
			})
		}
	})
}

func (w *world) checkExample(t *testing.T, one example) {
	namespace := w.namespace(t, "example")
	w.apply(t, namespace, fmt.Sprintf(webWorkload, one.replicas))
	pods := w.runningPods(t, namespace, one.replicas)
	served := one.expose(w, namespace, pods)
	eventually(t, soon, "the metrics to be served", func(ctx context.Context) error { return w.serves(ctx, served) })

	web := w.watchReplicas(t, deployments, namespace, "web")
	behavior := one.behavior
	if behavior == "" {
		behavior = unlimited
	}
	w.apply(t, namespace, fmt.Sprintf(exampleHPA, strings.Join(one.metrics, ", "), behavior))
	status, reason := corev1.ConditionTrue, "ValidMetricFound"
	if one.inactive {
		status, reason = corev1.ConditionFalse, "FailedGetExternalMetric"
	}
	eventually(t, soon, "the HPA to have looked at its metrics", func(ctx context.Context) error {
		return w.hpaCondition(ctx, namespace, autoscalingv2.ScalingActive, status, reason)
	})
	if one.inactive {
		w.checkReason(t, namespace)
	}
	if one.wanted == int64(one.replicas) {
		throughout(t, 5*time.Second, "nothing asks for more or less", web.are(one.wanted))
		return
	}
	eventually(t, soon, "the HPA to scale", func(context.Context) error {
		if first := web.second(); first != one.wanted {
			return fmt.Errorf("the first change is to %d instead of %d", first, one.wanted)
		}
		return nil
	})
}

// checkReason fails the test unless the HPA's own condition tells why there is no metric.
func (w *world) checkReason(t *testing.T, namespace string) {
	t.Helper()
	hpa, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, condition := range hpa.Status.Conditions {
		if condition.Type == autoscalingv2.ScalingActive && !strings.Contains(condition.Message, "externalRules[0]") {
			t.Errorf("the HPA does not say which rule gives nothing: %s", condition.Message)
		}
	}
}

// runningPods waits for the Deployment's pods to be ready, and returns their names, sorted.
func (w *world) runningPods(t *testing.T, namespace string, count int) (names []string) {
	t.Helper()
	eventually(t, soon, "the pods to be ready", func(ctx context.Context) error {
		list, err := w.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		names = names[:0]
		for _, pod := range list.Items {
			if slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				names = append(names, pod.Name)
			}
		}
		if len(names) != count {
			return fmt.Errorf("%d of %d are", len(names), count)
		}
		slices.Sort(names)
		return nil
	})
	return names
}

// served is a path below the API server, and the values that it has to show, sorted as texts.
type served struct {
	path   string
	values []string
}

// expose sets what the pods show, and returns what has to be served then.
func (one example) expose(w *world, namespace string, pods []string) (all []served) {
	metrics := w.node.Metrics()
	const custom, usage = "/apis/custom.metrics.k8s.io/v1beta2", "/apis/metrics.k8s.io/v1beta1"
	each := node.Pods{Namespace: namespace}
	if one.memory != nil {
		var values []string
		for i, name := range pods {
			pod := node.Pods{Namespace: namespace, Name: name}
			if i >= len(one.memory) {
				w.node.DropUsage(pod)
				continue
			}
			bytes := int64(one.memory[i] * 1000 / 100 * (1 << 20))
			w.node.SetUsage(pod, 0.1, float64(bytes))
			values = append(values, fmt.Sprint(bytes))
		}
		all = append(all, served{usage + "/namespaces/" + namespace + "/pods", values})
	}
	if one.load != nil {
		var values []string
		for i, value := range one.load {
			metrics.SetGauge(node.Pods{Namespace: namespace, Name: pods[i]}, "load", value)
			values = append(values, fmt.Sprint(int64(value*1000)))
		}
		all = append(all, served{custom + "/namespaces/" + namespace + "/pods/*/load", values})
	}
	if one.level != 0 {
		metrics.SetGauge(each, `level{service="web"}`, one.level)
		all = append(all, served{custom + "/namespaces/" + namespace + "/services/web/level",
			[]string{fmt.Sprint(int64(one.level * 1000))}})
	}
	if one.backlog != nil {
		var values []string
		for i, value := range one.backlog {
			metrics.SetGauge(each, fmt.Sprintf(`backlog{queue="q%d"}`, i), value)
			values = append(values, fmt.Sprint(int64(value*1000)))
		}
		all = append(all, served{"/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/backlog", values})
	}
	return all
}

// serves says what differs between what is served and what should be: thousandths, of memory bytes.
func (w *world) serves(ctx context.Context, all []served) error {
	for _, one := range all {
		body, err := w.client.RESTClient().Get().AbsPath(one.path).DoRaw(ctx)
		if err != nil {
			return err
		}
		values, err := valuesIn(body)
		if err != nil {
			return err
		}
		wanted := slices.Clone(one.values)
		slices.Sort(wanted)
		slices.Sort(values)
		if !slices.Equal(values, wanted) {
			return fmt.Errorf("%s serves %v instead of %v", one.path, values, wanted)
		}
	}
	return nil
}

func valuesIn(body []byte) (values []string, err error) {
	var list struct {
		Items []struct {
			Value      *resource.Quantity
			Containers []struct{ Usage corev1.ResourceList }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("reading %s: %w", body, err)
	}
	for _, item := range list.Items {
		if item.Value != nil {
			values = append(values, fmt.Sprint(item.Value.MilliValue()))
		}
		for _, container := range item.Containers {
			values = append(values, fmt.Sprint(container.Usage.Memory().Value()))
		}
	}
	return values, nil
}

// second is the number after the first change, 0 before it.
func (r *replicas) second() int64 {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.seen) < 2 {
		return 0
	}
	return r.seen[1].count
}
