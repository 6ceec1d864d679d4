package scenarios

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
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
  minReplicas: %d
  maxReplicas: 200
  metrics: [%s]
  %s
`

// exampleSource shows what is not the pods' own.
const exampleSource = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: source}
spec:
  selector: {matchLabels: {app: source}}
  template:
    metadata:
      labels: {app: source}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
    spec: {containers: [{name: source, image: source}]}
`

// Whatever is asked for may happen at once.
const unlimited = `scaleUp: {policies: [{type: Pods, value: 100, periodSeconds: 15}]},
             scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 100, periodSeconds: 15}]}`

// none is no behavior at all, which is not that of the defaults.
const none = "none"

// shortPeriod is the time of a policy, in seconds, that an example has to wait for.
const shortPeriod = 2

func policiesDown(choice string, seconds int) string {
	return fmt.Sprintf(`scaleDown: {stabilizationWindowSeconds: 0, selectPolicy: %s, policies: [
             {type: Percent, value: 10, periodSeconds: %d}, {type: Pods, value: 4, periodSeconds: %d}]}`,
		choice, seconds, seconds)
}

const tenPercentUp = `scaleUp: {policies: [{type: Percent, value: 10, periodSeconds: 60}]}`

func percentDown(percent int) string {
	return fmt.Sprintf(`scaleDown: {stabilizationWindowSeconds: 0,
             policies: [{type: Percent, value: %d, periodSeconds: 60}]}`, percent)
}

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

// oneEach asks for as many replicas as the backlog is.
var oneEach = []string{external("AverageValue", "1")}

const missingMetric = `{type: External, external: {metric: {name: nothing}, target: {type: Value, value: "1"}}}`

// path is numbers of replicas, one after the other.
type path []int64

// change is of the backlog.
type change struct {
	backlog float64
	wanted  path // As of an example.
	seen    bool // The HPA has to notice before it goes on.
}

// example is one computation of the HPA controller from metrics that Tidewright serves.
type example struct {
	name     string
	replicas int
	pending  int  // Of the replicas.
	unready  int  // Of the replicas.
	podless  bool // There are no pods: to the limits of a step only the number of replicas matters.
	toZero   bool // The HPA may scale to zero.
	metrics  []string
	behavior string // Default: unlimited.
	// Of the pods, in the order of their names: memory in percent of the request, or load. The pods without a value
	// have no metric.
	memory, load []float64
	level        float64
	backlog      []float64 // One per queue.
	wanted       path      // What the HPA sets; none: it leaves the number alone.
	later        []change
	inactive     bool // ScalingActive is False.
}

