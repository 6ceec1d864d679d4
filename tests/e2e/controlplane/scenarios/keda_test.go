package scenarios

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

var kedaObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}

// kedaWorker is what a user of KEDA has: nothing of it knows of Tidewright.
const kedaWorker = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 2
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: worker, image: worker, env: [{name: QUEUE, value: orders}]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: queue}
stringData: {address: ADDRESS}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata: {name: queue}
spec:
  secretTargetRef: [{parameter: address, name: queue, key: address}]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: worker, labels: {deploymentName: worker}}
spec:
  scaleTargetRef: {name: worker}
  pollingInterval: 1
  cooldownPeriod: 2
  minReplicaCount: 0
  maxReplicaCount: 8
  fallback: {failureThreshold: 2, replicas: 6}
  advanced:
    restoreToOriginalReplicaCount: true
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
  triggers:
    - type: redis
      metadata: {listName: orders, listLength: "5"}
      authenticationRef: {name: queue}
`

// The life of an object of KEDA: to zero and back, paused, without its source, contested, and deleted.
func TestKedaObjectsAreFollowedUnchanged(t *testing.T) {
	w := sharedWorld(t)
	w.defineKeda(t)
	w.install(t, "watchKeda: true\n")
	queue := w.startRedis(t)
	namespace := w.namespace(t, "keda")
	const resource = "scaledobjects.keda.sh/worker"
	conditions := func(active, fallback, paused string) {
		t.Helper()
		w.checkConditionsOf(t, kedaObjects, namespace, map[string]string{
			"Ready": "True", "Active": active, "Fallback": fallback, "Paused": paused,
		})
	}
	w.apply(t, namespace, strings.ReplaceAll(kedaWorker, "ADDRESS", queue.address.String()))
	worker := w.watchReplicas(t, deployments, namespace, "worker")
	eventually(t, soon, "the workers to rest", worker.are(0))
	conditions("False", "False", "False")
	queue.setLength(t, "orders", 14)
	eventually(t, soon, "the workers to wake up", worker.are(3))
	conditions("True", "False", "False")

	w.kubectl(t, "annotate", "-n", namespace, resource, "autoscaling.keda.sh/paused-replicas=5")
	eventually(t, soon, "the workers to be as many as the pause says", worker.are(5))
	queue.setLength(t, "orders", 40)
	throughout(t, 3*time.Second, "the object is paused", worker.are(5))
	w.kubectl(t, "wait", "--for=condition=Paused", "--timeout=60s", "-n", namespace, resource)
	queue.setLength(t, "orders", 20)
	w.kubectl(t, "annotate", "-n", namespace, resource, "autoscaling.keda.sh/paused-replicas-")
	eventually(t, soon, "the workers to follow the queue again", worker.are(4))

	queue.stop()
	eventually(t, soon, "the fallback", worker.are(6))
	w.kubectl(t, "wait", "--for=condition=Fallback", "--timeout=60s", "-n", namespace, resource)
	queue.start(t)
	queue.setLength(t, "orders", 9)
	eventually(t, soon, "the workers to follow the queue that is back", worker.are(2))
	conditions("True", "False", "False")

	w.apply(t, namespace, aDeployment.scaledObject(redisTrigger(queue, "others")))
	w.waitNotReady(t, namespace, "keda.sh")
	queue.setLength(t, "orders", 24)
	eventually(t, soon, "the older object to keep its workers", worker.are(5))
	w.kubectl(t, "delete", "-n", namespace, "so/worker")

	w.kubectl(t, "delete", "-n", namespace, resource)
	eventually(t, soon, "the workers to be as many as before", worker.are(2))
}
