package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const (
	// What `hurry` makes of the chart's values.
	leaseDuration = 5 * time.Second
	retryPeriod   = time.Second
	// takeover is how long nobody may lead: a lease that was renewed in the last moment, the attempt that comes just too
	// early and its jitter, and what a busy machine adds.
	takeover = leaseDuration + 2*retryPeriod + 2*time.Second

	twoReplicas = "replicas: 2\n"
	// summit is how many workers the queue is worth. From one worker less it is out of the HPA's tolerance of 10%.
	summit = 10
)

// climber is a Deployment that takes a step up each second, to as many workers as the list %s has jobs.
const climber = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker}
spec:
  replicas: 1
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec: {containers: [{name: worker, image: worker}]}
---
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: worker}
spec:
  scaleTargetRef: {name: worker}
  pollingInterval: 1
  minReplicaCount: 1
  maxReplicaCount: 50
  triggers: [{type: redis, metadata: {address: "%s", listName: "%s", listLength: "1"}}]
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {scaleUp: {stabilizationWindowSeconds: 0, policies: [{type: Pods, value: 1, periodSeconds: 1}]}}
`

func TestAnotherReplicaTakesOver(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, twoReplicas)
	queue := w.startRedis(t)
	for _, test := range []struct {
		name string
		// fell makes the leader fall silent and says how long nobody may lead then.
		fall func(*testing.T, string) time.Duration
		// rise is called when another leads.
		rise func(*testing.T, string)
	}{
		{"FromOneThatIsKilled",
			func(t *testing.T, leader string) time.Duration {
				r.node.HoldRestarts(r.namespace, leader)
				r.kill(t, r.podNamed(t, leader))
				return takeover
			},
			func(_ *testing.T, leader string) { r.node.ReleaseRestarts(r.namespace, leader) }},
		{"FromOneThatIsStoppedAndContinues",
			func(t *testing.T, leader string) time.Duration {
				if err := r.node.Pause(r.namespace, leader, releaseName); err != nil {
					t.Fatal(err)
				}
				return takeover
			},
			func(t *testing.T, leader string) {
				if err := r.node.Continue(r.namespace, leader, releaseName); err != nil {
					t.Fatal(err)
				}
			}},
		{"FromOneThatEndsInOrder",
			func(t *testing.T, leader string) time.Duration {
				w.kubectl(t, "delete", "pod", leader, "-n", r.namespace, "--wait=false")
				return leaseDuration // It gives the lease away, so there is nothing to wait for.
			},
			func(*testing.T, string) {}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.waitReady(t)
			namespace := w.namespace(t, "climb")
			queue.setLength(t, namespace, summit)
			w.apply(t, namespace, fmt.Sprintf(climber, queue.address, namespace))
			workers := w.watchReplicas(t, deployments, namespace, "worker")
			eventually(t, soon, "the climb to begin", workers.reach(4))

			leader := r.leader(t)
			fallen := time.Now()
			patience := test.fall(t, leader)
			eventually(t, soon, "another leader", func(ctx context.Context) error {
				if now := r.leader(t); now == leader || now == "" {
					return fmt.Errorf("%q still leads", now)
				}
				return nil
			})
			eventually(t, soon, "the climb to go on", workers.reach(workers.now()+2))
			test.rise(t, leader)
			eventually(t, soon, "the climb to end", workers.are(summit))
			r.waitReady(t)

			if err := workers.neverShrank(time.Time{})(t.Context()); err != nil {
				t.Error(err)
			}
			r.checkWriters(t, namespace, leader, fallen, patience)
		})
	}
}

func TestAStandbyEndsInOrder(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, twoReplicas)
	leader := r.leader(t)
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		if pod.Name == leader {
			continue
		}
		w.kubectl(t, "delete", "pod", pod.Name, "-n", r.namespace, "--wait=false")
		r.waitGone(t, pod)
	}
	if now := r.leader(t); now != leader {
		t.Errorf("%s leads instead of %s", now, leader)
	}
}

// leader is the pod that holds the Lease; "" if nobody does.
func (r *release) leader(t *testing.T) string {
	t.Helper()
	lease, err := r.client.CoordinationV1().Leases(r.namespace).Get(t.Context(), releaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("reading the Lease: %v", err)
	}
	return holder(lease)
}

// holder is the pod's part of the identity.
func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	name, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return name
}

// write is a successful write of a release to the API server, by the pod whose token it showed.
type write struct {
	begin, end time.Time
	pod        string
	response   []byte
}

func (w write) String() string {
	return fmt.Sprintf("%s %s", w.begin.Format("15:04:05.000"), w.pod)
}

func writeOf(e auditv1.Event) write {
	// See https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ for the bound token's claims.
	pod := strings.Join(e.User.Extra["authentication.kubernetes.io/pod-name"], ",")
	result := write{begin: e.RequestReceivedTimestamp.Time, end: e.StageTimestamp.Time, pod: pod}
	if e.ResponseObject != nil {
		result.response = e.ResponseObject.Raw
	}
	return result
}

func isWrite(e auditv1.Event) bool {
	return slices.Contains([]string{"create", "update", "patch"}, e.Verb) && e.Stage == auditv1.StageResponseComplete &&
		e.ResponseStatus != nil && e.ResponseStatus.Code < 300 && e.ObjectRef != nil
}

// checkWriters checks what the API server has seen: that the number of workers in `namespace` was written in rising order,
// that this and the ScaledObject's status were written by the pod that held the Lease then, and that somebody else held it
// in time after `leader` fell.
func (r *release) checkWriters(t *testing.T, namespace, leader string, fallen time.Time, patience time.Duration) {
	t.Helper()
	var scales, statuses, leases []write
	for _, e := range r.requests(t) {
		switch {
		case !isWrite(e):
		case e.ObjectRef.Resource == "leases":
			leases = append(leases, writeOf(e))
		case e.ObjectRef.Subresource == "scale" && e.ObjectRef.Namespace == namespace:
			scales = append(scales, writeOf(e))
		case e.ObjectRef.Resource == "scaledobjects" && e.ObjectRef.Namespace == namespace:
			statuses = append(statuses, writeOf(e))
		}
	}
	if len(statuses) == 0 {
		t.Error("nobody wrote the ScaledObject's status")
	}
	checkRising(t, scales)
	checkHolders(t, scales, leases)
	checkHolders(t, statuses, leases)
	writers := slices.Compact(mapped(scales, func(s write) string { return s.pod }))
	if len(writers) != 2 || writers[0] != leader {
		t.Errorf("the writers were %v instead of %s and one more: %v", writers, leader, scales)
	}
	for _, l := range leases {
		if name := holderIn(t, l); l.end.After(fallen) && name != leader && name != "" {
			t.Logf("the other led after %s", l.end.Sub(fallen).Round(time.Millisecond))
			if l.end.Sub(fallen) > patience {
				t.Errorf("nobody led for %s, which is more than %s", l.end.Sub(fallen), patience)
			}
			return
		}
	}
	t.Error("nobody else took the Lease")
}

func checkRising(t *testing.T, scales []write) {
	t.Helper()
	last := int32(0)
	for _, s := range scales {
		var scale struct{ Spec struct{ Replicas int32 } }
		if err := json.Unmarshal(s.response, &scale); err != nil {
			t.Fatalf("reading the answer to a scale write: %v", err)
		}
		if scale.Spec.Replicas < last {
			t.Errorf("%s wrote %d after %d", s, scale.Spec.Replicas, last)
		}
		last = scale.Spec.Replicas
	}
}

// checkHolders fails the test for a write by somebody whom the Lease did not name.
func checkHolders(t *testing.T, writes, leases []write) {
	t.Helper()
	for _, problem := range unheld(t, writes, leases) {
		t.Error(problem)
	}
}

// unheld says which writes are by somebody whom the Lease, of which all writes are given, did not name.
func unheld(t *testing.T, writes, leases []write) []string {
	t.Helper()
	var problems []string
	for _, one := range writes {
		name := ""
		for _, l := range leases {
			if !l.end.After(one.begin) {
				name = holderIn(t, l)
			}
		}
		if name != one.pod {
			problems = append(problems, fmt.Sprintf("%s wrote while %q held the Lease", one, name))
		}
	}
	return problems
}

func holderIn(t *testing.T, l write) string {
	t.Helper()
	var lease coordinationv1.Lease
	if err := json.Unmarshal(l.response, &lease); err != nil {
		t.Fatalf("reading the answer to a write of the Lease: %v", err)
	}
	return holder(&lease)
}

func mapped[T, U any](values []T, change func(T) U) []U {
	result := []U{}
	for _, value := range values {
		result = append(result, change(value))
	}
	return result
}

// reach says what is wrong unless the workload has at least so many replicas.
func (r *replicas) reach(wanted int64) func(context.Context) error {
	return func(context.Context) error {
		if got := r.now(); got < wanted {
			return fmt.Errorf("%s has %d replicas, not yet %d", r.workload, got, wanted)
		}
		return nil
	}
}
