package node

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Pods chooses pods. An empty field chooses all.
type Pods struct {
	Namespace string
	Name      string
	Labels    map[string]string // The pod has all of them.
}

func (p Pods) match(one *shownPod) bool {
	for key, value := range p.Labels {
		if got, found := one.labels[key]; !found || got != value {
			return false
		}
	}
	return (p.Namespace == "" || p.Namespace == one.namespace) && (p.Name == "" || p.Name == one.name)
}

func (p Pods) equals(other Pods) bool {
	if p.Namespace != other.Namespace || p.Name != other.Name || len(p.Labels) != len(other.Labels) {
		return false
	}
	for key, value := range p.Labels {
		if got, found := other.Labels[key]; !found || got != value {
			return false
		}
	}
	return true
}

// shownPod is a running pod as the metrics need it.
type shownPod struct {
	uid        types.UID
	namespace  string
	name       string
	labels     map[string]string
	address    netip.Addr
	containers []string
	ready      bool
	started    time.Time
}

type ruleKind int

const (
	gauge ruleKind = iota
	rate
	sharedRate
	dropped
	failing
	answering
)

// rule says what a series of some pods is. Of two rules for the same series of a pod, the later one counts.
type rule struct {
	pods   Pods
	series string
	kind   ruleKind
	value  float64
}

// Metrics are series of pods, as a test wants them to be. A series is written as it appears in the exposition format:
// http_requests_total, or queue_length{queue="mail"}. Counters grow by themselves, with the time. It is safe for
// concurrent use.
type Metrics struct {
	now func() time.Time

	mutex    sync.Mutex
	rules    []rule
	pods     map[types.UID]*meteredPod
	advanced time.Time
}

type meteredPod struct {
	shownPod
	counters map[string]float64
}

func newMetrics(now func() time.Time) *Metrics {
	return &Metrics{now: now, pods: map[types.UID]*meteredPod{}, advanced: now()}
}

// SetGauge sets a gauge of each of the pods, those that are still to come included.
func (m *Metrics) SetGauge(pods Pods, series string, value float64) {
	m.add(rule{pods, series, gauge, value})
}

// SetRate lets a counter of each of the pods grow by so much per second from now on.
func (m *Metrics) SetRate(pods Pods, series string, perSecond float64) {
	m.add(rule{pods, series, rate, perSecond})
}

// ShareRate lets a counter grow by so much per second over all of the pods together: each of those that are ready gets the
// same share, as from a load balancer. What arrives while none is ready is lost.
func (m *Metrics) ShareRate(pods Pods, series string, perSecond float64) {
	m.add(rule{pods, series, sharedRate, perSecond})
}

// Drop makes a series of the pods disappear, until it is set again. The bare name of a metric drops its series with
// labels, too. A counter that comes back goes on where it was.
func (m *Metrics) Drop(pods Pods, series string) {
	m.add(rule{pods: pods, series: series, kind: dropped})
}

// Fail makes the page of each of the pods an error, until Answer is called for the same pods.
func (m *Metrics) Fail(pods Pods) { m.add(rule{pods: pods, kind: failing}) }

// Answer ends Fail.
func (m *Metrics) Answer(pods Pods) { m.add(rule{pods: pods, kind: answering}) }

func (m *Metrics) add(r rule) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.advance()
	m.rules = slices.DeleteFunc(m.rules, func(old rule) bool {
		return old.pods.equals(r.pods) && (old.series == r.series || (r.kind == dropped && r.covers(old.series)))
	})
	m.rules = append(m.rules, r)
}

// covers says that the rule is about the series.
func (r *rule) covers(series string) bool {
	return r.series == series || (r.kind == dropped && r.series == metricName(series))
}

func metricName(series string) string {
	name, _, _ := strings.Cut(series, "{")
	return name
}

// set makes a pod known, or changes what is known.
func (m *Metrics) set(p shownPod) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.advance()
	if known := m.pods[p.uid]; known != nil {
		known.shownPod = p
		return
	}
	m.pods[p.uid] = &meteredPod{p, map[string]float64{}}
}

func (m *Metrics) remove(uid types.UID) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.advance()
	delete(m.pods, uid)
}

// of returns the rules that count for the pod, by series. The mutex must be held.
func (m *Metrics) of(p *meteredPod) map[string]rule {
	all := map[string]rule{}
	for _, r := range m.rules {
		if !r.pods.match(&p.shownPod) || r.kind == failing || r.kind == answering {
			continue
		}
		if r.kind == dropped {
			for series := range all {
				if r.covers(series) {
					delete(all, series)
				}
			}
			continue
		}
		all[r.series] = r
	}
	return all
}

// advance lets the counters grow up to now. The mutex must be held.
func (m *Metrics) advance() {
	now := m.now()
	seconds := now.Sub(m.advanced).Seconds()
	m.advanced = now
	for _, p := range m.pods {
		for series, r := range m.of(p) {
			switch {
			case r.kind == rate:
				p.counters[series] += r.value * seconds
			case r.kind == sharedRate && p.ready:
				p.counters[series] += r.value * seconds / float64(m.readyOf(r.pods))
			case r.kind == sharedRate:
				p.counters[series] += 0 // It exists from the start.
			}
		}
	}
}

func (m *Metrics) readyOf(pods Pods) (count int) {
	for _, p := range m.pods {
		if p.ready && pods.match(&p.shownPod) {
			count++
		}
	}
	return count
}

// sample is one series of one pod, now.
type sample struct {
	series  string
	counter bool
	value   float64
}

// samples returns a pod's series, sorted. The mutex must be held and the counters advanced.
func (m *Metrics) samples(p *meteredPod) []sample {
	var all []sample
	for series, r := range m.of(p) {
		if r.kind == gauge {
			all = append(all, sample{series, false, r.value})
		} else {
			all = append(all, sample{series, true, p.counters[series]})
		}
	}
	slices.SortFunc(all, func(a, b sample) int {
		return cmp.Or(cmp.Compare(metricName(a.series), metricName(b.series)), cmp.Compare(a.series, b.series))
	})
	return all
}

// fails says whether the page of the pod is an error at present. The mutex must be held.
func (m *Metrics) fails(p *meteredPod) (fails bool) {
	for _, r := range m.rules {
		if (r.kind == failing || r.kind == answering) && r.pods.match(&p.shownPod) {
			fails = r.kind == failing
		}
	}
	return fails
}

// write prints the page of the pod with the address in the text format; false if there is no such pod, or its page is an
// error.
func (m *Metrics) write(w io.Writer, address netip.Addr) bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.advance()
	for _, p := range m.pods {
		if p.address != address {
			continue
		}
		if m.fails(p) {
			return false
		}
		last := ""
		for _, s := range m.samples(p) {
			if name := metricName(s.series); name != last {
				kind := "gauge"
				if s.counter {
					kind = "counter"
				}
				fmt.Fprintf(w, "# TYPE %s %s\n", name, kind)
				last = name
			}
			fmt.Fprintf(w, "%s %s\n", s.series, strconv.FormatFloat(s.value, 'g', -1, 64))
		}
		return true
	}
	return false
}

// snapshot is a pod with its series.
type snapshot struct {
	shownPod
	samples map[string]float64
}

// all returns every pod, sorted by namespace and name.
func (m *Metrics) all() []snapshot {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.advance()
	var pods []snapshot
	for _, p := range m.pods {
		one := snapshot{p.shownPod, map[string]float64{}}
		for _, s := range m.samples(p) {
			one.samples[s.series] = s.value
		}
		pods = append(pods, one)
	}
	slices.SortFunc(pods, func(a, b snapshot) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return pods
}