// What the HPA controller's documentation and code compute, with upstream's numbers. A name begins with the number in the
// list of examples that the metrics APIs have to pass; U is for what upstream's unit tests have beyond them. Two examples
// take less time than in that list, by the same arithmetic: the policies of the long way down have shortPeriod instead of
// 60 s, and the stabilization window is a tenth of 300 s. Limits of steps are computed in floating point, so that 50 and a
// tenth are 56, and a fifth of 5 is none.
var examples = []example{
	{name: "01Utilization", replicas: 3, metrics: []string{utilization(50)}, memory: []float64{60, 80, 100},
		wanted: path{5}},
	{name: "02UtilizationAtTheTolerance", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{55, 55, 55, 55}},
	{name: "02UtilizationTruncated", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{55.9, 55.9, 55.9, 55.9}},
	{name: "02UtilizationBeyondTheTolerance", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{56, 56, 56, 56}, wanted: path{5}},
	{name: "03UtilizationPendingUp", replicas: 4, pending: 1, metrics: []string{utilization(50)},
		memory: []float64{90, 90, 90}, wanted: path{6}},
	{name: "04UtilizationMissingDown", replicas: 4, metrics: []string{utilization(60)}, memory: []float64{20, 20, 20},
		wanted: path{3}},
	{name: "05UtilizationMissingUp", replicas: 4, metrics: []string{utilization(60)}, memory: []float64{90, 90, 90},
		wanted: path{5}},
	{name: "06UtilizationMissingAboveHundred", replicas: 4, metrics: []string{utilization(150)},
		memory: []float64{50, 50, 50}, wanted: path{2}},
	{name: "07UtilizationMissingHolds", replicas: 4, metrics: []string{utilization(50)},
		memory: []float64{20, 20, 20}},
	{name: "07UtilizationPendingDown", replicas: 4, pending: 1, metrics: []string{utilization(50)},
		memory: []float64{20, 20, 20}, wanted: path{2}},
	{name: "08Pods", replicas: 3, metrics: []string{ofPods("10")}, load: []float64{12.5, 14, 15.5}, wanted: path{5}},
	{name: "09PodsMissingUp", replicas: 4, metrics: []string{ofPods("10")}, load: []float64{20, 20, 20},
		wanted: path{6}},
	{name: "09PodsMissingDown", replicas: 4, metrics: []string{ofPods("10")}, load: []float64{4, 4, 4},
		wanted: path{3}},
	{name: "10ObjectValue", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 30, wanted: path{13}},
	{name: "10ObjectValueWithinTheTolerance", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 13},
	{name: "10ObjectValueBeyondTheTolerance", replicas: 5, metrics: []string{ofService("Value", "12")}, level: 13.3,
		wanted: path{6}},
	{name: "10ObjectValueOfReadyPods", replicas: 5, unready: 1, metrics: []string{ofService("Value", "12")},
		level: 30, wanted: path{10}},
	{name: "11ObjectAverage", replicas: 4, metrics: []string{ofService("AverageValue", "4")}, level: 20,
		wanted: path{5}},
	{name: "11ObjectAverageWithinTheTolerance", replicas: 4, metrics: []string{ofService("AverageValue", "4")},
		level: 17},
	{name: "11ObjectAverageBeyondTheTolerance", replicas: 4, metrics: []string{ofService("AverageValue", "4")},
		level: 18, wanted: path{5}},
	{name: "12ExternalValueOfTwo", replicas: 3, metrics: []string{external("Value", "5")}, backlog: []float64{7, 5},
		wanted: path{8}},
	{name: "13ExternalAverage", replicas: 3, metrics: []string{external("AverageValue", "30")},
		backlog: []float64{100}, wanted: path{4}},
	{name: "13ExternalAverageDown", replicas: 10, metrics: []string{external("AverageValue", "30")},
		backlog: []float64{9}, wanted: path{1}},
	{name: "13ExternalAverageOfNothing", replicas: 3, metrics: []string{external("AverageValue", "30")},
		backlog: []float64{0}, wanted: path{1}},
	{name: "14FromZeroNoTolerance", replicas: 1, toZero: true, metrics: []string{external("Value", "1")},
		backlog: []float64{0}, wanted: path{0}, later: []change{{backlog: 0}, {backlog: 0.5, wanted: path{1}}}},
	{name: "14FromZeroRounded", replicas: 1, toZero: true, metrics: []string{external("Value", "1")},
		backlog: []float64{0}, wanted: path{0}, later: []change{{backlog: 5.3, wanted: path{6}}}},
	{name: "15ToleranceUp", replicas: 3, metrics: []string{external("Value", "8800")}, backlog: []float64{8900},
		wanted: path{4}, behavior: `scaleUp: {tolerance: "0.01"}`},
	{name: "15ToleranceDownInclusive", replicas: 10, metrics: []string{external("Value", "10000")},
		backlog: []float64{9000}},
	{name: "15ToleranceDown", replicas: 10, metrics: []string{external("Value", "10000")}, backlog: []float64{8999},
		wanted: path{9}},
	{name: "16OneOfTwoFailsUp", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{50}, wanted: path{5}},
	{name: "16OneOfTwoFailsDown", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{30}, inactive: true},
	{name: "16OneOfTwoFailsSame", replicas: 4, metrics: []string{external("AverageValue", "10"), missingMetric},
		backlog: []float64{40}},
	{name: "16BothFail", replicas: 3, metrics: []string{missingMetric, missingMetric}, backlog: []float64{1},
		inactive: true},
	{name: "17DefaultPoliciesUp", replicas: 3, metrics: oneEach, backlog: []float64{50}, wanted: path{7},
		behavior: `scaleDown: {stabilizationWindowSeconds: 0}`},
	{name: "17DefaultPoliciesUpTwofold", replicas: 10, metrics: oneEach, backlog: []float64{50}, wanted: path{20},
		behavior: `scaleDown: {stabilizationWindowSeconds: 0}`},
	{name: "17PodsPolicyUp", replicas: 7, metrics: oneEach, backlog: []float64{40}, wanted: path{11},
		behavior: `scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}`},
	{name: "17LargerPolicyDown", replicas: 12, metrics: oneEach, backlog: []float64{1}, wanted: path{8},
		behavior: policiesDown("Max", 60)},
	{name: "17SmallerPolicyDown", replicas: 12, metrics: oneEach, backlog: []float64{1}, wanted: path{10},
		behavior: policiesDown("Min", 60)},
	{name: "17PercentPolicyUp", replicas: 7, metrics: oneEach, backlog: []float64{40}, wanted: path{8},
		behavior: tenPercentUp},
	{name: "17PodsPolicyUpWithinThePeriod", replicas: 7, podless: true, metrics: oneEach, backlog: []float64{10},
		wanted: path{10}, later: []change{{backlog: 40, wanted: path{11}}},
		behavior: `scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}`},
	{name: "17LargerPolicyDownAgainAndAgain", replicas: 80, podless: true, metrics: oneEach, backlog: []float64{1},
		wanted: path{72, 64, 57, 51, 45, 40, 36, 32, 28, 24, 20, 16, 12}, behavior: policiesDown("Max", shortPeriod)},
	{name: "17SmallerPolicyDownOfMany", replicas: 80, podless: true, metrics: oneEach, backlog: []float64{1},
		wanted: path{76}, behavior: policiesDown("Min", 60)},
	{name: "17bPercentPolicyDownRounded", replicas: 10, metrics: oneEach, backlog: []float64{1}, wanted: path{1},
		behavior: percentDown(80)},
	{name: "17bPercentPolicyUpFrom50", replicas: 50, podless: true, metrics: oneEach, backlog: []float64{200},
		wanted: path{56}, behavior: tenPercentUp},
	{name: "17bPercentPolicyUpFrom100", replicas: 100, podless: true, metrics: oneEach, backlog: []float64{200},
		wanted: path{111}, behavior: tenPercentUp},
	{name: "17bPercentPolicyDownToZero", replicas: 5, toZero: true, metrics: oneEach, backlog: []float64{0},
		wanted: path{0}, behavior: percentDown(80)},
	{name: "17bLargePercentPolicyDownToZero", replicas: 10, toZero: true, metrics: oneEach, backlog: []float64{0},
		wanted: path{0}, behavior: percentDown(90)},
	{name: "18Stabilized", replicas: 10, metrics: oneEach, backlog: []float64{10},
		behavior: `scaleDown: {stabilizationWindowSeconds: 30}`,
		later:    []change{{backlog: 7, seen: true}, {backlog: 4, wanted: path{7, 4}}}},
	{name: "18WithoutBehaviorFrom1", replicas: 1, podless: true, metrics: oneEach, backlog: []float64{50},
		wanted: path{4}, behavior: none},
	{name: "18WithoutBehaviorFrom2", replicas: 2, podless: true, metrics: oneEach, backlog: []float64{50},
		wanted: path{4}, behavior: none},
	{name: "18WithoutBehaviorFrom3", replicas: 3, podless: true, metrics: oneEach, backlog: []float64{50},
		wanted: path{6}, behavior: none},
	{name: "18WithoutBehaviorFrom10", replicas: 10, podless: true, metrics: oneEach, backlog: []float64{50},
		wanted: path{20}, behavior: none},
	{name: "U1Utilization", replicas: 3, metrics: []string{utilization(30)}, memory: []float64{30, 50, 70},
		wanted: path{5}},
	{name: "U2PendingUp", replicas: 3, pending: 1, metrics: []string{utilization(30)}, memory: []float64{50, 70},
		wanted: path{4}},
	{name: "U3PendingHolds", replicas: 3, pending: 2, metrics: []string{utilization(30)}, memory: []float64{40}},
	{name: "U4UtilizationDown", replicas: 5, metrics: []string{utilization(50)},
		memory: []float64{10, 30, 50, 25, 25}, wanted: path{3}},
	{name: "U5PendingDown", replicas: 5, pending: 2, metrics: []string{utilization(50)},
		memory: []float64{10, 30, 50}, wanted: path{2}},
	{name: "U6MostArePending", replicas: 5, pending: 4, metrics: []string{utilization(50)}, memory: []float64{10},
		wanted: path{1}},
	{name: "U7HalfAreMissing", replicas: 4, metrics: []string{utilization(100)}, memory: []float64{40, 9.5},
		wanted: path{3}},
	{name: "U8PendingAndMissing", replicas: 3, pending: 1, metrics: []string{utilization(50)}, memory: []float64{45}},
	{name: "U9PodsMissing", replicas: 5, metrics: []string{ofPods("20")}, load: []float64{20, 19, 21}},
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
	pods := w.runExample(t, namespace, one)
	w.waitServed(t, one.expose(w, namespace, pods))
	web := w.watchReplicas(t, deployments, namespace, "web")
	w.apply(t, namespace, one.hpa())
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
	numbers := web.follow(t, path{int64(one.replicas)}, one.wanted)
	for _, change := range one.later {
		before := w.metricsOfHPA(t.Context(), namespace)
		w.waitServed(t, []served{w.exposeBacklog(namespace, change.backlog)})
		if change.seen {
			eventually(t, soon, "the HPA to have looked at the changed metric", func(ctx context.Context) error {
				if now := w.metricsOfHPA(ctx, namespace); now == "" || now == before {
					return fmt.Errorf("its status shows %q", now)
				}
				return nil
			})
		}
		numbers = web.follow(t, numbers, change.wanted)
	}
}

