package scenarios

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"tidewright.dev/controlplane/internal/prometheus"
)

// everyRole discovers the objects of the namespace %[1]s in every way.
const everyRole = `
scrape_configs:
  - job_name: nodes
    kubernetes_sd_configs: [{role: node}]
  - job_name: pods
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [%[1]s]}, attach_metadata: {node: true}}]
    relabel_configs:
      - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: internal, action: drop}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - job_name: selected-pods
    kubernetes_sd_configs:
      - role: pod
        namespaces: {names: [%[1]s]}
        selectors: [{role: pod, label: "app in (shop,stack),!hidden", field: status.phase=Running}]
  - job_name: services
    kubernetes_sd_configs: [{role: service, namespaces: {names: [%[1]s]}}]
    relabel_configs: [{source_labels: [__meta_kubernetes_service_name], target_label: service}]
  - job_name: endpoints
    kubernetes_sd_configs: [{role: endpoints, namespaces: {names: [%[1]s]}, attach_metadata: {node: true}}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_service_name], target_label: service}
      - {source_labels: [__meta_kubernetes_endpoint_port_name], target_label: port}
  - job_name: slices
    kubernetes_sd_configs: [{role: endpointslice, namespaces: {names: [%[1]s]}}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_service_name], target_label: service}
      - {source_labels: [__meta_kubernetes_endpointslice_endpoint_conditions_ready], target_label: ready}
  - job_name: ingresses
    kubernetes_sd_configs: [{role: ingress, namespaces: {names: [%[1]s]}}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_ingress_scheme], target_label: __scheme__}
      - {source_labels: [__meta_kubernetes_ingress_path], target_label: __metrics_path__}
`

// aLot is one of everything that discovery may find.
const aLot = shop + `
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: stack}
spec:
  replicas: 2
  serviceName: stack
  selector: {matchLabels: {app: stack}}
  template:
    metadata: {labels: {app: stack, app.kubernetes.io/part-of: shop}, annotations: {a/b: c}}
    spec:
      containers:
        - name: stack
          image: stack
          ports: [{name: http, containerPort: 8080}, {name: internal, containerPort: 9000}, {name: dns, containerPort: 53, protocol: UDP}]
        - {name: sidecar, image: sidecar, ports: [{name: side, containerPort: 8081}]}
---
apiVersion: v1
kind: Service
metadata: {name: stack, labels: {tier: back}}
spec: {clusterIP: None, selector: {app: stack}, ports: [{name: web, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop, annotations: {note: a shop}}
spec: {selector: {app: shop}, ports: [{name: web, port: 80, targetPort: 8080}, {name: other, port: 81, targetPort: 9999}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: example.com, ports: [{port: 443}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand}
spec: {ports: [{name: metrics, port: 9100}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: by-hand}
subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{name: metrics, port: 9100}]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, labels: {a: b}}
spec:
  ingressClassName: nginx
  tls: [{hosts: ["*.example.com"]}]
  rules:
    - host: shop.example.com
      http: {paths: [{path: /cart, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
    - host: example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
`

func TestPrometheusHasTheSameTargets(t *testing.T) {
	w := sharedWorld(t)
	namespace := w.namespace(t, "every-role")
	w.apply(t, namespace, aLot)
	config := fmt.Sprintf(everyRole, namespace)
	theirs, err := prometheus.Start(t.Context(), config, w.plane.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	r := w.install(t, "prometheusConfig: |\n"+indent(config))
	for _, name := range []string{"deployment/shop", "statefulset/stack"} {
		w.kubectl(t, "rollout", "status", name, "-n", namespace, "--timeout", soon.String())
	}
	same := func(ctx context.Context) error {
		active, err := targetsAt(ctx, webAddress(r.pod(t)))
		if err != nil {
			return err
		}
		var ours []prometheus.Target
		for _, one := range active {
			ours = append(ours, prometheus.Target{Job: one.Pool, URL: one.URL, Labels: one.Labels, Discovered: one.Discovered})
		}
		return differences(theirs.Targets(), ours)
	}
	eventually(t, soon, "both to have the same targets", same)
	jobs := map[string]int{}
	for _, one := range theirs.Targets() {
		jobs[one.Job]++
	}
	t.Logf("targets by job: %v", jobs)
	for _, job := range []string{"nodes", "pods", "selected-pods", "services", "endpoints", "slices", "ingresses"} {
		if jobs[job] == 0 {
			t.Errorf("%s has no targets, so nothing is shown", job)
		}
	}

	w.kubectl(t, "scale", "deployment", "shop", "-n", namespace, "--replicas", "4")
	w.kubectl(t, "delete", "service", "elsewhere", "-n", namespace)
	w.kubectl(t, "label", "service", "stack", "tier=front", "-n", namespace, "--overwrite")
	w.kubectl(t, "rollout", "status", "deployment/shop", "-n", namespace, "--timeout", soon.String())
	eventually(t, soon, "Prometheus to follow", func(context.Context) error {
		text := fmt.Sprint(theirs.Targets())
		if strings.Contains(text, "elsewhere") || !strings.Contains(text, "tier:front") {
			return errors.New("not yet")
		}
		return nil
	})
	eventually(t, soon, "both to have the same targets again", same)
}

// discoveredBy are the discovered labels by job, address and final labels.
func discoveredBy(targets []prometheus.Target) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, one := range targets {
		maps.DeleteFunc(one.Discovered, func(name, value string) bool {
			// Prometheus keeps labels without a value here, which is as if they were not there; and the one of go.mod does
			// not know the conditions of nodes yet.
			return value == "" || strings.HasPrefix(name, "__meta_kubernetes_node_condition_")
		})
		all[fmt.Sprint(one.Job, " ", one.URL, " ", one.Labels)] = one.Discovered
	}
	return all
}

// differences says what two sets do not have in common.
func differences(theirs, ours []prometheus.Target) error {
	var problems []error
	expected, actual := discoveredBy(theirs), discoveredBy(ours)
	for target, labels := range expected {
		found, ok := actual[target]
		if !ok {
			problems = append(problems, fmt.Errorf("only Prometheus has %s", target))
			continue
		}
		for name := range maps.Keys(union(labels, found)) {
			if labels[name] != found[name] {
				problems = append(problems, fmt.Errorf("%s: %s is %q, for Prometheus %q", target, name, found[name], labels[name]))
			}
		}
	}
	for target := range actual {
		if _, ok := expected[target]; !ok {
			problems = append(problems, fmt.Errorf("only Tidewright has %s", target))
		}
	}
	return errors.Join(problems[:min(len(problems), 12)]...)
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
