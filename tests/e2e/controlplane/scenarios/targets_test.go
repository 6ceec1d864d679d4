package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// scrapeTarget is what Prometheus' API says of one.
type scrapeTarget struct {
	Pool       string            `json:"scrapePool"`
	URL        string            `json:"scrapeUrl"`
	Health     string            `json:"health"`
	LastError  string            `json:"lastError"`
	Labels     map[string]string `json:"labels"`
	Discovered map[string]string `json:"discoveredLabels"`
}

// targetsAt asks a server, of Prometheus or ours, for its active targets.
func targetsAt(ctx context.Context, address string) ([]scrapeTarget, error) {
	page, err := fetch(ctx, http.DefaultClient, "http://"+address+"/api/v1/targets?state=active")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Active []scrapeTarget `json:"activeTargets"`
		} `json:"data"`
	}
	if err := json.Unmarshal(page, &answer); err != nil {
		return nil, fmt.Errorf("reading the targets of %s: %w", address, err)
	}
	return answer.Data.Active, nil
}

// webAddress is where a replica of the release answers.
func webAddress(pod corev1.Pod) string { return pod.Status.PodIP + ":9090" }

// lifetime is from when until when a pod should be a target; a zero end is yet to come.
type lifetime struct{ begin, end time.Time }

// history is what should have been a target, and when, as the API server told it: every running pod of a namespace.
type history struct {
	mutex sync.Mutex
	pods  map[types.UID]*lifetime
	names map[types.UID]string
}

// followPods keeps the history of a namespace's pods until the test ends.
func (w *world) followPods(t *testing.T, namespace string) *history {
	t.Helper()
	pods := w.client.CoreV1().Pods(namespace)
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	h := &history{pods: map[types.UID]*lifetime{}, names: map[types.UID]string{}}
	done := make(chan error, 1)
	go func() { done <- h.follow(ctx, pods, list.ResourceVersion) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("following the pods of %s: %v", namespace, err)
		}
	})
	return h
}

// follow adds what happens to pods after a version until its context ends. An API server ends the watch of a client that
// does not keep up, as this one may in a storm of changes; the next watch goes on where that one ended.
func (h *history) follow(ctx context.Context, pods typedcorev1.PodInterface, version string) error {
	for {
		watcher, err := pods.Watch(ctx, metav1.ListOptions{ResourceVersion: version})
		if err == nil {
			version, err = h.read(watcher, version)
			watcher.Stop()
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watching from version %s: %w", version, err)
		}
	}
}

// read adds what a watch tells until it ends, and returns the last version that it told of.
func (h *history) read(watcher watch.Interface, version string) (string, error) {
	for event := range watcher.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok {
			return version, apierrors.FromObject(event.Object)
		}
		h.add(pod, event.Type == watch.Deleted)
		version = pod.ResourceVersion
	}
	return version, nil
}

func (h *history) add(pod *corev1.Pod, deleted bool) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	known := h.pods[pod.UID]
	runs := !deleted && pod.Status.Phase == corev1.PodRunning && pod.Status.PodIP != ""
	switch {
	case runs && known == nil:
		h.pods[pod.UID] = &lifetime{begin: time.Now()}
		h.names[pod.UID] = pod.Name
	case !runs && known != nil && known.end.IsZero():
		known.end = time.Now()
	}
}

// newsLag is by how much the API server may tell others earlier than this test.
const newsLag = 500 * time.Millisecond

// compare says what is wrong with the pods that were seen as targets between two moments, if every change may take so long
// to show.
func (h *history) compare(seen []string, asked, answered time.Time, patience time.Duration) error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	allowed, needed := map[string]bool{}, map[string]bool{}
	for id, life := range h.pods {
		ended := !life.end.IsZero()
		if life.begin.Before(answered.Add(newsLag)) && (!ended || life.end.After(asked.Add(-patience))) {
			allowed[h.names[id]] = true
		}
		if life.begin.Before(asked.Add(-patience)) && (!ended || life.end.After(answered)) {
			needed[h.names[id]] = true
		}
	}
	var wrong []string
	for _, name := range seen {
		delete(needed, name)
		if !allowed[name] {
			wrong = append(wrong, name+" is still a target")
		}
	}
	for name := range needed {
		wrong = append(wrong, name+" is not a target yet")
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("%d of %d targets: %s", len(wrong), len(seen), strings.Join(wrong[:min(len(wrong), 5)], ", "))
}

// running is how many should be targets now.
func (h *history) running() (count int) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	for _, life := range h.pods {
		if life.end.IsZero() {
			count++
		}
	}
	return count
}