// runExample brings the Deployment to where the example begins, and returns its ready pods, sorted.
func (w *world) runExample(t *testing.T, namespace string, one example) []string {
	if one.memory == nil && one.load == nil {
		w.apply(t, namespace, exampleSource)
	}
	if one.podless { // A new Deployment that is paused makes no pods.
		paused := strings.Replace(webWorkload, "\nspec:", "\nspec:\n  paused: true", 1)
		w.apply(t, namespace, fmt.Sprintf(paused, one.replicas))
		return nil
	}
	w.apply(t, namespace, fmt.Sprintf(webWorkload, one.replicas-one.pending))
	pods := w.readyPods(t, namespace, one.replicas-one.pending)
	if one.pending > 0 {
		w.node.HoldStarts(namespace)
		w.apply(t, namespace, fmt.Sprintf(webWorkload, one.replicas))
		eventually(t, soon, "the pods to be there", func(ctx context.Context) error {
			list, err := w.podsOfWeb(ctx, namespace)
			if err == nil && len(list) != one.replicas {
				err = fmt.Errorf("%d of %d are", len(list), one.replicas)
			}
			return err
		})
	}
	for _, name := range pods[:one.unready] {
		w.node.SetUnready(namespace, name, true)
	}
	return w.readyPods(t, namespace, one.replicas-one.pending-one.unready)
}

