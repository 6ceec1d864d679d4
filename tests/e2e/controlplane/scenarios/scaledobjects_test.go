package scenarios

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"tidewright.dev/controlplane/internal/node"
)

var (
	scaledObjects = schema.GroupVersionResource{Group: "tidewright.dev", Version: "v1alpha1", Resource: "scaledobjects"}
	fleets        = schema.GroupVersionResource{Group: "scenarios.tidewright.dev", Version: "v1", Resource: "fleets"}
)

const (
	fleetDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: fleets.scenarios.tidewright.dev}
spec:
  group: scenarios.tidewright.dev
  scope: Namespaced
  names: {kind: Fleet, listKind: FleetList, plural: fleets, singular: fleet}
  versions:
    - name: v1
      served: true
      storage: true
      subresources:
        status: {}
        scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {replicas: {type: integer}}}
            status: {type: object, properties: {replicas: {type: integer}}}
`
	allowFleets = `
rbac:
  scaleTargets:
    - apiGroups: [scenarios.tidewright.dev]
      resources: [fleets]
`
)

// target is a kind of workload that starts without replicas.
type target struct {
	apiVersion string
	kind       string
	resource   schema.GroupVersionResource
}

var (
	aDeployment  = target{"apps/v1", "Deployment", deployments}
	aStatefulSet = target{"apps/v1", "StatefulSet", statefulSets}
	aFleet       = target{"scenarios.tidewright.dev/v1", "Fleet", fleets}
)

func (o target) manifest() string {
	text := fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: worker}\nspec:\n  replicas: 0\n", o.apiVersion, o.kind)
	if o.kind == "Fleet" {
		return text
	}
	return text + `
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: worker, image: worker}]}
`
}

func (o target) scaledObject(trigger string) string {
	return fmt.Sprintf(`
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {apiVersion: %s, kind: %s, name: worker}
  pollingInterval: 1
  cooldownPeriod: 2
  minReplicaCount: 0
  maxReplicaCount: 6
  triggers: [%s]
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`, o.apiVersion, o.kind, trigger)
}

func TestScaledObjectsScaleWhateverHasAScaleSubresource(t *testing.T) {
	w := sharedWorld(t)
	w.define(t, fleetDefinition)
	w.install(t, allowFleets)
	queue := w.startRedis(t)
	t.Run("Each", func(t *testing.T) { // Ends, and uninstalls after, when those in parallel have.
		for name, scenario := range map[string]func(t *testing.T){
			"CronAndDeployment":       func(t *testing.T) { w.checkCron(t) },
			"PrometheusAndDeployment": func(t *testing.T) { w.checkPrometheus(t) },
			"RedisAndDeployment":      func(t *testing.T) { w.checkRedis(t, queue, aDeployment) },
			"RedisAndStatefulSet":     func(t *testing.T) { w.checkRedis(t, queue, aStatefulSet) },
			"RedisAndCustomResource":  func(t *testing.T) { w.checkRedis(t, queue, aFleet) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(t)
			})
		}
	})
}

// define makes a custom resource definition and waits until its objects can be made; it ends with the test.
func (w *world) define(t *testing.T, definition string) {
	t.Helper()
	w.apply(t, metav1.NamespaceDefault, definition)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if _, err := w.plane.KubectlInput(ctx, definition, "delete", "-f", "-"); err != nil {
			t.Error(err)
		}
	})
	w.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd/fleets.scenarios.tidewright.dev")
}

// follow makes the workload and its ScaledObject and waits until that is Ready.
func (w *world) follow(t *testing.T, namespace string, o target, trigger string) *replicas {
	t.Helper()
	w.apply(t, namespace, o.manifest())
	worker := w.watchReplicas(t, o.resource, namespace, "worker")
	w.apply(t, namespace, o.scaledObject(trigger))
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, "so/worker")
	return worker
}

func redisTrigger(queue *redis, list string) string {
	return fmt.Sprintf("{type: redis, metadata: {address: %q, listName: %q, listLength: '5'}}", queue.address, list)
}

// checkRedis goes up, down a little, and to zero, and then once more, so that events repeat themselves.
func (w *world) checkRedis(t *testing.T, queue *redis, o target) {
	namespace := w.namespace(t, "redis")
	worker := w.follow(t, namespace, o, redisTrigger(queue, namespace))
	for range 2 {
		w.checkRest(t, namespace, worker)
		queue.setLength(t, namespace, 14)
		eventually(t, soon, "the queue's workers to wake up", worker.are(3))
		w.checkActive(t, namespace)
		w.checkColumns(t, namespace, o, "redis")
		queue.setLength(t, namespace, 9)
		eventually(t, soon, "the workers to become fewer", worker.are(2))
		queue.setLength(t, namespace, 0)
	}
	w.checkRest(t, namespace, worker)
	for _, wanted := range []struct{ reason, change string }{
		{"KEDAScaleTargetActivated", "from 0 to 3"},
		{"SuccessfulRescale", "from 3 to 2"},
		{"KEDAScaleTargetDeactivated", "from 1 to 0"}, // It is 1 during the cooldown.
	} {
		eventually(t, soon, "the events to be folded", func(ctx context.Context) error {
			return w.foldedEvent(ctx, namespace, wanted.reason, wanted.change, 2)
		})
	}
	w.checkExplanation(t)
}

func (w *world) checkPrometheus(t *testing.T) {
	namespace := w.namespace(t, "prometheus")
	metrics, pods := w.node.Metrics(), node.Pods{Namespace: namespace, Labels: map[string]string{"app": "front"}}
	metrics.SetGauge(pods, "orders_open", 0)
	w.apply(t, namespace, frontend)
	worker := w.follow(t, namespace, aDeployment, fmt.Sprintf(
		`{type: prometheus, metadata: {query: 'sum(orders_open{namespace="%s"})', threshold: '10'}}`, namespace))
	w.checkRest(t, namespace, worker)
	metrics.SetGauge(pods, "orders_open", 38)
	eventually(t, soon, "the orders' workers to wake up", worker.are(4))
	w.checkActive(t, namespace)
	w.checkColumns(t, namespace, aDeployment, "prometheus")
	metrics.SetGauge(pods, "orders_open", 11)
	eventually(t, soon, "the workers to become fewer", worker.are(2))
	metrics.SetGauge(pods, "orders_open", 0)
	w.checkRest(t, namespace, worker)
}

// frontend is a Deployment that only shows metrics.
const frontend = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec:
  replicas: 1
  selector: {matchLabels: {app: front}}
  template:
    metadata:
      labels: {app: front}
      annotations: {prometheus.io/scrape: "true", prometheus.io/port: "8080"}
    spec: {containers: [{name: front, image: front}]}
`

