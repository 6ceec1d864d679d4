package cluster

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"tidewright.dev/controlplane/internal/pki"
)

const (
	issuer          = "https://kubernetes.default.svc"
	frontProxyUser  = "front-proxy-client"
	managerUser     = "system:kube-controller-manager"
	administrator   = "admin"
	administrators  = "system:masters" // Bound to cluster-admin by kube-apiserver itself.
	clusterNickname = "controlplane"
)

// Scale writes and leases with what they say, everything else with who did what and what came of it.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]
  - level: RequestResponse
    resources:
      - group: apps
        resources: ["deployments/scale", "statefulsets/scale", "replicasets/scale"]
      - group: coordination.k8s.io
        resources: [leases]
  - level: Metadata
`

// identities are the secrets of a cluster, made anew for each.
type identities struct {
	authority  *pki.Authority
	frontProxy *pki.Authority
	tokens     *pki.TokenSigner
}

func newIdentities() (identities, error) {
	authority, err := pki.NewAuthority("kubernetes")
	if err != nil {
		return identities{}, err
	}
	frontProxy, err := pki.NewAuthority("front-proxy")
	if err != nil {
		return identities{}, err
	}
	tokens, err := pki.NewTokenSigner(issuer)
	if err != nil {
		return identities{}, err
	}
	return identities{authority, frontProxy, tokens}, nil
}

// writeFiles writes the certificates, keys and configuration that the programs are started with.
func (c *Cluster) writeFiles() error {
	if err := os.MkdirAll(c.options.Dir, 0o755); err != nil {
		return fmt.Errorf("making the run's folder: %w", err)
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	server, err := c.Authority.Server("kube-apiserver",
		[]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
		append([]netip.Addr{c.options.Address, loopback}, c.options.Aliases...))
	if err != nil {
		return err
	}
	frontProxy, err := c.FrontProxy.Client(frontProxyUser)
	if err != nil {
		return err
	}
	tokenKey, tokenPublic, err := c.Tokens.Keys()
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"ca.crt":             c.Authority.Certificate,
		"apiserver.crt":      server.Certificate,
		"apiserver.key":      server.Key,
		"front-proxy-ca.crt": c.FrontProxy.Certificate,
		"front-proxy.crt":    frontProxy.Certificate,
		"front-proxy.key":    frontProxy.Key,
		"token.key":          tokenKey,
		"token.pub":          tokenPublic,
		"audit-policy.yaml":  []byte(auditPolicy),
	}
	for name, content := range files {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return fmt.Errorf("writing a file of the control plane: %w", err)
		}
	}
	return c.writeKubeconfigs()
}

func (c *Cluster) writeKubeconfigs() error {
	admin, err := c.UserConfig(administrator, administrators)
	if err != nil {
		return err
	}
	c.Admin = admin
	if err := WriteKubeconfig(c.Kubeconfig, admin); err != nil {
		return err
	}
	manager, err := c.UserConfig(managerUser)
	if err != nil {
		return err
	}
	return WriteKubeconfig(c.file("controller-manager.kubeconfig"), manager)
}

// UserConfig returns the configuration of a client with a certificate for this user and these groups.
func (c *Cluster) UserConfig(user string, groups ...string) (*rest.Config, error) {
	pair, err := c.Authority.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: "https://" + c.Endpoint().String(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.Authority.Certificate, CertData: pair.Certificate, KeyData: pair.Key,
		},
		QPS: -1, // Tests are no load to be protected from.
	}, nil
}

// WriteKubeconfig writes the configuration as a file for kubectl.
func WriteKubeconfig(path string, config *rest.Config) error {
	file := clientcmdapi.NewConfig()
	file.Clusters[clusterNickname] = &clientcmdapi.Cluster{
		Server: config.Host, CertificateAuthorityData: config.CAData,
	}
	file.AuthInfos[clusterNickname] = &clientcmdapi.AuthInfo{
		ClientCertificateData: config.CertData, ClientKeyData: config.KeyData,
	}
	file.Contexts[clusterNickname] = &clientcmdapi.Context{Cluster: clusterNickname, AuthInfo: clusterNickname}
	file.CurrentContext = clusterNickname
	if err := clientcmd.WriteToFile(*file, path); err != nil {
		return fmt.Errorf("writing the kubeconfig %s: %w", path, err)
	}
	return nil
}

func (c *Cluster) file(name string) string { return filepath.Join(c.options.Dir, name) }
