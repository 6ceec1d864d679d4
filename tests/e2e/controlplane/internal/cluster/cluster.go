// Package cluster runs a Kubernetes control plane: etcd, kube-apiserver with its aggregation layer, and
// kube-controller-manager, as processes with logs in one folder.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"tidewright.dev/controlplane/internal/pki"
)

const etcdFolder = "etcd"

// Options says where and how a control plane runs.
type Options struct {
	// Dir is the run's folder; everything that is written goes below it.
	Dir string
	// Programs is the folder with the binaries `controlplane` and `helm`.
	Programs string
	// Address is where kube-apiserver, etcd and kube-controller-manager listen, such as the bridge's gateway. Two
	// control planes at a time need two addresses.
	Address netip.Addr
	// Aliases are further addresses that the API server's certificate is valid for: those of proxies before it.
	Aliases []netip.Addr
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

	options   Options
	etcd      *program
	apiServer *program
	manager   *program
}

// Start starts a control plane and returns when it is ready to be used. The context bounds the start only. Call it inside
// the namespaces that network.Enter makes.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	identities, err := newIdentities()
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Kubeconfig: filepath.Join(options.Dir, "kubeconfig"),
		Authority:  identities.authority,
		FrontProxy: identities.frontProxy,
		Tokens:     identities.tokens,
		options:    options,
	}
	if err := c.writeFiles(); err != nil {
		return nil, err
	}
	if err := c.mountData(); err != nil {
		return nil, err
	}
	c.etcd = c.program("etcd", c.etcdFlags())
	c.apiServer = c.program("kube-apiserver", c.apiServerFlags())
	c.manager = c.program("kube-controller-manager", c.managerFlags())
	if err := c.startPrograms(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) startPrograms(ctx context.Context) error {
	if err := c.etcd.start(); err != nil {
		return err
	}
	// kube-apiserver tries to reach etcd until it is there. kube-controller-manager does so with kube-apiserver, but gives
	// up when its role is not yet there.
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if err := c.manager.start(); err != nil {
		return err
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	return Poll(ctx, "kube-controller-manager to make the namespaces' ServiceAccounts", func(ctx context.Context) error {
		if err := c.manager.failure(); err != nil {
			return Final(err)
		}
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// Stop ends every program of the control plane, waits for them and forgets the data. The other files stay.
func (c *Cluster) Stop() error {
	err := errors.Join(c.manager.kill(), c.apiServer.kill(), c.etcd.kill())
	if unmounted := unix.Unmount(c.file(etcdFolder), unix.MNT_DETACH); unmounted != nil {
		err = errors.Join(err, fmt.Errorf("unmounting the folder of etcd: %w", unmounted))
	}
	return err
}

// Endpoint returns the address that kube-apiserver serves TLS on.
func (c *Cluster) Endpoint() netip.AddrPort { return netip.AddrPortFrom(c.options.Address, APIPort) }

// Client returns a client of the administrator.
func (c *Cluster) Client() (*kubernetes.Clientset, error) {
	client, err := kubernetes.NewForConfig(c.Admin)
	if err != nil {
		return nil, fmt.Errorf("making a client of the API server: %w", err)
	}
	return client, nil
}

// Kubectl runs kubectl as the administrator and returns its standard output; the error has its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.run(ctx, "", "kubectl", "controlplane", args)
}

// KubectlInput is Kubectl with a standard input, for `apply -f -`.
func (c *Cluster) KubectlInput(ctx context.Context, input string, args ...string) (string, error) {
	return c.run(ctx, input, "kubectl", "controlplane", args)
}

// Helm runs helm as the administrator and returns its standard output; the error has its standard error.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	return c.run(ctx, "", "helm", "helm", args)
}

func (c *Cluster) run(ctx context.Context, input, name, binary string, args []string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(c.options.Programs, binary), args...)
	command.Args[0] = name
	command.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.options.Dir)
	command.Stdin = strings.NewReader(input)
	var output, errorOutput bytes.Buffer
	command.Stdout, command.Stderr = &output, &errorOutput
	if err := command.Run(); err != nil {
		return output.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err,
			strings.TrimSpace(errorOutput.String()))
	}
	return output.String(), nil
}

// StopAPIServer ends kube-apiserver, whose clients then find nobody listening.
func (c *Cluster) StopAPIServer() error { return c.apiServer.stop() }

// StartAPIServer starts kube-apiserver again and returns when it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if err := c.apiServer.start(); err != nil {
		return err
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	return Poll(ctx, "kube-apiserver to be ready", func(ctx context.Context) error {
		if err := errors.Join(c.etcd.failure(), c.apiServer.failure()); err != nil {
			return Final(err)
		}
		_, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err
	})
}

// ServiceAccountToken signs a token of a ServiceAccount that exists, valid from `from` to `until`. (The tokens that pods
// get are asked for with the TokenRequest API; this is for those that the API would not give.)
func (c *Cluster) ServiceAccountToken(
	ctx context.Context, namespace, name string, from, until time.Time,
) (string, error) {
	client, err := c.Client()
	if err != nil {
		return "", err
	}
	account, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("finding the ServiceAccount %s/%s: %w", namespace, name, err)
	}
	return c.Tokens.Sign(pki.Identity{Namespace: namespace, Name: name, UID: string(account.UID)}, from, until)
}

func (c *Cluster) program(name string, flags []string) *program {
	return &program{
		name: name, path: filepath.Join(c.options.Programs, "controlplane"), args: flags, log: c.file(name + ".log"),
	}
}

// mountData gives etcd a folder in memory: it need not outlive the run, and nobody is to wait for a disk.
func (c *Cluster) mountData() error {
	folder := c.file(etcdFolder)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("making the folder of etcd: %w", err)
	}
	if err := unix.Mount("etcd", folder, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
		return fmt.Errorf("mounting memory at %s: %w", folder, err)
	}
	return nil
}
