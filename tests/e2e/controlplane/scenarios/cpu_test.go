package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	"tidewright.dev/controlplane/internal/node"
)

// Two of the triggers that the cluster's own controllers know as Resource metrics. The window is longer than the one of
// the rate that CPU is (10 s here), in which it falls slowly when its samples end.
const podTriggers = `
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: web}
  pollingInterval: 1
  minReplicaCount: 1
  maxReplicaCount: 8
  triggers:
    - {type: cpu, metricType: Utilization, metadata: {value: "50"}}
    - {type: memory, metricType: AverageValue, metadata: {value: 500Mi, containerName: web}}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleDown: {stabilizationWindowSeconds: 20}}
`

func TestScaledObjectsFollowWhatPodsUse(t *testing.T) {
	const mebi = 1 << 20
	w := sharedWorld(t)
	w.install(t, "resourceMetrics: true\n")
	namespace := w.namespace(t, "usage")
	each := node.Pods{Namespace: namespace}
	w.node.SetUsage(each, 0.5, 100*mebi)
	w.apply(t, namespace, fmt.Sprintf(webWorkload, 2))
	web := w.watchReplicas(t, deployments, namespace, "web")
	w.apply(t, namespace, podTriggers)
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, "so/worker")
	eventually(t, soon, "the pods to stay", web.stay(2))

	w.node.SetUsage(each, 0.9, 100*mebi) // 90 % of the requested core; the next pods use as much.
	eventually(t, soon, "the processors to ask for more", web.reach(4))
	w.node.SetUsage(each, 0.5, 100*mebi)
	eventually(t, soon, "the pods to stay", func(ctx context.Context) error { return web.stay(web.now())(ctx) })

	before := web.now()
	w.node.DropUsage(each)
	begin := time.Now()
	w.waitNotReady(t, namespace, "cannot be read")
	throughout(t, 15*time.Second, "nothing is known of the pods", web.neverShrank(begin))

	w.node.SetUsage(each, 0.1, float64(500*mebi)*float64(before-1)/float64(before))
	eventually(t, soon, "the memory to allow one pod less", web.are(before-1))
	w.node.SetUsage(each, 0.1, 50*mebi)
	eventually(t, soon, "one pod to be left", web.are(1))
	w.checkConditions(t, namespace, map[string]string{"Ready": "True"})
}
