package scenarios

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tidewright.dev/controlplane/internal/pki"
)

const (
	unauthenticated = `authentication_attempts{result="failure"}`
	denied          = `authorization_attempts_total{result="denied"}`
	allowed         = `authorization_attempts_total{result="allowed"}`
)

// claim is what somebody shows at the aggregation port to be somebody.
type claim struct {
	certificate *pki.KeyPair
	headers     map[string]string
	token       string
}

func TestOnlyTheFrontProxyAndKnownUsersAreServed(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, "")
	pod := r.pod(t)
	somebody := w.namespace(t, "somebody")
	w.apply(t, somebody, "{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody}}")
	asAdmin := map[string]string{"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}

	for _, test := range []struct {
		name    string
		claim   claim
		code    int
		counted string
	}{
		{"Nobody", claim{}, http.StatusUnauthorized, unauthenticated},
		{"ForgedHeaders", claim{headers: asAdmin}, http.StatusUnauthorized, unauthenticated},
		{"ForgedHeadersWithACertificateOfNobodysAuthority",
			claim{certificate: clientOf(t, newAuthority(t, "front-proxy"), "front-proxy-client"), headers: asAdmin},
			http.StatusUnauthorized, unauthenticated},
		{"ForgedHeadersWithAUsersCertificate",
			claim{certificate: clientOf(t, w.plane.Authority, "front-proxy-client"), headers: asAdmin},
			http.StatusForbidden, denied},
		{"ForgedHeadersWithANameThatTheFrontProxyDoesNotHave",
			claim{certificate: clientOf(t, w.plane.FrontProxy, "somebody"), headers: asAdmin},
			http.StatusUnauthorized, unauthenticated},
		{"NonsenseAsToken", claim{token: "nonsense"}, http.StatusUnauthorized, unauthenticated},
		{"ExpiredToken", claim{token: w.tokenOf(t, somebody, "nobody", -2*time.Hour, -time.Hour)},
			http.StatusUnauthorized, unauthenticated},
		{"TokenOfTomorrow", claim{token: w.tokenOf(t, somebody, "nobody", time.Hour, 2*time.Hour)},
			http.StatusUnauthorized, unauthenticated},
		{"TokenWithAForeignSignature", claim{token: foreignToken(t, somebody)}, http.StatusUnauthorized, unauthenticated},
		{"TokenForAnotherAudience", claim{token: w.requestToken(t, somebody, "nobody", "vault")},
			http.StatusUnauthorized, unauthenticated},
		{"TokenWithoutPermission", claim{token: w.tokenOf(t, somebody, "nobody", -time.Minute, time.Hour)},
			http.StatusForbidden, denied},
		{"FrontProxyForAUserWithoutPermission",
			claim{certificate: clientOf(t, w.plane.FrontProxy, "front-proxy-client"),
				headers: map[string]string{"X-Remote-User": "jane"}},
			http.StatusForbidden, denied},
		{"FrontProxyForTheAdministrator",
			claim{certificate: clientOf(t, w.plane.FrontProxy, "front-proxy-client"), headers: asAdmin},
			http.StatusNotFound, allowed},
		{"TheAdministratorsCertificate",
			claim{certificate: clientOf(t, w.plane.Authority, "admin", "system:masters")},
			http.StatusNotFound, allowed},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := r.counter(t, pod, test.counted)
			code, err := test.claim.ask(t.Context(), pod)
			if err != nil {
				t.Fatal(err)
			}
			if code != test.code {
				t.Errorf("the answer is %d instead of %d", code, test.code)
			}
			if after := r.counter(t, pod, test.counted); after <= before {
				t.Errorf("%s was %v and is %v", test.counted, before, after)
			}
		})
	}
}

// ask asks the aggregation port for a metric and returns the code of the answer. The metric does not exist, which only
// those who are let in get to know.
func (c claim) ask(ctx context.Context, pod corev1.Pod) (int, error) {
	config := &tls.Config{InsecureSkipVerify: true} // This is about who asks.
	if c.certificate != nil {
		certificate, err := c.certificate.TLS()
		if err != nil {
			return 0, err
		}
		// Shown even where the server says that it does not know the authority.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &certificate, nil
		}
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		"https://"+pod.Status.PodIP+":6443/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/anything", nil)
	if err != nil {
		return 0, err
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("asking the aggregation port: %w", err)
	}
	return response.StatusCode, response.Body.Close()
}

// counter reads one of the release's own metrics; one that is not there yet is 0.
func (r *release) counter(t *testing.T, pod corev1.Pod, series string) float64 {
	t.Helper()
	text, err := r.get(t.Context(), pod, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(text)))
	for lines.Scan() {
		rest, found := strings.CutPrefix(lines.Text(), series+" ")
		if !found {
			continue
		}
		value, err := strconv.ParseFloat(rest, 64)
		if err != nil {
			t.Fatalf("reading %s: %v", series, err)
		}
		return value
	}
	return 0
}

func clientOf(t *testing.T, authority *pki.Authority, user string, groups ...string) *pki.KeyPair {
	t.Helper()
	pair, err := authority.Client(user, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// tokenOf signs a token of a ServiceAccount that is valid from and until these distances from now.
func (w *world) tokenOf(t *testing.T, namespace, name string, from, until time.Duration) string {
	t.Helper()
	now := time.Now()
	token, err := w.plane.ServiceAccountToken(t.Context(), namespace, name, now.Add(from), now.Add(until))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// requestToken asks for a token as a kubelet does.
func (w *world) requestToken(t *testing.T, namespace, name, audience string) string {
	t.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
	answer, err := w.client.CoreV1().ServiceAccounts(namespace).CreateToken(
		t.Context(), name, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("asking for a token: %v", err)
	}
	return answer.Status.Token
}

func foreignToken(t *testing.T, namespace string) string {
	t.Helper()
	signer, err := pki.NewTokenSigner("https://kubernetes.default.svc")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token, err := signer.Sign(pki.Identity{Namespace: namespace, Name: "nobody", UID: "0"}, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
