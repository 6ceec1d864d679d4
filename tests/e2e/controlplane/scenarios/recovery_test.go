package scenarios

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tidewright.dev/controlplane/internal/faults"
	"tidewright.dev/controlplane/internal/pki"
)

func TestKubeAPIServerRecoversItsView(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, withResourceMetrics)
	namespace := w.openShop(t)
	w.waitAvailable(t)
	w.waitMetric(t, namespace)

	t.Run("AfterACrash", func(t *testing.T) {
		pod := r.pod(t)
		r.kill(t, pod)
		r.waitRestarted(t, pod)
		w.waitAvailable(t)
		w.waitMetric(t, namespace)
	})
	t.Run("AfterANewPod", func(t *testing.T) {
		pod := r.pod(t)
		w.kubectl(t, "rollout", "restart", "deployment", releaseName, "-n", r.namespace)
		r.waitGone(t, pod)
		r.waitReady(t)
		w.waitAvailable(t)
		w.waitMetric(t, namespace)
	})
	t.Run("AfterTheAuthorityIsLost", func(t *testing.T) {
		w.kubectl(t, "delete", "secret", "tidewright-ca", "-n", r.namespace)
		pod := r.pod(t)
		before, err := w.caBundle(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.kill(t, pod)
		r.waitRestarted(t, pod)
		eventually(t, soon, "another caBundle", func(ctx context.Context) error {
			now, err := w.caBundle(ctx)
			if err == nil && bytes.Equal(now, before) {
				err = errors.New("the caBundle is that of the authority that is lost")
			}
			return err
		})
		w.waitAvailable(t)
		w.waitMetric(t, namespace)
	})
	t.Run("AfterAMinuteOfAbsence", func(t *testing.T) {
		pod := r.pod(t)
		w.node.HoldRestarts(r.namespace, pod.Name)
		defer w.node.ReleaseRestarts(r.namespace, pod.Name)
		begin := time.Now()
		r.kill(t, pod)
		unavailable := func(ctx context.Context) error { return w.availability(ctx, allAPIServices, "False") }
		eventually(t, soon, "kube-apiserver to notice", unavailable)
		if err := w.askMetric(t.Context(), namespace); err == nil {
			t.Error("the metric has a value although nobody serves it")
		}
		throughout(t, time.Until(begin.Add(time.Minute)), "Tidewright is away", unavailable)
		if output := w.kubectl(t, "get", "deployments", "-n", namespace); !strings.Contains(output, "shop") {
			t.Errorf("kubectl get deployments prints %s", output)
		}
		w.node.ReleaseRestarts(r.namespace, pod.Name)
		w.waitAvailable(t)
		w.waitMetric(t, namespace)
	})
}

