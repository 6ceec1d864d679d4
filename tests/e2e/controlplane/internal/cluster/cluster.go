// Package cluster runs a Kubernetes control plane: etcd, kube-apiserver with its aggregation layer, and
// kube-controller-manager, as processes with logs in one folder.
package cluster

import (
	"context"
	"net/netip"
	"time"

	"k8s.io/client-go/rest"

	"tidewright.dev/controlplane/internal/pki"
)

// Options says where and how a control plane runs.
type Options struct {
	// Dir is the run's folder; everything that is written goes below it.
	Dir string
	// Programs is the folder with the binaries `controlplane` and `helm`.
	Programs string
	// Address is where kube-apiserver listens; the bridge's gateway.
	Address netip.Addr
}

// Cluster is a running control plane. It is safe for concurrent use, but for Stop and the methods that stop and start
// one of its programs.
type Cluster struct {
	// Admin may do everything.
	Admin *rest.Config
	// Kubeconfig is a file for the same user.
	Kubeconfig string
	// Authority signs the API server's certificate and those of its clients: ca.crt of every ServiceAccount.
	Authority *pki.Authority
	// FrontProxy signs the certificate that the API server shows to aggregated API servers.
	FrontProxy *pki.Authority
	// Tokens signs ServiceAccount tokens that the API server takes for its own.
	Tokens *pki.TokenSigner

	options Options
}

// Start starts a control plane and returns when it is ready to be used. The context bounds the start only.
func Start(ctx context.Context, options Options) (*Cluster, error) { return nil, nil }

// Stop ends every program of the control plane and waits for them.
func (c *Cluster) Stop() error { return nil }

// Endpoint returns the address that kube-apiserver serves TLS on.
func (c *Cluster) Endpoint() netip.AddrPort { return netip.AddrPort{} }

// Kubectl runs kubectl as the administrator and returns its standard output; the error has its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) { return "", nil }

// Helm runs helm as the administrator and returns its standard output; the error has its standard error.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) { return "", nil }

// StopAPIServer ends kube-apiserver, whose clients then find nobody listening.
func (c *Cluster) StopAPIServer() error { return nil }

// StartAPIServer starts kube-apiserver again and returns when it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error { return nil }

// ServiceAccountToken signs a token of a ServiceAccount that exists, valid from `from` to `until`. (The tokens that pods
// get are asked for with the TokenRequest API; this is for those that the API would not give.)
func (c *Cluster) ServiceAccountToken(ctx context.Context, namespace, name string, from, until time.Time) (string, error) {
	return "", nil
}
