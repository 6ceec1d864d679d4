package cluster

import (
	"fmt"
	"strings"
)

// Each control plane has an address of its own, so the ports need not be free ones.
const (
	APIPort     = 6443 // kube-apiserver
	etcdPort    = 2379
	peerPort    = 2380
	managerPort = 10257
)

// What a real cluster's manager does for the objects that the scenarios use. The nodes' life and volumes are not
// among them; pods are the fake kubelet's.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"deployment-controller",
	"endpoints-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"horizontal-pod-autoscaler-controller",
	"job-controller",
	"namespace-controller",
	"replicaset-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
}

// HorizontalPodAutoscalers may scale to zero, which is an alpha feature since 1.16.
const featureGates = "--feature-gates=HPAScaleToZero=true"

func (c *Cluster) etcdURL(port int) string {
	return fmt.Sprintf("http://%s:%d", c.options.Address, port)
}

func (c *Cluster) etcdFlags() []string {
	return []string{
		"--data-dir=" + c.file(etcdFolder),
		"--client-url=" + c.etcdURL(etcdPort),
		"--peer-url=" + c.etcdURL(peerPort),
	}
}

func (c *Cluster) apiServerFlags() []string {
	return []string{
		"--etcd-servers=" + c.etcdURL(etcdPort),
		"--bind-address=" + c.options.Address.String(),
		"--advertise-address=" + c.options.Address.String(),
		fmt.Sprintf("--secure-port=%d", APIPort),
		"--tls-cert-file=" + c.file("apiserver.crt"),
		"--tls-private-key-file=" + c.file("apiserver.key"),
		"--client-ca-file=" + c.file("ca.crt"),
		"--authorization-mode=RBAC",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=" + issuer,
		"--service-account-signing-key-file=" + c.file("token.key"),
		"--service-account-key-file=" + c.file("token.pub"),
		// The aggregation layer, which asks the endpoints of a Service by itself where there is no kube-proxy.
		"--enable-aggregator-routing=true",
		"--requestheader-client-ca-file=" + c.file("front-proxy-ca.crt"),
		"--requestheader-allowed-names=" + frontProxyUser,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.file("front-proxy.crt"),
		"--proxy-client-key-file=" + c.file("front-proxy.key"),
		"--audit-policy-file=" + c.file("audit-policy.yaml"),
		"--audit-log-path=" + c.file(auditLog),
		"--audit-log-maxsize=0",
		"--shutdown-delay-duration=0s",
		featureGates,
	}
}

func (c *Cluster) managerFlags() []string {
	return []string{
		"--kubeconfig=" + c.file("controller-manager.kubeconfig"),
		"--authentication-kubeconfig=" + c.file("controller-manager.kubeconfig"),
		"--authorization-kubeconfig=" + c.file("controller-manager.kubeconfig"),
		"--bind-address=" + c.options.Address.String(),
		fmt.Sprintf("--secure-port=%d", managerPort),
		"--controllers=" + strings.Join(controllers, ","),
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.file("token.key"),
		"--root-ca-file=" + c.file("ca.crt"),
		featureGates,
		"--horizontal-pod-autoscaler-sync-period=1s",
		"--horizontal-pod-autoscaler-downscale-stabilization=5s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=1s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=1s",
	}
}
