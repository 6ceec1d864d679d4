package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"time"
)

// Identity is a ServiceAccount as a token names it.
type Identity struct {
	Namespace string
	Name      string
	UID       string
}

// TokenSigner signs ServiceAccount tokens as kube-apiserver does. It is safe for concurrent use.
type TokenSigner struct {
	issuer string
	key    *ecdsa.PrivateKey
}

// NewTokenSigner makes a key; `issuer` is what kube-apiserver's --service-account-issuer says.
func NewTokenSigner(issuer string) (*TokenSigner, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of ServiceAccount tokens: %w", err)
	}
	return &TokenSigner{issuer: issuer, key: key}, nil
}

// Keys returns the private and the public key in PEM, for kube-apiserver's flags.
func (s *TokenSigner) Keys() (private, public []byte, err error) {
	key, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the key of ServiceAccount tokens: %w", err)
	}
	shared, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("encoding the public key of ServiceAccount tokens: %w", err)
	}
	private = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	public = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: shared})
	return private, public, nil
}

// Sign makes a token that is valid from `from` to `until`.
func (s *TokenSigner) Sign(who Identity, from, until time.Time) (string, error) {
	claims := map[string]any{
		"iss": s.issuer,
		"aud": []string{s.issuer},
		"sub": "system:serviceaccount:" + who.Namespace + ":" + who.Name,
		"iat": from.Unix(),
		"nbf": from.Unix(),
		"exp": until.Unix(),
		"kubernetes.io": map[string]any{
			"namespace":      who.Namespace,
			"serviceaccount": map[string]string{"name": who.Name, "uid": who.UID},
		},
	}
	header, err := encode(map[string]string{"alg": "ES256", "typ": "JWT"})
	if err != nil {
		return "", err
	}
	payload, err := encode(claims)
	if err != nil {
		return "", err
	}
	signed := header + "." + payload
	digest := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing a token of %s/%s: %w", who.Namespace, who.Name, err)
	}
	signature := make([]byte, 64) // Two numbers of the curve's width, as RFC 7518 section 3.4 wants them.
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func encode(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", fmt.Errorf("encoding a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}