// checkCron waits for the end of a window that is open already, in a time zone whose offset is no whole hour.
func (w *world) checkCron(t *testing.T) {
	const zone = "Asia/Kathmandu"
	location, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now().In(location).Add(-2 * time.Minute)
	end := time.Now().In(location).Add(20 * time.Second).Truncate(time.Minute).Add(time.Minute)
	namespace := w.namespace(t, "cron")
	worker := w.follow(t, namespace, aDeployment, fmt.Sprintf(
		"{type: cron, metadata: {timezone: %s, start: '%s', end: '%s', desiredReplicas: '3'}}", zone,
		begin.Format("4 15 * * *"), end.Format("4 15 * * *")))
	eventually(t, soon, "the window's workers to wake up", worker.are(3))
	if late := time.Since(end); late > 0 {
		t.Fatalf("the machine is too slow: the window ended %s ago", late)
	}
	w.checkActive(t, namespace)
	w.checkColumns(t, namespace, aDeployment, "cron")
	open := time.Now()
	throughout(t, time.Until(end), "the window is open", worker.neverShrank(open))
	w.checkRest(t, namespace, worker)
}

// checkRest waits until the workload has no replicas and its ScaledObject says why.
func (w *world) checkRest(t *testing.T, namespace string, worker *replicas) {
	t.Helper()
	w.kubectl(t, "wait", "--for=condition=Active=false", "--timeout=60s", "-n", namespace, "so/worker")
	eventually(t, soon, "the workload to rest", worker.are(0))
	w.checkConditions(t, namespace, map[string]string{
		"Ready": "True", "Active": "False", "Fallback": "False", "Paused": "False",
	})
}

