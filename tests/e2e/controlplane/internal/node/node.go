// Package node is a node of a test cluster: a scheduler and a kubelet in a few hundred lines. Pods of ordinary images only
// seem to run: they get an address, become Running and Ready and show the metrics that a scenario sets. Pods of images
// that Options.Programs names run for real, in namespaces of their own, with the volumes, the identity, the probes and
// the restarts that their specification asks for.
//
// What it does not model, so that nobody concludes from it what it cannot show:
//   - Scheduling: every pod fits. Node selectors, affinity, taints, priorities and resources are not looked at.
//   - Resources: requests and limits are neither reserved nor enforced; nobody is evicted, and emptyDir has no limit.
//   - Images: nothing is pulled. The root filesystem of a real process is the /usr of this machine, read-only, a
//     small /etc and what its volumes bring.
//   - Isolation: user namespaces, seccomp and AppArmor profiles are ignored; of capabilities, only `drop: [ALL]` works.
//   - Init, sidecar and ephemeral containers, lifecycle hooks, probes other than httpGet, terminationMessagePath, exec,
//     attach, port-forward, restart policies other than Always, and volumes other than configMap, secret, emptyDir,
//     projected and downwardAPI. A real process that asks for one of the latter is not started, and the status of its
//     container says why. In simulated pods all of this is ignored.
//   - Services: there is no kube-proxy and no DNS. Addresses of pods work, cluster addresses and names do not.
//   - The kubelet's authorization: it acts as the administrator that Options.Config names, and its port answers everyone.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"tidewright.dev/controlplane/internal/network"
)

// UnreadyAnnotation keeps a pod that has it, with any value, from becoming Ready.
const UnreadyAnnotation = "controlplane.tidewright.dev/unready"

// Options are what a node is made of. Config, Bridge and Folder are required.
type Options struct {
	// Name of the Node object. Default: node-1.
	Name string
	// Config is for the administrator.
	Config *rest.Config
	// Bridge connects the pods.
	Bridge *network.Bridge
	// Folder takes what pods write: logs/ and pods/.
	Folder string
	// Programs are the images that run for real: the repository, without tag or digest, and the executable that stands
	// for the image's entry point. The executable is copied when the node starts, so it may be built anew meanwhile.
	Programs map[string]string
	// APIServer is what real processes find in KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT.
	APIServer netip.AddrPort
	// StartDelay is the time from the binding of a simulated pod until it is Running and Ready. Default: 300 ms.
	StartDelay time.Duration
	// StopDelay is how long a simulated pod takes to end, if its grace period is not shorter. Default: 200 ms.
	StopDelay time.Duration
	// RestartDelay is the first back-off of a process that died; it doubles up to MaxRestartDelay. Defaults: 500 ms and
	// 8 s, where the kubelet's are 10 s and 5 min.
	RestartDelay    time.Duration
	MaxRestartDelay time.Duration
	// Log takes what the node has to tell. Default: slog.Default().
	Log *slog.Logger
}

func (o *Options) setDefaults() error {
	if o.Config == nil || o.Bridge == nil || o.Folder == "" {
		return errors.New("starting a node: Config, Bridge and Folder must be set")
	}
	setDefault(&o.Name, "node-1")
	setDefault(&o.StartDelay, 300*time.Millisecond)
	setDefault(&o.StopDelay, 200*time.Millisecond)
	setDefault(&o.RestartDelay, 500*time.Millisecond)
	setDefault(&o.MaxRestartDelay, 8*time.Second)
	setDefault(&o.Log, slog.Default())
	o.Log = o.Log.With("node", o.Name)
	return nil
}

func setDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Node is safe for concurrent use.
type Node struct {
	options    Options
	client     kubernetes.Interface
	configMaps corelisters.ConfigMapLister
	secrets    corelisters.SecretLister
	metrics    *Metrics
	usage      *Metrics // The series cpu (core-seconds) and memory (bytes) of simulated pods.
	meter      meter
	executable string // This program, which also knows how to be a container's first process.
	cancel     context.CancelFunc
	routines   sync.WaitGroup

	mutex     sync.Mutex
	pods      map[types.UID]*pod
	binding   map[types.UID]bool
	held      map[types.NamespacedName]bool
	pending   map[string]bool // Namespaces.
	unready   map[types.NamespacedName]bool
	apiServer netip.AddrPort
}

// Start registers the node and begins to run pods. It returns when the node is Ready. The context bounds the start only;
// Stop ends the node.
func Start(ctx context.Context, options Options) (*Node, error) {
	if err := options.setDefaults(); err != nil {
		return nil, err
	}
	config := rest.CopyConfig(options.Config)
	config.QPS = -1 // A test must not measure this client's own patience.
	config.UserAgent = "controlplane-node"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the node's client: %w", err)
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	n := &Node{
		options:    options,
		client:     client,
		executable: executable,
		pods:       map[types.UID]*pod{},
		binding:    map[types.UID]bool{},
		held:       map[types.NamespacedName]bool{},
		pending:    map[string]bool{},
		unready:    map[types.NamespacedName]bool{},
		apiServer:  options.APIServer,
	}
	n.metrics = newMetrics(time.Now)
	n.usage = newMetrics(time.Now)
	n.usage.SetRate(Pods{}, cpuSeries, 0.01)
	n.usage.SetGauge(Pods{}, memorySeries, 16<<20)
	if err := n.copyPrograms(); err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	if err := n.start(ctx, running); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx, running context.Context) error {
	if err := n.serveKubelet(running); err != nil {
		return err
	}
	if err := n.servePodMetrics(running); err != nil {
		return err
	}
	if err := n.register(ctx); err != nil {
		return err
	}
	n.routines.Go(func() { n.beat(running) })
	return n.watch(ctx, running)
}

