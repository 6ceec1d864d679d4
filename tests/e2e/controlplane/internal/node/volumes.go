package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// volumes are a real pod's: folders that its containers mount, kept current for as long as the pod lives.
type volumes struct {
	node   *Node
	folder string
	fixed  map[string]bool     // Names of those that nobody may write to.
	shown  map[string]*payload // By name, what is there now.

	mutex  sync.Mutex
	tokens map[string]*token // By volume and path.
}

type token struct {
	text    string
	renewAt time.Time
}

func newVolumes(n *Node, folder string) *volumes {
	return &volumes{
		node:   n,
		folder: filepath.Join(folder, "volumes"),
		fixed:  map[string]bool{},
		shown:  map[string]*payload{},
		tokens: map[string]*token{},
	}
}

func (v *volumes) path(name string) string { return filepath.Join(v.folder, name) }

func (v *volumes) readOnly(name string) bool { return v.fixed[name] }

// expireTokens makes the next sync ask for new ones.
func (v *volumes) expireTokens() {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	for _, one := range v.tokens {
		one.renewAt = time.Time{}
	}
}

// renewal is when the next token has to be renewed; zero without tokens.
func (v *volumes) renewal() (at time.Time) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	for _, one := range v.tokens {
		if at.IsZero() || one.renewAt.Before(at) {
			at = one.renewAt
		}
	}
	return at
}

