package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment of the container, as the kubelet makes it: what the API server's address is, then envFrom, then env, whose
// values may refer to what came before.
func (c *container) environment(object *corev1.Pod) (map[string]string, error) {
	n := c.pod.node
	n.mutex.Lock()
	apiServer := n.apiServer
	n.mutex.Unlock()
	all := map[string]string{
		"PATH":     "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOSTNAME": c.pod.name.Name,
		"HOME":     "/",
	}
	if apiServer.IsValid() {
		all["KUBERNETES_SERVICE_HOST"] = apiServer.Addr().String()
		all["KUBERNETES_SERVICE_PORT"] = strconv.Itoa(int(apiServer.Port()))
	}
	for _, source := range c.spec.EnvFrom {
		values, err := c.envFrom(&source)
		if err != nil {
			return nil, err
		}
		for key, value := range values {
			all[source.Prefix+key] = value
		}
	}
	for _, variable := range c.spec.Env {
		if variable.ValueFrom == nil {
			all[variable.Name] = expand(variable.Value, all)
			continue
		}
		value, err := c.envValue(object, variable.ValueFrom)
		if err != nil {
			return nil, fmt.Errorf("environment variable %s: %w", variable.Name, err)
		}
		all[variable.Name] = value
	}
	return all, nil
}

func expand(text string, environment map[string]string) string {
	return expansion.Expand(text, expansion.MappingFuncFor(environment))
}

func (c *container) envFrom(source *corev1.EnvFromSource) (map[string]string, error) {
	n, namespace := c.pod.node, c.pod.name.Namespace
	switch {
	case source.ConfigMapRef != nil:
		object, err := n.configMaps.ConfigMaps(namespace).Get(source.ConfigMapRef.Name)
		if err != nil {
			return nil, optional(err, source.ConfigMapRef.Optional)
		}
		return object.Data, nil
	case source.SecretRef != nil:
		object, err := n.secrets.Secrets(namespace).Get(source.SecretRef.Name)
		if err != nil {
			return nil, optional(err, source.SecretRef.Optional)
		}
		values := map[string]string{}
		for key, value := range object.Data {
			values[key] = string(value)
		}
		return values, nil
	}
	return nil, configError{errors.New("envFrom: only configMapRef and secretRef are modelled")}
}

// optional forgives an error where the specification does.
func optional(err error, isOptional *bool) error {
	if isOptional != nil && *isOptional {
		return nil
	}
	return err
}

func (c *container) envValue(object *corev1.Pod, source *corev1.EnvVarSource) (string, error) {
	n, namespace := c.pod.node, c.pod.name.Namespace
	switch {
	case source.FieldRef != nil:
		return fieldValue(object, source.FieldRef.FieldPath, n, c.pod.address)
	case source.ConfigMapKeyRef != nil:
		ref := source.ConfigMapKeyRef
		object, err := n.configMaps.ConfigMaps(namespace).Get(ref.Name)
		if err != nil {
			return "", optional(err, ref.Optional)
		}
		value, found := object.Data[ref.Key]
		return value, missingKey(found, ref.Optional, "ConfigMap", ref.Name, ref.Key)
	case source.SecretKeyRef != nil:
		ref := source.SecretKeyRef
		object, err := n.secrets.Secrets(namespace).Get(ref.Name)
		if err != nil {
			return "", optional(err, ref.Optional)
		}
		value, found := object.Data[ref.Key]
		return string(value), missingKey(found, ref.Optional, "Secret", ref.Name, ref.Key)
	}
	return "", configError{errors.New("only fieldRef, configMapKeyRef and secretKeyRef are modelled")}
}

func missingKey(found bool, isOptional *bool, kind, name, key string) error {
	if found {
		return nil
	}
	return optional(fmt.Errorf("%s %s has no key %q", kind, name, key), isOptional)
}

// fieldValue is a field of the pod, or of what the node knows before the API server is told.
func fieldValue(object *corev1.Pod, path string, n *Node, address netip.Addr) (string, error) {
	switch path {
	case "spec.nodeName":
		return n.options.Name, nil
	case "spec.serviceAccountName":
		return object.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return n.options.Bridge.Gateway().String(), nil
	case "status.podIP", "status.podIPs":
		return address.String(), nil
	}
	value, err := fieldpath.ExtractFieldPathAsString(object, path)
	if err != nil {
		return "", configError{fmt.Errorf("field %s: %w", path, err)}
	}
	return value, nil
}

// pairs is the form that the kernel takes.
func pairs(environment map[string]string) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(environment)) {
		all = append(all, name+"="+environment[name])
	}
	return all
}
