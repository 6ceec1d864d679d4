package node

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"tidewright.dev/controlplane/internal/network"
)

// bareNode has a cluster of the given objects and nothing that runs.
func bareNode(t *testing.T, objects ...any) *Node {
	t.Helper()
	n := &Node{
		options: Options{
			Name:     "node-1",
			Bridge:   &network.Bridge{},
			Folder:   t.TempDir(),
			Programs: map[string]string{"tidewright": "/programs/tidewright"},
			Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
		},
		held:      map[types.NamespacedName]bool{},
		pending:   map[string]bool{},
		unready:   map[types.NamespacedName]bool{},
		apiServer: netip.MustParseAddrPort("10.0.0.1:6443"),
	}
	n.metrics, n.usage = newMetrics(time.Now), newMetrics(time.Now)
	configMaps := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	secrets := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, object := range objects {
		store := configMaps
		if _, isSecret := object.(*corev1.Secret); isSecret {
			store = secrets
		}
		if err := store.Add(object); err != nil {
			t.Fatal(err)
		}
	}
	n.configMaps, n.secrets = corelisters.NewConfigMapLister(configMaps), corelisters.NewSecretLister(secrets)
	return n
}

func barePod(n *Node, spec corev1.PodSpec) (*pod, *corev1.Pod) {
	object := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u", Labels: map[string]string{"app": "web"}},
		Spec:       spec,
	}
	p := newPod(n, object)
	p.address = netip.MustParseAddr("10.0.0.9")
	return p, object
}

func TestRepository(t *testing.T) {
	for image, want := range map[string]string{
		"tidewright":                      "tidewright",
		"tidewright:0.1.0":                "tidewright",
		"registry:5000/team/tidewright":   "registry:5000/team/tidewright",
		"registry:5000/tidewright:1":      "registry:5000/tidewright",
		"registry/tidewright@sha256:abcd": "registry/tidewright",
		"registry/tidewright:1@sha256:ab": "registry/tidewright",
	} {
		if got := repository(image); got != want {
			t.Errorf("%s: got %s, want %s", image, got, want)
		}
	}
}

func TestEnvironmentAndArguments(t *testing.T) {
	n := bareNode(t,
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}, Data: map[string]string{"LEVEL": "debug"},
		},
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "keys"}, Data: map[string][]byte{"key": []byte("k")},
		})
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	p, object := barePod(n, corev1.PodSpec{Containers: []corev1.Container{{
		Image: "tidewright:1",
		Args:  []string{"run", "--name=$(NAME)", "--level=$(LEVEL)", "$$(NAME)", "$(UNKNOWN)"},
		EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}},
		Env: []corev1.EnvVar{
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "ADDRESS", ValueFrom: field("status.podIP")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "WHO", Value: "$(NAME) at $(ADDRESS)"},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "key",
			}}},
		},
	}}})
	c := p.containers[0]
	environment, err := c.environment(object)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"NAME": "web-1", "ADDRESS": "10.0.0.9", "APP": "web", "WHO": "web-1 at 10.0.0.9", "KEY": "k", "LEVEL": "debug",
		"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443",
	} {
		if got := environment[name]; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	want := []string{"/tidewright", "run", "--name=web-1", "--level=debug", "$(NAME)", "$(UNKNOWN)"}
	if got := c.arguments(environment); !slices.Equal(got, want) {
		t.Errorf("got arguments %q, want %q", got, want)
	}
}

func TestRefusesWhatIsNotModelled(t *testing.T) {
	n := bareNode(t)
	yes, ref := true, corev1.LocalObjectReference{Name: "none"}
	for name, spec := range map[string]corev1.PodSpec{
		"root though not wanted": {SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes}},
		"a resource in the environment": {Containers: []corev1.Container{{Env: []corev1.EnvVar{{
			ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Divisor: resource.MustParse("1")}},
		}}}}},
		"a ConfigMap that is not there": {Containers: []corev1.Container{{EnvFrom: []corev1.EnvFromSource{{
			ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref},
		}}}}},
		"a sub-path with variables": {Containers: []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{
			SubPathExpr: "$(NAME)",
		}}}}},
	} {
		if len(spec.Containers) == 0 {
			spec.Containers = []corev1.Container{{}}
		}
		spec.Containers[0].Image = "tidewright"
		p, object := barePod(n, spec)
		if _, err := p.containers[0].initSpec(object); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSecurityContext(t *testing.T) {
	id := func(value int64) *int64 { return &value }
	yes, no := true, false
	p, object := barePod(bareNode(t), corev1.PodSpec{
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser: id(65532), RunAsGroup: id(65532), FSGroup: id(2000), SupplementalGroups: []int64{3000},
			RunAsNonRoot: &yes,
		},
		Containers: []corev1.Container{{Image: "tidewright", SecurityContext: &corev1.SecurityContext{
			RunAsUser: id(7), ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no,
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}}},
	})
	spec, err := p.containers[0].initSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	if spec.User != 7 || spec.Group != 65532 || !slices.Equal(spec.Groups, []int{3000, 2000}) {
		t.Errorf("got user %d, group %d, groups %v", spec.User, spec.Group, spec.Groups)
	}
	if !spec.ReadOnlyRoot || !spec.NoNewPrivileges || !spec.DropCapabilities {
		t.Errorf("got %+v, want every privilege taken away", spec)
	}
}

