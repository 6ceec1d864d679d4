package scenarios

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
		before := w.caBundle(t)
		r.kill(t, pod)
		r.waitRestarted(t, pod)
		w.waitAvailable(t)
		if bytes.Equal(before, w.caBundle(t)) {
			t.Error("the caBundle is that of the authority that is lost")
		}
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

// caBundle is what kube-apiserver trusts of the server of custom metrics.
func (w *world) caBundle(t *testing.T) []byte {
	t.Helper()
	object, err := w.dynamic.Resource(apiServices).Get(t.Context(), allAPIServices[0], metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	bundle, _, _ := unstructured.NestedString(object.Object, "spec", "caBundle")
	return []byte(bundle)
}

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

	stopAsking := w.askWithoutPause(t, namespace)
	r.writeServingSecret(t, newAuthority(t, "second"))
	address := r.pod(t).Status.PodIP + ":6443"
	eventually(t, soon, "the new certificate to be shown", func(ctx context.Context) error {
		issuer, err := issuerAt(ctx, address)
		if err == nil && issuer != "second" {
			err = fmt.Errorf("the issuer is %q", issuer)
		}
		return err
	})
	w.waitAvailable(t)
	w.waitMetric(t, namespace)
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
	name := releaseName + "." + r.namespace + ".svc"
	pair, err := authority.Server(name, []string{name}, nil)
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

// issuerAt is who signed the certificate that a TLS server shows.
func issuerAt(ctx context.Context, address string) (string, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // To see it, not to trust it.
	connection, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0].Issuer.CommonName, nil
}

// askWithoutPause asks for the metric, and for the state of the APIServices, again and again until the function that it
// returns is called, which fails the test if an answer was ever wrong.
func (w *world) askWithoutPause(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		asked := 0
		for ; ctx.Err() == nil; asked++ {
			err := errors.Join(w.askMetric(t.Context(), namespace), w.availability(t.Context(), allAPIServices, "True"))
			if err != nil {
				problems <- fmt.Errorf("after %d answers: %w", asked, err)
				return
			}
		}
	}()
	return func() {
		cancel()
		if err := <-problems; err != nil {
			t.Error(err)
		}
	}
}
