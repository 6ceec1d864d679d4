package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"tidewright.dev/controlplane/internal/pki"
)

const (
	kubeletPort = 10250
	metricsPort = 8080

	cpuSeries    = "cpu"
	memorySeries = "memory"
)

// serveKubelet opens the kubelet's port, with a certificate that it signed itself, as kubelets do by default. It takes
// every caller and every token for granted.
func (n *Node) serveKubelet(ctx context.Context) error {
	authority, err := pki.NewAuthority(n.options.Name + "-ca")
	if err != nil {
		return err
	}
	address := n.options.Bridge.Gateway()
	pair, err := authority.Server(n.options.Name, []string{n.options.Name}, []netip.Addr{address})
	if err != nil {
		return err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return fmt.Errorf("using the kubelet's certificate: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	mux.HandleFunc("GET /metrics/resource", n.serveResources)
	mux.HandleFunc("GET /metrics/cadvisor", n.serveContainers)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.serveLog)
	return n.serve(ctx, netip.AddrPortFrom(address, kubeletPort), mux,
		&tls.Config{Certificates: []tls.Certificate{certificate}})
}

// servePodMetrics answers at the addresses of all simulated pods.
func (n *Node) servePodMetrics(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		address, err := netip.ParseAddrPort(fmt.Sprint(local))
		var page strings.Builder
		if err != nil || !n.metrics.write(&page, address.Addr().Unmap()) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		io.WriteString(w, page.String())
	})
	return n.serve(ctx, netip.AddrPortFrom(netip.IPv4Unspecified(), metricsPort), mux, nil)
}

// serve answers until the context ends.
func (n *Node) serve(ctx context.Context, address netip.AddrPort, handler http.Handler, secure *tls.Config) error {
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return fmt.Errorf("listening on %s: %w", address, err)
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // Of clients that leave.
	}
	n.routines.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			n.options.Log.Error("serving", "address", address, "error", err)
		}
	})
	n.routines.Go(func() {
		<-ctx.Done()
		server.Close()
	})
	return nil
}