// hpa is the manifest of the example's HPA.
func (one example) hpa() string {
	least, behavior := 1, "behavior: {"+one.behavior+"}"
	switch one.behavior {
	case "":
		behavior = "behavior: {" + unlimited + "}"
	case none:
		behavior = ""
	}
	if one.toZero {
		least = 0
	}
	return fmt.Sprintf(exampleHPA, least, strings.Join(one.metrics, ", "), behavior)
}

// follow waits for the workload's next numbers after those before, and returns all. Without next ones it watches for some
// time that there are none.
func (r *replicas) follow(t *testing.T, before, next path) path {
	t.Helper()
	if next == nil {
		throughout(t, 5*time.Second, "nothing asks for more or less", r.are(before[len(before)-1]))
		return before
	}
	for _, count := range next {
		before = append(before, count)
		eventually(t, soon, "the HPA to scale", r.have(before))
	}
	return before
}

// have says what is wrong unless these are the first numbers of replicas that the workload has had.
func (r *replicas) have(numbers path) func(context.Context) error {
	return func(context.Context) error {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		var seen path
		for _, one := range r.seen {
			seen = append(seen, one.count)
		}
		if len(seen) < len(numbers) || !slices.Equal(seen[:len(numbers)], numbers) {
			return fmt.Errorf("%s has had %v replicas instead of %v", r.workload, seen, numbers)
		}
		return nil
	}
}