func TestConfigMapVolumeFollowsItsSourceAtOnce(t *testing.T) {
	object := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"},
		Data:       map[string]string{"a.yaml": "one", "b.yaml": "one"},
	}
	n := bareNode(t, object)
	mode := int32(0o640)
	p, asPod := barePod(n, corev1.PodSpec{
		Containers: []corev1.Container{{Image: "tidewright"}},
		Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, DefaultMode: &mode,
			},
		}}},
	})
	sync := func() {
		t.Helper()
		if err := p.volumes.sync(t.Context(), asPod, p.address); err != nil {
			t.Fatal(err)
		}
	}
	sync()
	folder := p.volumes.path("config")
	before, err := os.Readlink(filepath.Join(folder, "..data"))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(folder, "a.yaml")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("got %v %v, want mode 0640", info, err)
	}
	sync()
	if same, _ := os.Readlink(filepath.Join(folder, "..data")); same != before {
		t.Error("the link was swapped though nothing has changed")
	}
	object.Data = map[string]string{"a.yaml": "two", "c.yaml": "two"}
	sync()
	names, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, name := range names {
		if strings.HasPrefix(filepath.Base(name), "..") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, filepath.Base(name)+"="+string(text))
	}
	if want := []string{"a.yaml=two", "c.yaml=two"}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
	if _, err := os.Stat(filepath.Join(folder, before)); !os.IsNotExist(err) {
		t.Errorf("the old content is still there (%v)", err)
	}
}

func TestVolumePathsStayInTheirVolume(t *testing.T) {
	n := bareNode(t, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "settings"}, Data: map[string]string{"key": "text"},
	})
	for _, path := range []string{"../key", "/key", "a/../../key", "..data"} {
		p, object := barePod(n, corev1.PodSpec{
			Containers: []corev1.Container{{Image: "tidewright"}},
			Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
				ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
					Items:                []corev1.KeyToPath{{Key: "key", Path: path}},
				},
			}}},
		})
		if err := p.volumes.sync(t.Context(), object, p.address); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
}

func TestConditionsKeepTheTimeOfTheirTransition(t *testing.T) {
	p, object := barePod(bareNode(t), corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}})
	long := metav1.NewTime(time.Now().Add(-time.Hour))
	object.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: long},
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: long},
	}
	p.containers[0].startedAt = metav1.Now()
	status := p.status(object, nil)
	if status.Phase != corev1.PodRunning || !isReady(&status) {
		t.Errorf("got phase %s, ready %v; want a pod that runs", status.Phase, isReady(&status))
	}
	for _, condition := range status.Conditions {
		changed := !condition.LastTransitionTime.Equal(&long)
		if wanted := condition.Type != corev1.PodScheduled; changed != wanted {
			t.Errorf("condition %s: transition moved: %v, want %v", condition.Type, changed, wanted)
		}
	}
}

func TestPodsAreUnreadyOnDemand(t *testing.T) {
	n := bareNode(t)
	p, object := barePod(n, corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}})
	p.containers[0].startedAt = metav1.Now()
	ready := func() bool { status := p.status(object, nil); return isReady(&status) }
	n.SetUnready("shop", "web-1", true)
	if ready() {
		t.Error("ready though it must not be")
	}
	n.SetUnready("shop", "web-1", false)
	if !ready() {
		t.Error("not ready though it may be")
	}
	object.Annotations = map[string]string{UnreadyAnnotation: ""}
	if ready() {
		t.Error("ready against its annotation")
	}
}

func TestPodsThatHaveNotStartedStayPendingOnDemand(t *testing.T) {
	n := bareNode(t)
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}}
	running, object := barePod(n, spec)
	running.containers[0].sync(object, time.Now())
	n.HoldStarts("shop")
	waiting, _ := barePod(n, spec)
	for p, wanted := range map[*pod]corev1.PodPhase{running: corev1.PodRunning, waiting: corev1.PodPending} {
		p.containers[0].sync(object, time.Now())
		if status := p.status(object, nil); status.Phase != wanted {
			t.Errorf("got phase %s, want %s", status.Phase, wanted)
		}
	}
}

func TestProbes(t *testing.T) {
	var code atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(int(code.Load()))
	}))
	defer server.Close()
	address := netip.MustParseAddrPort(server.Listener.Addr().String())
	spec := func(failures int32) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/readyz", Port: intstr.FromString("api"), Scheme: corev1.URISchemeHTTPS,
			}},
			PeriodSeconds: 1, TimeoutSeconds: 5, SuccessThreshold: 1, FailureThreshold: failures,
		}
	}
	container := &corev1.Container{
		Ports:         []corev1.ContainerPort{{Name: "api", ContainerPort: int32(address.Port())}},
		LivenessProbe: spec(2), ReadinessProbe: spec(1), StartupProbe: spec(30),
	}
	all, err := newProbes(container, address.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*probe{all.startup, all.liveness, all.readiness} {
		p.period = time.Millisecond
	}
	changes := make(chan struct{}, 100)
	h := newHealth(all, func() { changes <- struct{}{} })
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(t.Context())
	}()
	until := func(what string, reached func() bool) {
		t.Helper()
		for deadline := time.After(20 * time.Second); !reached(); {
			select {
			case <-changes:
			case <-deadline:
				t.Fatalf("not %s; last failure: %v", what, h.lastError())
			}
		}
	}
	code.Store(http.StatusOK)
	until("started", h.started)
	until("ready", h.ready)
	code.Store(http.StatusServiceUnavailable)
	until("unready", func() bool { return !h.ready() })
	until("hopeless", h.hopeless)
	if err := h.lastError(); err == nil || !strings.Contains(err.Error(), strconv.Itoa(http.StatusServiceUnavailable)) {
		t.Errorf("got %v, want the status that the server gave", err)
	}
}

func TestProbesOfOtherKindsAreRefused(t *testing.T) {
	_, err := newProbes(&corev1.Container{LivenessProbe: &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}},
	}}, netip.Addr{})
	if !errors.As(err, &configError{}) {
		t.Errorf("got %v, want an error of the configuration", err)
	}
}