// serveLog is what kube-apiserver asks for when kubectl logs is used; of its options none is known.
func (n *Node) serveLog(w http.ResponseWriter, r *http.Request) {
	if _, err := n.find(r.PathValue("namespace"), r.PathValue("pod")); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	file, err := os.Open(n.LogFile(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")))
	if err != nil {
		http.Error(w, "the container has no log", http.StatusNotFound)
		return
	}
	defer file.Close()
	w.Header().Set("Content-Type", "text/plain")
	io.Copy(w, file)
}

// usedBy is what a container uses; nil where nothing is known.
type usedBy struct {
	namespace, pod, container string
	cpu, memory               *float64
	started                   time.Time
}

// serveResources has the families, labels and timestamps of the kubelet's /metrics/resource, without swap.
func (n *Node) serveResources(w http.ResponseWriter, _ *http.Request) {
	all := append(n.simulatedUsage(), n.realUsage()...)
	page := resourcePage{at: time.Now().UnixMilli()}
	page.family("container_cpu_usage_seconds_total", "counter",
		"Cumulative cpu time consumed by the container in core-seconds")
	for _, one := range all {
		page.sample("container_cpu_usage_seconds_total", one.labels(), one.cpu)
	}
	page.family("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes")
	for _, one := range all {
		page.sample("container_memory_working_set_bytes", one.labels(), one.memory)
	}
	page.family("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds")
	for _, one := range all {
		started := float64(one.started.UnixNano()) / 1e9
		page.sample("container_start_time_seconds", one.labels(), &started)
	}
	page.sums(all, n.meter.add(all))
	page.family("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise")
	page.text.WriteString("resource_scrape_error 0\n")
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	io.WriteString(w, page.text.String())
}

// serveContainers has a few of cAdvisor's families: one that /metrics/resource has, too, one that it has not, and that one
// also for a control group that belongs to no pod.
func (n *Node) serveContainers(w http.ResponseWriter, _ *http.Request) {
	var page strings.Builder
	page.WriteString("# TYPE container_cpu_usage_seconds_total counter\n")
	all := append(n.simulatedUsage(), n.realUsage()...)
	for _, one := range all {
		if one.cpu != nil {
			fmt.Fprintf(&page, "container_cpu_usage_seconds_total{cpu=\"total\",id=\"/pods/%s\",%s %g\n", one.pod,
				one.labels()[1:], *one.cpu)
		}
	}
	page.WriteString("# TYPE container_fs_reads_total counter\ncontainer_fs_reads_total{id=\"/\"} 1\n")
	for _, one := range all {
		fmt.Fprintf(&page, "container_fs_reads_total{id=\"/pods/%s\",%s 1\n", one.pod, one.labels()[1:])
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	io.WriteString(w, page.String())
}

func (n *Node) simulatedUsage() (all []usedBy) {
	for _, pod := range n.usage.all() {
		share := func(series string) *float64 {
			if value, found := pod.samples[series]; found {
				value /= float64(len(pod.containers))
				return &value
			}
			return nil
		}
		for _, container := range pod.containers {
			all = append(all, usedBy{
				pod.namespace, pod.name, container, share(cpuSeries), share(memorySeries), pod.started,
			})
		}
	}
	return all
}

// realUsage asks the kernel.
func (n *Node) realUsage() (all []usedBy) {
	n.mutex.Lock()
	pods := make([]*pod, 0, len(n.pods))
	for _, p := range n.pods {
		pods = append(pods, p)
	}
	n.mutex.Unlock()
	for _, p := range pods {
		for _, c := range p.containers {
			process := c.live()
			if process == nil {
				continue
			}
			cpu, memory, err := processUsage(process.command.Process.Pid)
			if err != nil {
				continue // It has just ended.
			}
			all = append(all, usedBy{p.name.Namespace, p.name.Name, c.spec.Name, &cpu, &memory, process.startedAt})
		}
	}
	return all
}

// processUsage reads the CPU seconds and the resident bytes of a process from /proc, see proc(5).
func processUsage(pid int) (cpu, memory float64, err error) {
	const ticksPerSecond = 100 // What the kernel shows to programs on every platform of ours.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // The name before may hold spaces.
	fields := strings.Fields(rest)
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	pages, err3 := strconv.ParseFloat(fields[21], 64)
	return (user + system) / ticksPerSecond, pages * float64(os.Getpagesize()), errors.Join(err1, err2, err3)
}

func (u *usedBy) labels() string {
	return fmt.Sprintf(`{container=%q,namespace=%q,pod=%q}`, u.container, u.namespace, u.pod)
}

// meter adds up the CPU seconds of the node, to which those of containers that are gone belong, too.
type meter struct {
	mutex sync.Mutex
	total float64
	seen  map[string]float64 // By container and start.
}

// add returns the total.
func (m *meter) add(all []usedBy) float64 {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	current := map[string]float64{}
	for _, one := range all {
		if one.cpu == nil {
			continue
		}
		key := one.labels() + one.started.String()
		m.total += max(0, *one.cpu-m.seen[key])
		current[key] = *one.cpu
	}
	m.seen = current
	return m.total
}

// resourcePage is the page under way.
type resourcePage struct {
	text strings.Builder
	at   int64
}

func (p *resourcePage) family(name, kind, help string) {
	fmt.Fprintf(&p.text, "# HELP %s [STABLE] %s\n# TYPE %s %s\n", name, help, name, kind)
}

func (p *resourcePage) sample(name, labels string, value *float64) {
	if value != nil {
		fmt.Fprintf(&p.text, "%s%s %s %d\n", name, labels, strconv.FormatFloat(*value, 'e', -1, 64), p.at)
	}
}

// sums are the families of pods and of the node, whose CPU seconds are given.
func (p *resourcePage) sums(all []usedBy, nodeCPU float64) {
	type total struct {
		labels      string
		cpu, memory float64
	}
	pods := []*total{}
	index := map[string]*total{}
	nodeMemory := 0.0
	for _, one := range all {
		if one.cpu == nil || one.memory == nil {
			continue
		}
		labels := fmt.Sprintf(`{namespace=%q,pod=%q}`, one.namespace, one.pod)
		if index[labels] == nil {
			index[labels] = &total{labels: labels}
			pods = append(pods, index[labels])
		}
		index[labels].cpu += *one.cpu
		index[labels].memory += *one.memory
		nodeMemory += *one.memory
	}
	p.family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds")
	p.sample("node_cpu_usage_seconds_total", "", &nodeCPU)
	p.family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes")
	p.sample("node_memory_working_set_bytes", "", &nodeMemory)
	p.family("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds")
	for _, t := range pods {
		p.sample("pod_cpu_usage_seconds_total", t.labels, &t.cpu)
	}
	p.family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes")
	for _, t := range pods {
		p.sample("pod_memory_working_set_bytes", t.labels, &t.memory)
	}
}
