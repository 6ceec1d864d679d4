package scenarios

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"tidewright.dev/controlplane/internal/cluster"
	"tidewright.dev/controlplane/internal/network"
	"tidewright.dev/controlplane/internal/node"
)

const (
	// soon is what everything takes that only has to happen; the machine may be slow.
	soon         = 60 * time.Second
	startTimeout = 2 * time.Minute
	imageName    = "tidewright"
)

// paths are what a run needs from the build, relative to this folder.
type paths struct {
	programs   string // The folder of controlplane and helm.
	tidewright string // The binary under test.
	chart      string
}

func findPaths() (paths, error) {
	root, err := filepath.Abs("../../../..")
	if err != nil {
		return paths{}, err
	}
	found := paths{
		programs:   filepath.Join(root, "build/controlplane"),
		tidewright: filepath.Join(root, "build/dev/cmd/tidewright"),
		chart:      filepath.Join(root, "charts/tidewright"),
	}
	if other := os.Getenv("TIDEWRIGHT_BINARY"); other != "" {
		found.tidewright = other
	}
	for _, needed := range []string{
		found.tidewright, filepath.Join(found.programs, "controlplane"), filepath.Join(found.programs, "helm"),
	} {
		if _, err := os.Stat(needed); err != nil {
			return paths{}, fmt.Errorf("%w; `./dev test e2e` builds it", err)
		}
	}
	return found, nil
}

// world is a cluster with one node.
type world struct {
	paths
	bridge  *network.Bridge
	plane   *cluster.Cluster
	node    *node.Node
	client  *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	nodeLog *os.File
}

func startWorld(ctx context.Context, bridge *network.Bridge, folder string) (*world, error) {
	found, err := findPaths()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w := &world{paths: found, bridge: bridge}
	w.plane, err = cluster.Start(ctx, cluster.Options{
		Dir: filepath.Join(folder, "cluster"), Programs: found.programs, Address: bridge.Gateway(),
	})
	if err != nil {
		return nil, err
	}
	if w.client, err = w.plane.Client(); err != nil {
		return nil, err
	}
	if w.dynamic, err = dynamic.NewForConfig(w.plane.Admin); err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	if w.nodeLog, err = os.Create(filepath.Join(folder, "node.log")); err != nil {
		return nil, fmt.Errorf("making the node's log: %w", err)
	}
	w.node, err = node.Start(ctx, node.Options{
		Config:    w.plane.Admin,
		Bridge:    bridge,
		Folder:    filepath.Join(folder, "node"),
		Programs:  map[string]string{imageName: found.tidewright},
		APIServer: w.plane.Endpoint(),
		Log:       slog.New(slog.NewTextHandler(w.nodeLog, nil)),
	})
	return w, err
}

func (w *world) stop() error {
	w.node.Stop()
	_ = w.nodeLog.Close()
	return w.plane.Stop()
}

// eventually waits until `check` finds nothing wrong, and fails the test with what was wrong last.
func eventually(t *testing.T, patience time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := cluster.Poll(ctx, what, check); err != nil {
		t.Fatal(err)
	}
}

// throughout watches for a time that `check` finds nothing wrong.
func throughout(t *testing.T, length time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		if err := check(t.Context()); err != nil {
			t.Fatalf("while %s: %v", what, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// namespace makes a namespace that ends with the test.
func (w *world) namespace(t *testing.T, prefix string) string {
	t.Helper()
	made, err := w.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("making a namespace: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		if err := w.client.CoreV1().Namespaces().Delete(ctx, made.Name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the namespace %s: %v", made.Name, err)
		}
	})
	return made.Name
}

// kubectl runs kubectl as the administrator and returns what it prints.
func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	output, err := w.plane.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// apply applies manifests in a namespace.
func (w *world) apply(t *testing.T, namespace, manifests string) {
	t.Helper()
	if _, err := w.plane.KubectlInput(t.Context(), manifests, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatal(err)
	}
}