// watch feeds the node with pods, and with what their volumes are made of.
func (n *Node) watch(ctx, running context.Context) error {
	factory := informers.NewSharedInformerFactory(n.client, 0)
	configMaps, secrets := factory.Core().V1().ConfigMaps(), factory.Core().V1().Secrets()
	n.configMaps, n.secrets = configMaps.Lister(), secrets.Lister()
	changed := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { n.kickAll() },
		UpdateFunc: func(any, any) { n.kickAll() },
	}
	for _, informer := range []cache.SharedIndexInformer{configMaps.Informer(), secrets.Informer()} {
		if _, err := informer.AddEventHandler(changed); err != nil {
			return fmt.Errorf("watching volumes: %w", err)
		}
	}
	pods := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { n.see(running, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { n.see(running, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) { n.miss(object) },
	}
	factory.Start(running.Done())
	if !cache.WaitForCacheSync(ctx.Done(), configMaps.Informer().HasSynced, secrets.Informer().HasSynced) {
		return fmt.Errorf("reading ConfigMaps and Secrets: %w", ctx.Err())
	}
	// Pods come last: their volumes are known then.
	informer := factory.Core().V1().Pods().Informer()
	if _, err := informer.AddEventHandler(pods); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	factory.Start(running.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return fmt.Errorf("reading pods: %w", ctx.Err())
	}
	n.routines.Go(func() {
		<-running.Done()
		factory.Shutdown()
	})
	return nil
}

// Stop kills every process of the node and frees its pods' networks. The objects stay in the cluster. It may be called
// twice.
func (n *Node) Stop() {
	n.cancel()
	n.routines.Wait()
}

// Metrics is what simulated pods show at their port 8080, under /metrics.
func (n *Node) Metrics() *Metrics { return n.metrics }

// SetUsage sets the CPU (cores) and the memory (bytes) that each of the simulated pods uses according to the kubelet, shared
// equally by its containers. For real processes the kubelet shows what they use in truth.
func (n *Node) SetUsage(pods Pods, cores, bytes float64) {
	n.usage.SetRate(pods, cpuSeries, cores)
	n.usage.SetGauge(pods, memorySeries, bytes)
}

// DropUsage makes the kubelet forget the pods' CPU and memory until the next SetUsage.
func (n *Node) DropUsage(pods Pods) {
	n.usage.Drop(pods, cpuSeries)
	n.usage.Drop(pods, memorySeries)
}

// SetAPIServer changes where processes that are started from now on find the API server.
func (n *Node) SetAPIServer(address netip.AddrPort) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.apiServer = address
}

// SetUnready keeps a pod from being Ready, or lets it be so again.
func (n *Node) SetUnready(namespace, name string, unready bool) {
	n.set(n.unready, types.NamespacedName{Namespace: namespace, Name: name}, unready)
}

// HoldRestarts keeps containers of the pod that die dead, until ReleaseRestarts.
func (n *Node) HoldRestarts(namespace, name string) {
	n.set(n.held, types.NamespacedName{Namespace: namespace, Name: name}, true)
}

// ReleaseRestarts undoes HoldRestarts.
func (n *Node) ReleaseRestarts(namespace, name string) {
	n.set(n.held, types.NamespacedName{Namespace: namespace, Name: name}, false)
}

func (n *Node) set(names map[types.NamespacedName]bool, name types.NamespacedName, value bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if value {
		names[name] = true
	} else {
		delete(names, name)
	}
	for _, p := range n.pods {
		if p.name == name {
			p.wake()
		}
	}
}

// HoldStarts keeps the pods of a namespace that have not started yet Pending from now on.
func (n *Node) HoldStarts(namespace string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.pending[namespace] = true
}

// holds says that a container of the pod, which has run before or not, must not be started.
func (n *Node) holds(pod types.NamespacedName, before bool) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if before {
		return n.held[pod]
	}
	return n.pending[pod.Namespace]
}

// LogFile is where the output of a real container goes, that of earlier instances included.
func (n *Node) LogFile(namespace, podName, container string) string {
	return filepath.Join(n.options.Folder, "logs", namespace+"_"+podName+"_"+container+".log")
}

// RenewTokens makes the node ask for new ServiceAccount tokens of the pod at once, instead of at four fifths of their
// lives. The old ones stay valid until they expire.
func (n *Node) RenewTokens(namespace, podName string) error {
	p, err := n.find(namespace, podName)
	if err != nil {
		return err
	}
	p.renewTokens()
	return nil
}

func (n *Node) find(namespace, podName string) (*pod, error) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, p := range n.pods {
		if p.name.Namespace == namespace && p.name.Name == podName {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no pod %s/%s is on node %s", namespace, podName, n.options.Name)
}