// metricsOfHPA is what the status of the HPA shows of its metrics; "" when there is none.
func (w *world) metricsOfHPA(ctx context.Context, namespace string) string {
	hpa, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return fmt.Sprint(hpa.Status.CurrentMetrics)
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

// readyPods waits for so many of the Deployment's pods to be ready, and returns their names, sorted.
func (w *world) readyPods(t *testing.T, namespace string, count int) (names []string) {
	t.Helper()
	eventually(t, soon, "the pods to be ready", func(ctx context.Context) error {
		list, err := w.podsOfWeb(ctx, namespace)
		if err != nil {
			return err
		}
		names = names[:0]
		for _, pod := range list {
			if slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
				return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
			}) {
				names = append(names, pod.Name)
			}
		}
		if len(names) != count {
			return fmt.Errorf("%d instead of %d are", len(names), count)
		}
		slices.Sort(names)
		return nil
	})
	return names
}

func (w *world) podsOfWeb(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	list, err := w.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// expose sets what the pods show, and returns what has to be served then.
func (one example) expose(w *world, namespace string, pods []string) (all []served) {
	metrics := w.node.Metrics()
	const custom, usage = "/apis/custom.metrics.k8s.io/v1beta2", "/apis/metrics.k8s.io/v1beta1"
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
		for i, value := range one.load {
			metrics.SetGauge(node.Pods{Namespace: namespace, Name: pods[i]}, "load", value)
		}
		all = append(all, served{custom + "/namespaces/" + namespace + "/pods/*/load", thousandths(one.load...)})
	}
	if one.level != 0 {
		metrics.SetGauge(sourceIn(namespace), `level{service="web"}`, one.level)
		all = append(all, served{custom + "/namespaces/" + namespace + "/services/web/level", thousandths(one.level)})
	}
	if one.backlog != nil {
		all = append(all, w.exposeBacklog(namespace, one.backlog...))
	}
	return all
}

// exposeBacklog sets the backlogs of queues, and returns what has to be served then.
func (w *world) exposeBacklog(namespace string, queues ...float64) served {
	for i, value := range queues {
		w.node.Metrics().SetGauge(sourceIn(namespace), fmt.Sprintf(`backlog{queue="q%d"}`, i), value)
	}
	return served{"/apis/external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/backlog", thousandths(queues...)}
}

// sourceIn is the pod of exampleSource.
func sourceIn(namespace string) node.Pods {
	return node.Pods{Namespace: namespace, Labels: map[string]string{"app": "source"}}
}

func thousandths(values ...float64) (texts []string) {
	for _, value := range values {
		texts = append(texts, fmt.Sprint(int64(value*1000)))
	}
	return texts
}
