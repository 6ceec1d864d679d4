package scenarios

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const prometheusAddress = "127.0.0.1:9095"

// everyRole discovers the objects of the namespace %[1]s in every way. %[2]s is how to reach the API server, of which the
// one that runs in the cluster knows by itself.
const everyRole = `
scrape_configs:
  - job_name: nodes
    kubernetes_sd_configs: [{role: node%[2]s}]
  - job_name: pods
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [%[1]s]}, attach_metadata: {node: true}%[2]s}]
    relabel_configs:
      - {action: labelmap, regex: __meta_kubernetes_pod_label_(.+)}
      - {source_labels: [__meta_kubernetes_pod_container_port_name], regex: internal, action: drop}
      - {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
  - job_name: selected-pods
    kubernetes_sd_configs:
      - role: pod
        namespaces: {names: [%[1]s]}
        selectors: [{role: pod, label: "app in (shop,stack),!hidden", field: status.phase=Running}]%[3]s
  - job_name: services
    kubernetes_sd_configs: [{role: service, namespaces: {names: [%[1]s]}%[2]s}]
    relabel_configs: [{source_labels: [__meta_kubernetes_service_name], target_label: service}]
  - job_name: endpoints
    kubernetes_sd_configs: [{role: endpoints, namespaces: {names: [%[1]s]}, attach_metadata: {node: true}%[2]s}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_service_name], target_label: service}
      - {source_labels: [__meta_kubernetes_endpoint_port_name], target_label: port}
  - job_name: slices
    kubernetes_sd_configs: [{role: endpointslice, namespaces: {names: [%[1]s]}%[2]s}]
    relabel_configs:
      - {source_labels: [__meta_kubernetes_service_name], target_label: service}
      - {source_labels: [__meta_kubernetes_endpointslice_endpoint_conditions_ready], target_label: ready}
  - job_name: ingresses
    kubernetes_sd_configs: [{role: ingress, namespaces: {names: [%[1]s]}%[2]s}]
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

// newerThanDebians are labels of discovery that Prometheus has learnt after 2.42.
var newerThanDebians = []string{
	"__meta_kubernetes_endpointslice_endpoint_conditions_serving",
	"__meta_kubernetes_endpointslice_endpoint_conditions_terminating",
	"__meta_kubernetes_endpointslice_endpoint_node_name",
	"__meta_kubernetes_endpointslice_endpoint_zone",
	"__meta_kubernetes_endpointslice_label_",
	"__meta_kubernetes_endpointslice_labelpresent_",
	"__meta_kubernetes_endpointslice_annotation_",
	"__meta_kubernetes_endpointslice_annotationpresent_",
	"__meta_kubernetes_endpoints_label_",
	"__meta_kubernetes_endpoints_labelpresent_",
	"__meta_kubernetes_endpoints_annotation_",
	"__meta_kubernetes_endpoints_annotationpresent_",
	"__meta_kubernetes_node_condition_",
}

func TestPrometheusHasTheSameTargets(t *testing.T) {
	w := sharedWorld(t)
	namespace := w.namespace(t, "every-role")
	w.apply(t, namespace, aLot)
	kubeconfig := w.plane.Kubeconfig
	w.startPrometheus(t, fmt.Sprintf(everyRole, namespace, ", kubeconfig_file: "+kubeconfig,
		"\n        kubeconfig_file: "+kubeconfig))
	r := w.install(t, "prometheusConfig: |\n"+indent(fmt.Sprintf(everyRole, namespace, "", "")))
	for _, name := range []string{"deployment/shop", "statefulset/stack"} {
		w.kubectl(t, "rollout", "status", name, "-n", namespace, "--timeout", soon.String())
	}
	same := func(ctx context.Context) error {
		theirs, err := targetsAt(ctx, prometheusAddress)
		if err != nil {
			return err
		}
		ours, err := targetsAt(ctx, webAddress(r.pod(t)))
		if err != nil {
			return err
		}
		return differences(describeAll(theirs), describeAll(ours))
	}
	eventually(t, soon, "both to have the same targets", same)
	theirs, err := targetsAt(t.Context(), prometheusAddress)
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[string]int{}
	for _, one := range theirs {
		jobs[one.Pool]++
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
	eventually(t, soon, "Prometheus to follow", func(ctx context.Context) error {
		theirs, err := targetsAt(ctx, prometheusAddress)
		if err != nil {
			return err
		}
		text := strings.Join(slices.Collect(maps.Keys(describeAll(theirs))), "\n")
		if strings.Contains(text, "elsewhere") || !strings.Contains(text, `tier":"front`) {
			return errors.New("not yet")
		}
		return nil
	})
	eventually(t, soon, "both to have the same targets again", same)
}

// startPrometheus runs Debian's until the test ends.
func (w *world) startPrometheus(t *testing.T, config string) {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("Prometheus is not installed; packages.txt names it")
	}
	folder := t.TempDir()
	logs, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, "--config.file", writeFile(t, "prometheus.yml", config),
		"--storage.tsdb.path", filepath.Join(folder, "data"), "--web.listen-address", prometheusAddress)
	command.Stderr = logs
	if err := command.Start(); err != nil {
		t.Fatalf("starting Prometheus: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		_ = logs.Close()
		if text, err := os.ReadFile(logs.Name()); t.Failed() && err == nil {
			t.Logf("Prometheus says:\n%s", text)
		}
	})
}

// describeAll are texts that are equal for equal targets.
func describeAll(targets []scrapeTarget) map[string]bool {
	all := map[string]bool{}
	for _, one := range targets {
		discovered := maps.Clone(one.Discovered)
		maps.DeleteFunc(discovered, func(name, value string) bool {
			return value == "" || slices.ContainsFunc(newerThanDebians, func(prefix string) bool {
				return strings.HasPrefix(name, prefix)
			})
		})
		text, err := json.Marshal([]any{one.Pool, one.URL, one.Labels, discovered})
		if err != nil {
			text = []byte(err.Error())
		}
		all[string(text)] = true
	}
	return all
}

// differences says what only one of two sets has.
func differences(theirs, ours map[string]bool) error {
	var problems []error
	for text := range theirs {
		if !ours[text] {
			problems = append(problems, fmt.Errorf("only Prometheus: %s", text))
		}
	}
	for text := range ours {
		if !theirs[text] {
			problems = append(problems, fmt.Errorf("only Tidewright: %s", text))
		}
	}
	return errors.Join(problems[:min(len(problems), 6)]...)
}

// ofTheAPIServer scrapes the API server with the identity of the release.
const ofTheAPIServer = `
rbac: {apiServerMetrics: true}
prometheusConfig: |
  global: {scrape_interval: 1s}
  scrape_configs:
    - job_name: apiserver
      scheme: https
      authorization: {credentials_file: /var/run/secrets/kubernetes.io/serviceaccount/token}
      tls_config: {ca_file: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt}
      kubernetes_sd_configs: [{role: endpointslice, namespaces: {names: [default]}}]
      relabel_configs:
        - {source_labels: [__meta_kubernetes_service_name, __meta_kubernetes_endpointslice_port_name],
           regex: kubernetes;https, action: keep}
`

func TestTheAPIServersOwnMetricsAreScraped(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, ofTheAPIServer)
	eventually(t, soon, "the API server's metrics", func(ctx context.Context) error {
		series, err := r.query(ctx, `count(apiserver_request_total{job="apiserver"}) > 10 and on () (up{job="apiserver"} == 1)`)
		if err == nil && len(series) != 1 {
			active, _ := targetsAt(ctx, webAddress(r.pod(t)))
			err = fmt.Errorf("%+v", active)
		}
		return err
	})
}
