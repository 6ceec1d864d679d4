package scenarios

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// keptHPA is a ScaledObject that leaves it to an HPA to scale, of any name and with any annotations.
const keptHPA = `
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: worker, annotations: {%s}}
spec:
  scaleTargetRef: {name: worker}
  scalingMode: hpa
  pollingInterval: 1
  cooldownPeriod: 2
  maxReplicaCount: 6
  triggers: [%s]
  advanced:
    horizontalPodAutoscalerConfig:
      name: %s
      behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
`

const otherHPA = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: theirs}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}
  minReplicas: 1
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
`

// The cluster's own HPA controller scales by the metrics of ScaledObjects. One of the two replicas leads, so that some
// requests reach the one that only reads for them.
func TestScaledObjectsKeepHPAs(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, twoReplicas)
	queue := w.startRedis(t)
	namespace := w.namespace(t, "kept")
	trigger := redisTrigger(queue, namespace)
	w.apply(t, namespace, aDeployment.manifest())
	worker := w.watchReplicas(t, deployments, namespace, "worker")
	w.apply(t, namespace, fmt.Sprintf(keptHPA, "", trigger, "kept"))
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, "so/worker")

	queue.setLength(t, namespace, 9)
	eventually(t, soon, "the workers to wake up", worker.are(2))
	queue.setLength(t, namespace, 24)
	eventually(t, soon, "the HPA to make more", worker.are(5))
	eventually(t, soon, "the HPA to say that it did", func(ctx context.Context) error {
		hpa, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Get(ctx, "kept", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if hpa.Status.DesiredReplicas != 5 || len(hpa.Status.CurrentMetrics) != 1 {
			return fmt.Errorf("its status is %+v", hpa.Status)
		}
		if name := hpa.Status.CurrentMetrics[0].External.Metric.Name; !strings.HasPrefix(name, "s0-redis-") {
			return fmt.Errorf("its metric is %q", name)
		}
		return nil
	})
	queue.setLength(t, namespace, 14)
	eventually(t, soon, "the HPA to make fewer", worker.are(3))
	queue.setLength(t, namespace, 0)
	eventually(t, soon, "the workers to rest", worker.are(0))

	w.kubectl(t, "delete", "-n", namespace, "so/worker")
	eventually(t, soon, "the HPA to go with the ScaledObject", w.hpas(namespace))
}

func TestOtherHPAsAreTakenOverOnlyOnRequest(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, "")
	queue := w.startRedis(t)
	namespace := w.namespace(t, "theirs")
	trigger := redisTrigger(queue, namespace)
	w.apply(t, namespace, strings.Replace(aDeployment.manifest(), "replicas: 0", "replicas: 1", 1)+"---\n"+otherHPA)
	worker := w.watchReplicas(t, deployments, namespace, "worker")
	queue.setLength(t, namespace, 24)

	w.apply(t, namespace, fmt.Sprintf(keptHPA, "", trigger, "mine"))
	w.waitNotReady(t, namespace, "HorizontalPodAutoscaler "+namespace+"/theirs")
	w.apply(t, namespace, fmt.Sprintf(keptHPA, "", trigger, "theirs"))
	w.waitNotReady(t, namespace, "HorizontalPodAutoscaler "+namespace+"/theirs")
	if got := worker.now(); got > 2 {
		t.Errorf("there are %d replicas", got)
	}
	if err := w.hpas(namespace, "theirs")(t.Context()); err != nil {
		t.Error(err)
	}

	w.apply(t, namespace, fmt.Sprintf(keptHPA, `scaledobject.keda.sh/transfer-hpa-ownership: "true"`, trigger, "theirs"))
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, "so/worker")
	eventually(t, soon, "the workers to follow the queue", worker.are(5))
	if err := w.hpas(namespace, "theirs")(t.Context()); err != nil {
		t.Error(err)
	}
	w.kubectl(t, "patch", "-n", namespace, "so/worker", "--type=merge", "-p",
		`{"metadata":{"annotations":{"scaledobject.keda.sh/transfer-hpa-ownership":null}},"spec":{"scalingMode":"direct"}}`)
	eventually(t, soon, "the HPA to go", w.hpas(namespace))
	queue.setLength(t, namespace, 14)
	eventually(t, soon, "the workers to be scaled directly", worker.are(3))
}

// hpas says what is wrong unless the namespace has the HPAs of these names, and no others.
func (w *world) hpas(namespace string, wanted ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		list, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		var names []string
		for _, hpa := range list.Items {
			names = append(names, hpa.Name)
		}
		if strings.Join(names, " ") != strings.Join(wanted, " ") {
			return fmt.Errorf("there are the HPAs %v instead of %v", names, wanted)
		}
		return nil
	}
}
