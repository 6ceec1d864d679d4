package pki

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func authority(t *testing.T, name string) *Authority {
	t.Helper()
	made, err := NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func parse(t *testing.T, pair KeyPair) *x509.Certificate {
	t.Helper()
	if _, err := pair.TLS(); err != nil {
		t.Fatalf("the key is not that of the certificate: %v", err)
	}
	block, _ := pem.Decode(pair.Certificate)
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestCertificatesAreGoodForWhatTheyAreFor(t *testing.T) {
	ours, foreign := authority(t, "cluster"), authority(t, "cluster") // The same name, but not the same.
	client, err := ours.Client("jane", "developers", "operators")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ours.Server("api", []string{"api.example"}, []netip.Addr{netip.MustParseAddr("10.77.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name      string
		pair      KeyPair
		authority *Authority
		usage     x509.ExtKeyUsage
		host      string
		good      bool
	}{
		{"a client", client, ours, x509.ExtKeyUsageClientAuth, "", true},
		{"a client as a server", client, ours, x509.ExtKeyUsageServerAuth, "", false},
		{"a client at another authority", client, foreign, x509.ExtKeyUsageClientAuth, "", false},
		{"a server by its name", server, ours, x509.ExtKeyUsageServerAuth, "api.example", true},
		{"a server by its address", server, ours, x509.ExtKeyUsageServerAuth, "10.77.0.1", true},
		{"a server by another address", server, ours, x509.ExtKeyUsageServerAuth, "10.77.0.2", false},
		{"a server as a client", server, ours, x509.ExtKeyUsageClientAuth, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(test.authority.Certificate)
			_, err := parse(t, test.pair).Verify(x509.VerifyOptions{
				Roots: roots, DNSName: test.host, KeyUsages: []x509.ExtKeyUsage{test.usage},
			})
			if (err == nil) != test.good {
				t.Errorf("verifying says %v", err)
			}
		})
	}
	subject := parse(t, client).Subject
	slices.Sort(subject.Organization) // A set has no order.
	if subject.CommonName != "jane" || !slices.Equal(subject.Organization, []string{"developers", "operators"}) {
		t.Errorf("the client is %s", subject)
	}
}

func TestTokensSayWhoAndUntilWhenAndAreSigned(t *testing.T) {
	signer, err := NewTokenSigner("https://issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Unix(1_700_000_000, 0)
	token, err := signer.Sign(Identity{Namespace: "shop", Name: "web", UID: "u-1"}, from, from.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q does not have three parts", token)
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Issuer  string `json:"iss"`
		Subject string `json:"sub"`
		Expiry  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims.Issuer != "https://issuer.example" || claims.Subject != "system:serviceaccount:shop:web" ||
		claims.Expiry != from.Unix()+3600 {
		t.Errorf("the claims are %+v", claims)
	}
	checkSignature(t, signer, parts)
}

func checkSignature(t *testing.T, signer *TokenSigner, parts []string) {
	t.Helper()
	_, public, err := signer.Keys()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(public)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("the signature has %d bytes: %v", len(signature), err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key.(*ecdsa.PublicKey), digest[:], r, s) {
		t.Error("the signature is not that of the key")
	}
}