// kill ends the pod's process as a crash would. The node starts another.
func (r *release) kill(t *testing.T, pod corev1.Pod) {
	t.Helper()
	if err := r.node.KillContainer(r.namespace, pod.Name, releaseName, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// waitRestarted waits until the pod has been restarted once more than it was, and is Ready.
func (r *release) waitRestarted(t *testing.T, before corev1.Pod) {
	t.Helper()
	eventually(t, soon, "the restart", func(ctx context.Context) error {
		pod, err := r.client.CoreV1().Pods(r.namespace).Get(ctx, before.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		status := pod.Status.ContainerStatuses[0]
		if status.RestartCount <= before.Status.ContainerStatuses[0].RestartCount || !status.Ready {
			return fmt.Errorf("%+v", status)
		}
		return nil
	})
}

// caBundle is what kube-apiserver trusts of the server of custom metrics, in PEM.
func (w *world) caBundle(ctx context.Context) ([]byte, error) {
	object, err := w.dynamic.Resource(apiServices).Get(ctx, allAPIServices[0], metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	encoded, _, _ := unstructured.NestedString(object.Object, "spec", "caBundle")
	return base64.StdEncoding.DecodeString(encoded)
}

// serviceName is what kube-apiserver expects in the certificate.
func (r *release) serviceName() string { return releaseName + "." + r.namespace + ".svc" }

const servingSecret = "serving"

const withServingSecret = withResourceMetrics + "tls: {secretName: " + servingSecret + "}\n"

func TestServingCertificatesAreRotatedWithoutAGap(t *testing.T) {
	w := sharedWorld(t)
	r := w.newRelease(t)
	r.writeServingSecret(t, newAuthority(t, "first"))
	r.install(t, withServingSecret)
	namespace := w.openShop(t)
	w.waitAvailable(t)
	w.waitMetric(t, namespace)

	address := r.pod(t).Status.PodIP + ":6443"
	stopLooking := withoutPause(t, func(ctx context.Context) error { return r.trustedAt(ctx, address) })
	stopAsking := withoutPause(t, func(ctx context.Context) error {
		return errors.Join(w.askMetric(ctx, namespace), w.availability(ctx, allAPIServices, "True"))
	})
	r.writeServingSecret(t, newAuthority(t, "second"))
	eventually(t, soon, "the new certificate to be shown", func(ctx context.Context) error {
		shown, err := certificateAt(ctx, address)
		if err == nil && shown.Issuer.CommonName != "second" {
			err = fmt.Errorf("the issuer is %s", shown.Issuer)
		}
		return err
	})
	w.waitAvailable(t)
	w.waitMetric(t, namespace)
	stopLooking()
	stopAsking()
}

func newAuthority(t *testing.T, name string) *pki.Authority {
	t.Helper()
	authority, err := pki.NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// writeServingSecret gives the release a certificate of this authority.
func (r *release) writeServingSecret(t *testing.T, authority *pki.Authority) {
	t.Helper()
	pair, err := authority.Server(r.serviceName(), []string{r.serviceName()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: servingSecret},
		Type:       corev1.SecretTypeTLS,
		Data: map[string][]byte{
			"tls.crt": pair.Certificate, "tls.key": pair.Key, "ca.crt": authority.Certificate,
		},
	}
	secrets := r.client.CoreV1().Secrets(r.namespace)
	if _, err = secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); apierrors.IsNotFound(err) {
		_, err = secrets.Create(t.Context(), secret, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatalf("writing the serving certificate: %v", err)
	}
}

// certificateAt is what a TLS server shows.
func certificateAt(ctx context.Context, address string) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // To see it, not to trust it.
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// trustedAt says what is wrong unless kube-apiserver would trust what the server shows to a new connection. (The ones that
// it has open already do not notice.) The caBundle is read after: it may name an authority early, but not late.
func (r *release) trustedAt(ctx context.Context, address string) error {
	shown, err := certificateAt(ctx, address)
	if err != nil {
		return err
	}
	bundle, err := r.caBundle(ctx)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	if _, err := shown.Verify(x509.VerifyOptions{Roots: roots, DNSName: r.serviceName()}); err != nil {
		return fmt.Errorf("the certificate of %s: %w", shown.Issuer, err)
	}
	return nil
}

// withoutPause calls `check` again and again until the function that it returns is called, which fails the test if
// anything was ever wrong.
func withoutPause(t *testing.T, check func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		for count := 0; ctx.Err() == nil; count++ {
			if err := check(t.Context()); err != nil {
				problems <- fmt.Errorf("after %d times: %w", count, err)
				return
			}
		}
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-problems; err != nil {
			t.Error(err)
		}
	}
}

// An end takes what a call may still take, and what a lease takes to be given away.
const endTimeout = 8 * time.Second

func TestEndsInTimeAlthoughTheAPIServerDoesNotAnswer(t *testing.T) {
	w := sharedWorld(t)
	proxy := w.startProxy(t)
	r := w.install(t, twoReplicas)
	lease := faults.Under("/apis/coordination.k8s.io/")
	for _, test := range []struct {
		name  string
		leads bool
		kill  bool // So that it starts while nobody answers.
		asks  func(faults.Request) bool
	}{
		{name: "TheLeader", leads: true, asks: func(r faults.Request) bool { return lease(r) && faults.Writes(r) }},
		{name: "AStandby", asks: func(r faults.Request) bool { return lease(r) && !faults.Writes(r) }},
		{name: "OneThatStarts", kill: true, asks: faults.Under("/api/v1/namespaces/" + r.namespace + "/secrets/")},
	} {
		t.Run(test.name, func(t *testing.T) {
			pod := r.replica(t, test.leads)
			if err := proxy.Set(faults.Fault{Mode: faults.Hang}); err != nil {
				t.Fatal(err)
			}
			hangs := time.Now()
			if test.kill {
				r.kill(t, pod)
			}
			eventually(t, soon, "a request that is not answered", func(context.Context) error {
				if len(proxy.Requests(hangs, time.Now(), test.asks)) == 0 {
					return errors.New("there is none")
				}
				return nil
			})
			w.kubectl(t, "delete", "pod", pod.Name, "-n", r.namespace, "--wait=false")
			if took := r.waitGone(t, pod); took > endTimeout {
				t.Errorf("%s took %s to end", pod.Name, took)
			}
			if err := proxy.Pass(); err != nil {
				t.Fatal(err)
			}
			r.waitReady(t)
		})
	}
}

// replica returns the leader, or one that does not lead.
func (r *release) replica(t *testing.T, leads bool) corev1.Pod {
	t.Helper()
	pods, err := r.pods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leader := r.leader(t)
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return (p.Name == leader) == leads })
	if i < 0 {
		t.Fatalf("none of the pods is the one; %q leads", leader)
	}
	return pods[i]
}