func (w *world) checkActive(t *testing.T, namespace string) {
	t.Helper()
	w.checkConditions(t, namespace, map[string]string{
		"Ready": "True", "Active": "True", "Fallback": "False", "Paused": "False",
	})
}

func (w *world) checkConditions(t *testing.T, namespace string, wanted map[string]string) {
	t.Helper()
	w.checkConditionsOf(t, scaledObjects, namespace, wanted)
}

func (w *world) checkConditionsOf(
	t *testing.T, kind schema.GroupVersionResource, namespace string, wanted map[string]string,
) {
	t.Helper()
	eventually(t, soon, "the ScaledObject's conditions", func(ctx context.Context) error {
		object, err := w.dynamic.Resource(kind).Namespace(namespace).Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for name, status := range wanted {
			if got, text := condition(object, name); got != status {
				return fmt.Errorf("%s is %q instead of %q: %s", name, got, status, text)
			}
		}
		return nil
	})
}

// checkColumns reads what `kubectl get so` prints of an active object.
func (w *world) checkColumns(t *testing.T, namespace string, o target, trigger string) {
	t.Helper()
	wanted := map[string]string{
		"NAME": "worker", "SCALETARGETKIND": o.apiVersion + "." + o.kind, "SCALETARGETNAME": "worker",
		"MIN": "0", "MAX": "6", "READY": "True", "ACTIVE": "True", "FALLBACK": "False", "PAUSED": "False",
		"TRIGGERS": trigger,
	}
	lines := strings.Split(strings.TrimSpace(w.kubectl(t, "get", "so", "-n", namespace)), "\n")
	if len(lines) != 2 {
		t.Fatalf("kubectl get so prints %q", lines)
	}
	header, row := strings.Fields(lines[0]), strings.Fields(lines[1])
	if len(header) != len(row) || len(row) != len(wanted)+1 {
		t.Fatalf("kubectl get so prints\n%s", strings.Join(lines, "\n"))
	}
	for i, name := range header {
		if text, known := wanted[name]; known && row[i] != text {
			t.Errorf("kubectl get so prints %q in column %s instead of %q", row[i], name, text)
		}
	}
	if !slices.Contains(header, "AGE") {
		t.Errorf("kubectl get so prints the columns %q", header)
	}
}

// foldedEvent says what is wrong unless one event, and only one, tells of the change, with the count of its repetitions.
func (w *world) foldedEvent(ctx context.Context, namespace, reason, change string, count int32) error {
	list, err := w.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=ScaledObject,involvedObject.name=worker,reason=" + reason,
	})
	if err != nil {
		return err
	}
	matching := slices.DeleteFunc(slices.Clone(list.Items), func(e corev1.Event) bool {
		return !strings.Contains(e.Message, change)
	})
	if len(matching) != 1 || matching[0].Count != count {
		var seen []string
		for _, e := range list.Items {
			seen = append(seen, fmt.Sprintf("%dx %q", e.Count, e.Message))
		}
		return fmt.Errorf("%s %s is not one event with the count %d: %s", reason, change, count, strings.Join(seen, "; "))
	}
	event := matching[0]
	if event.Type != corev1.EventTypeNormal || event.Source.Component == "" || event.LastTimestamp.IsZero() {
		return fmt.Errorf("%s %s: incomplete event %+v", reason, change, event)
	}
	return nil
}

func (w *world) checkExplanation(t *testing.T) {
	t.Helper()
	eventually(t, soon, "kubectl explain to know the triggers", func(ctx context.Context) error {
		text, err := w.plane.Kubectl(ctx, "explain", "so.spec.triggers")
		if err != nil {
			return err
		}
		for _, wanted := range []string{"KIND:       ScaledObject", "FIELD: triggers", "What is read, for instance cron"} {
			if !strings.Contains(text, wanted) {
				return errors.New(text)
			}
		}
		return nil
	})
}
