package scenarios

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"tidewright.dev/controlplane/internal/faults"
	"tidewright.dev/controlplane/internal/node"
)

// The chart's own times again: a write must not lose its leader before it has been tried twice.
const patientLeader = `
leaderElection: {leaseDuration: 15s, renewDeadline: 10s, retryPeriod: 2s}
`

// The API server as the release sees it: at another port of the same address.
const proxyPort = 7443

// startProxy makes the pods that start from now on, until the test ends, find a proxy in the place of kube-apiserver.
// Everybody else goes on asking kube-apiserver itself.
func (w *world) startProxy(t *testing.T) *faults.Proxy {
	t.Helper()
	address := netip.AddrPortFrom(w.bridge.Gateway(), proxyPort)
	pair, err := w.plane.Authority.Server("fault-proxy", nil, []netip.Addr{address.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM(w.plane.Authority.Certificate)
	proxy, err := faults.Start(faults.Options{
		Listen:      address,
		Certificate: certificate,
		Upstream:    &url.URL{Scheme: "https", Host: w.plane.Endpoint().String()},
		UpstreamCAs: authorities,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.node.SetAPIServer(address)
	t.Cleanup(func() {
		w.node.SetAPIServer(w.plane.Endpoint())
		proxy.Close()
	})
	return proxy
}

// trouble is a release behind a proxy, and the workloads that must not suffer.
type trouble struct {
	*release
	proxy *faults.Proxy
	queue *redis
	list  string // Of the ScaledObject that follows the queue.
	// hpa is the namespace of a workload that the cluster's HPA controller scales by our metrics.
	hpa       string
	worker    *replicas
	workloads []*replicas
	pod       corev1.Pod
}

func newTrouble(t *testing.T) *trouble {
	w := sharedWorld(t)
	x := &trouble{proxy: w.startProxy(t)}
	x.release = w.install(t, hpaValues+patientLeader)
	x.queue = w.startRedis(t)

	x.list = w.namespace(t, "queue")
	x.queue.setLength(t, x.list, 14)
	x.worker = w.follow(t, x.list, aDeployment, redisTrigger(x.queue, x.list))

	orders := w.namespace(t, "orders")
	w.node.Metrics().SetGauge(node.Pods{Namespace: orders}, "orders_open", 38)
	w.apply(t, orders, frontend)
	ordered := w.follow(t, orders, aDeployment, fmt.Sprintf(
		`{type: prometheus, metadata: {query: 'sum(orders_open{namespace="%s"})', threshold: '10'}}`, orders))

	x.hpa = w.namespace(t, "hpa")
	pods := drivenByHPA["Pods"]
	pods.load(w.node.Metrics(), node.Pods{Namespace: x.hpa}, 3)
	w.apply(t, x.hpa, fmt.Sprintf(webWorkload, 1)+fmt.Sprintf(scaled, pods.metric))
	web := w.watchReplicas(t, deployments, x.hpa, "web")

	eventually(t, soon, "the queue's workers", x.worker.are(3))
	eventually(t, soon, "the orders' workers", ordered.are(4))
	eventually(t, soon, "the HPA's pods", web.stay(3))
	x.workloads = []*replicas{x.worker, ordered, web}
	x.pod = x.release.pod(t)
	return x
}

// unharmed says what is wrong if anything shrank since the moment.
func (x *trouble) unharmed(since time.Time) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, workload := range x.workloads {
			if err := workload.neverShrank(since)(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// A healthy release asks the API server less than once per second here; one that spins does so hundreds of times.
const calmPerSecond = 10

// endure lets a fault happen for a time and checks that nothing is scaled down by it, and that the API server is asked
// neither much oftener over any few seconds, as the proxy saw it, nor altogether, as the client itself counted it: where
// connections are refused the proxy sees none.
func (x *trouble) endure(t *testing.T, length time.Duration, fault faults.Fault) {
	t.Helper()
	const window = 5 * time.Second
	begin, attempts := time.Now(), x.attempts(t)
	if err := x.proxy.Set(fault); err != nil {
		t.Fatal(err)
	}
	throughout(t, length, "the trouble lasts", x.unharmed(begin))
	attempts = x.attempts(t) - attempts
	if err := x.proxy.Pass(); err != nil {
		t.Fatal(err)
	}
	if attempts == 0 && fault.Mode != faults.Stall {
		t.Error("the client asked nothing, so nothing is shown")
	}
	if limit := calmPerSecond * length.Seconds(); attempts > limit {
		t.Errorf("the client asked %v times within %s", attempts, length)
	}
	requests := x.proxy.Requests(begin, time.Now(), nil)
	count, at := faults.Busiest(requests, window)
	t.Logf("%s: %v requests in %s; through the proxy %d, at most %d within %s", fault.Mode, attempts, length,
		len(requests), count, window)
	if count > calmPerSecond*int(window/time.Second) {
		t.Errorf("%d requests within %s, from %s after the begin", count, window, at.Sub(begin))
		for _, r := range requests {
			if since := r.Time.Sub(at); since >= 0 && since < window {
				t.Logf("%s %s %s", r.Time.Format("05.000"), r.Verb, r.Path)
			}
		}
	}
}

// checkPatience fails the test unless writes to a scale subresource were told to wait, and waited, each for as long as it
// was told: also where the wait was too long for the leader's lease, and the next pass tried anew.
func (x *trouble) checkPatience(t *testing.T, since time.Time, retryAfter time.Duration) {
	t.Helper()
	const inexact = 50 * time.Millisecond // The proxy notes a request a little after its begin.
	writes := x.proxy.Requests(since, time.Now(), func(r faults.Request) bool {
		return faults.Writes(r) && r.Mode == faults.Throttle && strings.HasSuffix(r.Path, "/scale")
	})
	if len(writes) < 2 {
		t.Errorf("there were %d writes, so no patience is shown", len(writes))
	}
	last := map[string]time.Time{}
	for _, write := range writes {
		before, again := last[write.Path]
		if waited := write.Time.Sub(before); again && waited < retryAfter-inexact {
			t.Errorf("%s %s was tried again after %s already", write.Verb, write.Path, waited)
		}
		last[write.Path] = write.Time
	}
}

// attempts is how many requests the release's client has finished, one way or the other, for as long as it runs.
func (x *trouble) attempts(t *testing.T) (sum float64) {
	t.Helper()
	page, err := x.release.get(t.Context(), x.pod, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(series, "rest_client_requests_total{") {
			continue
		}
		count, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("reading %q: %v", line, err)
		}
		sum += count
	}
	return sum
}

// checkRecovery shows that, without a restart, what did not move still does not, and that what has to move does: known
// objects, new ones, and what the HPA controller asks.
func (x *trouble) checkRecovery(t *testing.T, patience time.Duration) {
	t.Helper()
	recovering := time.Now()
	late := x.world.namespace(t, "late")
	x.queue.setLength(t, late, 9)
	x.apply(t, late, aDeployment.manifest()+"---\n"+aDeployment.scaledObject(redisTrigger(x.queue, late)))
	lateWorker := x.watchReplicas(t, deployments, late, "worker")
	eventually(t, patience, "a new ScaledObject to be followed", lateWorker.are(2))
	eventually(t, soon, "the HPA to read its metric", func(ctx context.Context) error {
		return x.hpaCondition(ctx, x.hpa, autoscalingv2.ScalingActive, corev1.ConditionTrue, "ValidMetricFound")
	})
	throughout(t, 3*time.Second, "the API server is back", x.unharmed(recovering))

	x.queue.setLength(t, x.list, 24)
	eventually(t, soon, "the queue's workers to become more", x.worker.are(5))
	x.queue.setLength(t, x.list, 14)
	eventually(t, soon, "the queue's workers to become fewer again", x.worker.are(3))
	if err := x.sameProcess(t); err != nil {
		t.Error(err)
	}
}

// sameProcess says what is wrong if the release did not survive.
func (x *trouble) sameProcess(t *testing.T) error {
	t.Helper()
	pod := x.release.pod(t)
	if pod.UID != x.pod.UID {
		return errors.New("the pod was replaced")
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.RestartCount != 0 {
			return fmt.Errorf("container %s was restarted %d times", status.Name, status.RestartCount)
		}
	}
	return nil
}

func TestTroubleWithTheAPIServerScalesNothingDown(t *testing.T) {
	x := newTrouble(t)
	t.Run("Undisturbed", func(t *testing.T) { // What the others compare with.
		x.endure(t, 10*time.Second, faults.Fault{Mode: faults.Pass})
	})
	t.Run("DownForAMinute", func(t *testing.T) {
		x.endure(t, 30*time.Second, faults.Fault{Mode: faults.Reset})
		x.endure(t, 30*time.Second, faults.Fault{Mode: faults.Refuse})
		x.checkRecovery(t, 2*soon)
	})
	t.Run("TooManyRequests", func(t *testing.T) {
		later := faults.Fault{Mode: faults.Throttle, RetryAfter: 3 * time.Second}
		if err := x.proxy.Set(later); err != nil {
			t.Fatal(err)
		}
		x.queue.setLength(t, x.list, 24) // Something has to be written.
		begin := time.Now()
		x.endure(t, 15*time.Second, later)
		x.checkPatience(t, begin, later.RetryAfter)
		x.checkRecovery(t, soon)
	})
	t.Run("InternalErrors", func(t *testing.T) {
		x.endure(t, 15*time.Second, faults.Fault{Mode: faults.Fail})
		x.checkRecovery(t, soon)
	})
	t.Run("NoAnswers", func(t *testing.T) {
		x.endure(t, 20*time.Second, faults.Fault{Mode: faults.Hang, Match: exceptWatches})
		x.checkRecovery(t, soon)
	})
	t.Run("SilentWatches", func(t *testing.T) {
		// They stay silent: only that tells the client, after two minutes, that they are dead.
		x.endure(t, 5*time.Second, faults.Fault{Mode: faults.Stall})
		x.checkRecovery(t, 4*soon)
	})
}

func exceptWatches(r faults.Request) bool { return r.Verb != faults.Watch }
