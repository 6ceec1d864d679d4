package node

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// clock is moved by hand.
type clock struct{ time.Time }

func (c *clock) now() time.Time         { return c.Time }
func (c *clock) pass(seconds int)       { c.Time = c.Add(time.Duration(seconds) * time.Second) }
func shop(number byte) Pods             { return Pods{Namespace: "shop", Name: podName(number)} }
func podName(number byte) string        { return "web-" + string('0'+number) }
func podAddress(number byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, number}) }
func shown(number byte, ready bool) shownPod {
	return shownPod{
		uid: types.UID(podName(number)), namespace: "shop", name: podName(number), address: podAddress(number),
		labels: map[string]string{"app": "web"}, containers: []string{"web"}, ready: ready,
	}
}

func page(m *Metrics, number byte) string {
	var text strings.Builder
	if !m.write(&text, podAddress(number)) {
		return "no such pod"
	}
	return text.String()
}

func TestMetricsOfPods(t *testing.T) {
	web := Pods{Labels: map[string]string{"app": "web"}}
	for _, row := range []struct {
		name string
		do   func(m *Metrics, c *clock)
		want string // The page of the first of two pods.
	}{
		{"nothing set", func(m *Metrics, c *clock) {}, ""},
		{"a rate integrates", func(m *Metrics, c *clock) {
			m.SetRate(web, "requests_total", 5)
			c.pass(4)
			m.SetRate(web, "requests_total", 1)
			c.pass(2)
		}, "# TYPE requests_total counter\nrequests_total 22\n"},
		{"a rate is shared by pods that are ready", func(m *Metrics, c *clock) {
			m.ShareRate(web, "requests_total", 10)
			c.pass(2)
			m.set(shown(2, false))
			c.pass(3)
		}, "# TYPE requests_total counter\nrequests_total 40\n"},
		{"the later rule counts", func(m *Metrics, c *clock) {
			m.SetGauge(Pods{}, "depth", 1)
			m.SetGauge(shop(1), "depth", 2)
		}, "# TYPE depth gauge\ndepth 2\n"},
		{"a rule of another pod does not count", func(m *Metrics, c *clock) {
			m.SetGauge(Pods{}, "depth", 1)
			m.SetGauge(shop(2), "depth", 2)
		}, "# TYPE depth gauge\ndepth 1\n"},
		{"series of one metric stay together", func(m *Metrics, c *clock) {
			m.SetGauge(web, `depth{queue="b"}`, 2)
			m.SetGauge(web, "depth_max", 3)
			m.SetGauge(web, `depth{queue="a"}`, 1)
		}, "# TYPE depth gauge\ndepth{queue=\"a\"} 1\ndepth{queue=\"b\"} 2\n# TYPE depth_max gauge\ndepth_max 3\n"},
		{"a dropped name takes its labels along", func(m *Metrics, c *clock) {
			m.SetGauge(web, `depth{queue="a"}`, 1)
			m.SetGauge(web, "other", 1)
			m.Drop(Pods{}, "depth")
		}, "# TYPE other gauge\nother 1\n"},
		{"a counter comes back where it was", func(m *Metrics, c *clock) {
			m.SetRate(web, "requests_total", 5)
			c.pass(2)
			m.Drop(web, "requests_total")
			c.pass(2)
			m.SetRate(web, "requests_total", 5)
			c.pass(1)
		}, "# TYPE requests_total counter\nrequests_total 15\n"},
		{"a pod that is gone has no page", func(m *Metrics, c *clock) { m.remove(shown(1, true).uid) }, "no such pod"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := &clock{time.Unix(1000, 0)}
			m := newMetrics(c.now)
			m.set(shown(1, true))
			m.set(shown(2, true))
			row.do(m, c)
			if got := page(m, 1); got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}

func TestKubeletPage(t *testing.T) {
	cpu, memory := 1.5, 2048.0
	started := time.Unix(100, 0)
	all := []usedBy{
		{"shop", "web-1", "web", &cpu, &memory, started},
		{"shop", "web-1", "sidecar", &cpu, &memory, started},
		{"shop", "web-2", "web", nil, nil, started},
	}
	p := resourcePage{at: 7}
	for _, one := range all {
		p.sample("container_cpu_usage_seconds_total", one.labels(), one.cpu)
	}
	p.sums(all, 9)
	for _, line := range []string{
		`container_cpu_usage_seconds_total{container="sidecar",namespace="shop",pod="web-1"} 1.5e+00 7`,
		`pod_cpu_usage_seconds_total{namespace="shop",pod="web-1"} 3e+00 7`,
		`pod_memory_working_set_bytes{namespace="shop",pod="web-1"} 4.096e+03 7`,
		`node_cpu_usage_seconds_total 9e+00 7`,
		`node_memory_working_set_bytes 4.096e+03 7`,
	} {
		if !strings.Contains(p.text.String(), line+"\n") {
			t.Errorf("no line %s in:\n%s", line, p.text.String())
		}
	}
	if strings.Contains(p.text.String(), "web-2") {
		t.Errorf("a pod without usage is on the page:\n%s", p.text.String())
	}
}

func TestTheNodesCPUNeverShrinks(t *testing.T) {
	var m meter
	one, two := 5.0, 3.0
	m.add([]usedBy{{pod: "a", cpu: &one}, {pod: "b", cpu: &two}})
	two = 4.0
	if got := m.add([]usedBy{{pod: "b", cpu: &two}}); got != 9 {
		t.Errorf("got %v, want 5 of the pod that is gone and 4 of the other", got)
	}
}

func TestProcessUsage(t *testing.T) {
	if _, memory, err := processUsage(os.Getpid()); err != nil || memory <= 0 {
		t.Errorf("this process uses %v bytes (%v)", memory, err)
	}
}