// watchTargets compares the targets of a namespace's pods with their history until the function that it returns is called,
// which fails the test if they ever differed for longer than `patience`.
func (h *history) watchTargets(t *testing.T, address, namespace string, patience time.Duration) (stop func()) {
	t.Helper()
	return withoutPause(t, func(ctx context.Context) error {
		pause(ctx, 100*time.Millisecond) // Asking is work for the one that is watched.
		asked := time.Now()
		active, err := targetsAt(ctx, address)
		if err != nil {
			return err
		}
		answered, seen := time.Now(), podsOf(active, namespace)
		if h.compare(seen, asked, answered, patience) == nil {
			return nil
		}
		pause(ctx, newsLag) // It may be this test that does not know yet.
		return h.compare(seen, asked, answered, patience)
	})
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

// podsOf names the pods of the namespace that are targets.
func podsOf(active []scrapeTarget, namespace string) []string {
	names := map[string]bool{}
	for _, one := range active {
		if one.Labels["namespace"] == namespace {
			names[one.Labels["pod"]] = true
		}
	}
	return slices.Collect(maps.Keys(names))
}

// poolsOf counts the targets by job and health.
func poolsOf(active []scrapeTarget) map[string]int {
	pools := map[string]int{}
	for _, one := range active {
		pools[one.Pool+" "+one.Health]++
	}
	return pools
}

// labelled is a Deployment whose pods have a port for metrics by name, and the label that goes with it.
const labelled = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: labelled}
spec:
  replicas: 3
  selector: {matchLabels: {app: labelled}}
  template:
    metadata: {labels: {app: labelled, log: prometheus}}
    spec:
      containers:
        - {name: labelled, image: web, ports: [{name: prometheus, containerPort: 8080}]}
`

func TestAClusterIsScrapedWithoutConfiguration(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, "prometheusConfig: \"\"\n")
	address := webAddress(r.pod(t))
	eventually(t, soon, "kubelet, cAdvisor and Tidewright itself to be scraped", func(ctx context.Context) error {
		active, err := targetsAt(ctx, address)
		if err != nil {
			return err
		}
		for _, wanted := range []string{"kubernetes-nodes up", "kubernetes-cadvisor up", "tidewright up"} {
			if pools := poolsOf(active); pools[wanted] != 1 {
				return fmt.Errorf("targets by job and health: %v", pools)
			}
		}
		return nil
	})
	namespace := w.namespace(t, "plain")
	pods := w.followPods(t, namespace)
	stop := pods.watchTargets(t, address, namespace, time.Second)
	w.apply(t, namespace, labelled)
	w.apply(t, namespace, shop)
	rolledOut := func(names ...string) {
		for _, name := range names {
			w.kubectl(t, "rollout", "status", "deployment", name, "-n", namespace, "--timeout", soon.String())
		}
	}
	rolledOut("labelled", "shop")
	w.kubectl(t, "rollout", "restart", "deployment", "labelled", "-n", namespace)
	rolledOut("labelled")
	w.kubectl(t, "scale", "deployment", "shop", "-n", namespace, "--replicas", "0")
	eventually(t, soon, "three pods to be left, and all of them to be up", func(ctx context.Context) error {
		active, err := targetsAt(ctx, address)
		if err != nil {
			return err
		}
		if names := podsOf(active, namespace); len(names) != 3 || poolsOf(active)["kubernetes-pods up"] != 3 {
			return fmt.Errorf("%v; by job and health: %v", names, poolsOf(active))
		}
		return nil
	})
	stop()

	for expression, wanted := range map[string]int{
		`count by (job) ({__name__=~"container_cpu_usage_seconds_total|container_fs_reads_total"})`: 2,
		`container_cpu_usage_seconds_total{job="kubernetes-cadvisor"}`:                              0, // Counted twice.
		`container_fs_reads_total{pod=""}`:                                                          0,
	} {
		if series, err := r.query(t.Context(), expression); err != nil {
			t.Error(err)
		} else if len(series) != wanted {
			t.Errorf("%s is %v", expression, series)
		}
	}
}

// query evaluates an expression and returns the label sets of the answer.
func (r *release) query(ctx context.Context, expression string) ([]map[string]string, error) {
	pods, err := r.pods(ctx)
	if err != nil {
		return nil, err
	}
	page, err := r.get(ctx, pods[0], "/api/v1/query?query="+url.QueryEscape(expression))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string `json:"metric"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(page, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer to %s: %w", expression, err)
	}
	var all []map[string]string
	for _, one := range answer.Data.Result {
		all = append(all, one.Metric)
	}
	return all, nil
}

// ofTheAPIServer scrapes the API server with the identity of the release.
const ofTheAPIServer = `
rbac: {apiServerMetrics: true}
prometheusConfig: |
  global: {scrape_interval: 1s}
  scrape_configs:
    - job_name: apiserver
      scheme: https
      authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
      tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
      kubernetes_sd_configs: [{role: endpointslice, namespaces: {names: [default]}}]
      relabel_configs:
        - {source_labels: [__meta_kubernetes_service_name, __meta_kubernetes_endpointslice_port_name],
           regex: kubernetes;https, action: keep}
`

func TestTheAPIServersOwnMetricsAreScraped(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, ofTheAPIServer)
	eventually(t, soon, "the API server's metrics", func(ctx context.Context) error {
		series, err := r.query(ctx, `count(apiserver_request_total{job="apiserver"}) > 10 and on () (up{job="apiserver"} == 1)`)
		if err == nil && len(series) != 1 {
			active, _ := targetsAt(ctx, webAddress(r.pod(t)))
			err = fmt.Errorf("%+v", active)
		}
		return err
	})
}
