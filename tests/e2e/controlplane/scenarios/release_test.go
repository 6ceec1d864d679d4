package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const releaseName = "tidewright"

// The chart's own values, made to happen within seconds: what scrapes every 15 s, looks back 1 min, looks for new metrics
// every 30 s and waits 15 s for a leader that is silent.
var hurry = strings.NewReplacer("_interval: 15s", "_interval: 1s", "[1m]", "[10s]", "window: 1m", "window: 10s",
	"leaseDuration: 15s", "leaseDuration: 5s", "renewDeadline: 10s", "renewDeadline: 3s", "retryPeriod: 2s",
	"retryPeriod: 1s", "extraArgs: []", "extraArgs: [--adapter.relist-interval=1000]")

// release is an installed Tidewright. There is one at a time, because each serves the whole cluster.
type release struct {
	*world
	namespace string
	installed time.Time
	// forbidden is set by a test that takes a permission away: refused requests are what it is about.
	forbidden bool
}

// newRelease makes the namespace for a release that is not there yet.
func (w *world) newRelease(t *testing.T) *release {
	t.Helper()
	return &release{world: w, namespace: w.namespace(t, "tidewright"), installed: time.Now()}
}

// install installs the chart with the values (YAML, which win over the chart's) and waits until it is Ready. Unless the
// values say otherwise it scrapes by the built-in configuration, but each second. It is
// uninstalled when the test ends, and until then no request of its ServiceAccount may have been refused.
func (w *world) install(t *testing.T, values string) *release {
	t.Helper()
	r := w.newRelease(t)
	r.install(t, values)
	return r
}

func (r *release) install(t *testing.T, values string) {
	t.Helper()
	defaults, err := os.ReadFile(filepath.Join(r.chart, "values.yaml"))
	if err != nil {
		t.Fatalf("reading the chart's values: %v", err)
	}
	t.Cleanup(func() { r.uninstall(t) })
	r.helm(t, "install", releaseName, r.chart, "--namespace", r.namespace,
		"--values", writeFile(t, "defaults.yaml", hurry.Replace(string(defaults))),
		"--values", writeFile(t, "config.yaml", "prometheusConfig: |\n"+indent(hurry.Replace(r.builtInConfig(t)))),
		"--values", writeFile(t, "values.yaml", values), "--set", "image.repository="+imageName)
	r.waitReady(t)
}

// builtInConfig is what holds where prometheusConfig is empty.
func (w *world) builtInConfig(t *testing.T) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), w.tidewright, "check", "config", "--print-default").Output()
	if err != nil {
		t.Fatalf("printing the built-in configuration: %v", err)
	}
	return string(text)
}

// indent makes text a block of a YAML value.
func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (r *release) helm(t *testing.T, args ...string) {
	t.Helper()
	if _, err := r.plane.Helm(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

func (r *release) uninstall(t *testing.T) {
	// Before the roles go, which they do while the pods are still ending.
	r.checkPermissions(t)
	if t.Failed() {
		r.keepLogs(t)
	}
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	if _, err := r.plane.Helm(ctx, "uninstall", releaseName, "--namespace", r.namespace, "--wait"); err != nil {
		t.Errorf("uninstalling: %v", err)
	}
}

// waitReady waits until as many pods as the chart wants are Ready.
func (r *release) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, soon, "the release to be ready", func(ctx context.Context) error {
		deployment, err := r.client.AppsV1().Deployments(r.namespace).Get(ctx, releaseName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		wanted, status := *deployment.Spec.Replicas, deployment.Status
		if status.ObservedGeneration < deployment.Generation || status.ReadyReplicas != wanted ||
			status.UpdatedReplicas != wanted || status.Replicas != wanted {
			return fmt.Errorf("%d of %d replicas are ready: %s", status.ReadyReplicas, wanted, r.describePods(ctx))
		}
		return nil
	})
}

// pods lists the release's pods.
func (r *release) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := r.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/instance=" + releaseName,
	})
	if err != nil {
		return nil, fmt.Errorf("listing the release's pods: %w", err)
	}
	return list.Items, nil
}