// sync brings every volume up to date. What was mounted once stays as it is while its source cannot be read.
func (v *volumes) sync(ctx context.Context, object *corev1.Pod, address netip.Addr) error {
	for i := range object.Spec.Volumes {
		volume := &object.Spec.Volumes[i]
		if volume.EmptyDir != nil {
			if err := v.makeEmptyDir(volume.Name, object); err != nil {
				return err
			}
			continue
		}
		v.fixed[volume.Name] = true
		wanted, err := v.collect(ctx, volume, object, address)
		if err != nil {
			if v.shown[volume.Name] != nil {
				continue
			}
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		if wanted.equals(v.shown[volume.Name]) {
			continue
		}
		if err := wanted.write(v.path(volume.Name)); err != nil {
			return fmt.Errorf("volume %s: %w", volume.Name, err)
		}
		v.shown[volume.Name] = wanted
	}
	return nil
}

func (v *volumes) makeEmptyDir(name string, object *corev1.Pod) error {
	path := v.path(name)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("volume %s: %w", name, err)
	}
	mode := os.FileMode(0o777)
	if group := fsGroup(object); group != nil {
		if err := os.Chown(path, 0, int(*group)); err != nil {
			return fmt.Errorf("volume %s: %w", name, err)
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(path, mode) // Not bounded by the umask, as the mode of MkdirAll is.
}

func fsGroup(object *corev1.Pod) *int64 {
	if object.Spec.SecurityContext == nil {
		return nil
	}
	return object.Spec.SecurityContext.FSGroup
}

// collect reads what the volume consists of.
func (v *volumes) collect(
	ctx context.Context, volume *corev1.Volume, object *corev1.Pod, address netip.Addr,
) (*payload, error) {
	p := &payload{files: map[string]file{}, group: -1}
	if group := fsGroup(object); group != nil {
		p.group = int(*group)
	}
	r := reader{volumes: v, name: volume.Name, object: object, address: address, payload: p}
	var err error
	switch {
	case volume.ConfigMap != nil:
		s := volume.ConfigMap
		err = r.configMap(s.Name, s.Items, s.Optional, s.DefaultMode)
	case volume.Secret != nil:
		s := volume.Secret
		err = r.secret(s.SecretName, s.Items, s.Optional, s.DefaultMode)
	case volume.DownwardAPI != nil:
		err = r.downward(volume.DownwardAPI.Items, volume.DownwardAPI.DefaultMode)
	case volume.Projected != nil:
		err = r.projected(ctx, volume.Projected)
	default:
		err = configError{errors.New("this kind of volume is not modelled")}
	}
	return p, err
}

// reader collects the files of one volume.
type reader struct {
	volumes *volumes
	name    string
	object  *corev1.Pod
	address netip.Addr
	payload *payload
}

func (r *reader) configMap(name string, items []corev1.KeyToPath, isOptional *bool, mode *int32) error {
	object, err := r.volumes.node.configMaps.ConfigMaps(r.object.Namespace).Get(name)
	if err != nil {
		return optional(err, isOptional)
	}
	content := map[string][]byte{}
	for key, value := range object.Data {
		content[key] = []byte(value)
	}
	for key, value := range object.BinaryData {
		content[key] = value
	}
	return r.add("ConfigMap "+name, content, items, isOptional, mode)
}

func (r *reader) secret(name string, items []corev1.KeyToPath, isOptional *bool, mode *int32) error {
	object, err := r.volumes.node.secrets.Secrets(r.object.Namespace).Get(name)
	if err != nil {
		return optional(err, isOptional)
	}
	return r.add("Secret "+name, object.Data, items, isOptional, mode)
}

func (r *reader) add(
	source string, content map[string][]byte, items []corev1.KeyToPath, isOptional *bool, mode *int32,
) error {
	if len(items) == 0 {
		for key := range content {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		bytes, found := content[item.Key]
		if !found {
			if err := optional(fmt.Errorf("%s has no key %q", source, item.Key), isOptional); err != nil {
				return err
			}
			continue
		}
		if err := r.put(item.Path, bytes, item.Mode, mode); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) put(path string, bytes []byte, modes ...*int32) error {
	if !filepath.IsLocal(path) || strings.HasPrefix(path, "..") {
		return configError{fmt.Errorf("path %q does not stay in its volume", path)}
	}
	r.payload.files[path] = file{content: string(bytes), mode: os.FileMode(first(modes...)), owner: 0}
	return nil
}

func (r *reader) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	for _, item := range items {
		if item.FieldRef == nil {
			return configError{fmt.Errorf("downwardAPI %s: only fieldRef is modelled", item.Path)}
		}
		value, err := fieldValue(r.object, item.FieldRef.FieldPath, r.volumes.node, r.address)
		if err != nil {
			return err
		}
		if err := r.put(item.Path, []byte(value), item.Mode, mode); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) projected(ctx context.Context, projection *corev1.ProjectedVolumeSource) error {
	for _, source := range projection.Sources {
		var err error
		switch {
		case source.ConfigMap != nil:
			s := source.ConfigMap
			err = r.configMap(s.Name, s.Items, s.Optional, projection.DefaultMode)
		case source.Secret != nil:
			s := source.Secret
			err = r.secret(s.Name, s.Items, s.Optional, projection.DefaultMode)
		case source.DownwardAPI != nil:
			err = r.downward(source.DownwardAPI.Items, projection.DefaultMode)
		case source.ServiceAccountToken != nil:
			err = r.serviceAccountToken(ctx, source.ServiceAccountToken)
		default:
			err = configError{errors.New("this kind of projection is not modelled")}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// serviceAccountToken is readable for its user only: by the group of the volume, or else by the first container's user.
func (r *reader) serviceAccountToken(ctx context.Context, source *corev1.ServiceAccountTokenProjection) error {
	text, err := r.volumes.token(ctx, r.object, r.name+"/"+source.Path, source)
	if err != nil {
		return err
	}
	mode := int32(0o644)
	owner := int64(0)
	if security := r.object.Spec.SecurityContext; security != nil && (security.FSGroup != nil || security.RunAsUser != nil) {
		mode = 0o600
		owner = first(security.RunAsUser)
	}
	if err := r.put(source.Path, []byte(text), &mode); err != nil {
		return err
	}
	written := r.payload.files[source.Path]
	written.owner = int(owner)
	r.payload.files[source.Path] = written
	return nil
}

// token is asked for with the TokenRequest API, bound to the pod, and renewed at four fifths of its life.
func (v *volumes) token(
	ctx context.Context, object *corev1.Pod, key string, source *corev1.ServiceAccountTokenProjection,
) (string, error) {
	v.mutex.Lock()
	known := v.tokens[key]
	v.mutex.Unlock()
	if known != nil && time.Now().Before(known.renewAt) {
		return known.text, nil
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef: &authenticationv1.BoundObjectReference{
			Kind: "Pod", APIVersion: "v1", Name: object.Name, UID: object.UID,
		},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	asked := time.Now()
	answer, err := v.node.client.CoreV1().ServiceAccounts(object.Namespace).
		CreateToken(ctx, object.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("asking for a token of ServiceAccount %s: %w", object.Spec.ServiceAccountName, err)
	}
	made := &token{text: answer.Status.Token}
	made.renewAt = asked.Add(answer.Status.ExpirationTimestamp.Sub(asked) * 4 / 5)
	v.mutex.Lock()
	defer v.mutex.Unlock()
	v.tokens[key] = made
	return made.text, nil
}