// pod returns the only pod of a release with one replica.
func (r *release) pod(t *testing.T) corev1.Pod {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(pods) != 1 {
		t.Fatalf("the release has %d pods instead of one", len(pods))
	}
	return pods[0]
}

// podNamed returns one of the release's pods.
func (r *release) podNamed(t *testing.T, name string) corev1.Pod {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(pods, isPod(name))
	if i < 0 {
		t.Fatalf("the release has no pod %s", name)
	}
	return pods[i]
}

func isPod(name string) func(corev1.Pod) bool {
	return func(p corev1.Pod) bool { return p.Name == name }
}

// waitGone waits until a pod that is being deleted, or will be, is gone. The node kills it when its grace period is over;
// to end in time is its own part. It returns how long that took, since it was first seen to be asked to.
func (r *release) waitGone(t *testing.T, pod corev1.Pod) time.Duration {
	t.Helper()
	var asked time.Time
	grace := time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	eventually(t, soon, "the old pod to go", func(ctx context.Context) error {
		now, err := r.client.CoreV1().Pods(r.namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if now.DeletionTimestamp != nil && asked.IsZero() {
			asked = time.Now()
		}
		return fmt.Errorf("%s is still there", pod.Name)
	})
	if asked.IsZero() {
		return 0
	}
	took := time.Since(asked)
	if took > grace*2/3 {
		t.Errorf("%s ended %s after it was asked to; the node kills after %s", pod.Name, took, grace)
	}
	return took
}

func (r *release) describePods(ctx context.Context) string {
	pods, err := r.pods(ctx)
	if err != nil {
		return err.Error()
	}
	lines := []string{}
	for _, pod := range pods {
		lines = append(lines, fmt.Sprintf("%s %s", pod.Name, pod.Status.Phase))
		for _, status := range pod.Status.ContainerStatuses {
			lines = append(lines, fmt.Sprintf("restarts %d, %+v", status.RestartCount, status.State))
		}
	}
	return strings.Join(lines, "; ")
}

// keepLogs prints the ends of the pods' logs, which stay in the run's folder.
func (r *release) keepLogs(t *testing.T) {
	pods, err := r.pods(context.Background())
	if err != nil {
		t.Log(err)
	}
	for _, pod := range pods {
		file := r.node.LogFile(r.namespace, pod.Name, "tidewright")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Log(err)
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		t.Logf("the end of %s:\n%s", file, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// account is the release's identity as the API server names it.
func (r *release) account() string { return "system:serviceaccount:" + r.namespace + ":" + releaseName }

// requests returns what the release asked of the API server.
func (r *release) requests(t *testing.T) []auditv1.Event {
	t.Helper()
	events, err := r.plane.Audit(func(e auditv1.Event) bool { return e.User.Username == r.account() })
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// checkPermissions fails the test when a request of the release was refused for lack of a permission.
func (r *release) checkPermissions(t *testing.T) {
	requests := r.requests(t)
	if len(requests) == 0 {
		t.Errorf("%s asked nothing of the API server, so nothing is shown about its permissions", r.account())
	}
	for _, e := range requests {
		// Not by the code: a namespace that is being deleted takes no new objects, from nobody, and that is a 403, too.
		if !r.forbidden && e.Annotations["authorization.k8s.io/decision"] == "forbid" {
			t.Errorf("the chart's roles do not allow %s: %s %s", r.account(), e.Verb, e.RequestURI)
		}
	}
}

// get asks the release's web port.
func (r *release) get(ctx context.Context, pod corev1.Pod, path string) ([]byte, error) {
	if pod.Status.PodIP == "" {
		return nil, errors.New("the pod has no address yet")
	}
	return fetch(ctx, http.DefaultClient, "http://"+pod.Status.PodIP+":9090"+path)
}
