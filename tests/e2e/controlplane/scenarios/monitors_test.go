package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// monitorKind is the definition of a kind of monitoring.coreos.com, as far as the API server has to know it.
const monitorKind = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[2]s.monitoring.coreos.com}
spec:
  group: monitoring.coreos.com
  scope: Namespaced
  names: {kind: %[1]s, plural: %[2]s, singular: %[3]s}
  versions:
    - name: %[4]s
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

var monitorKinds = []string{
	fmt.Sprintf(monitorKind, "ServiceMonitor", "servicemonitors", "servicemonitor", "v1"),
	fmt.Sprintf(monitorKind, "PodMonitor", "podmonitors", "podmonitor", "v1"),
	fmt.Sprintf(monitorKind, "Probe", "probes", "probe", "v1"),
	fmt.Sprintf(monitorKind, "ScrapeConfig", "scrapeconfigs", "scrapeconfig", "v1alpha1"),
}

// monitored are pods with a port by name, a Service of them, and a monitor of each kind. %s is an address that answers.
const monitored = labelled + `
---
apiVersion: v1
kind: Service
metadata: {name: labelled, labels: {app: labelled}}
spec: {selector: {app: labelled}, ports: [{name: web, port: 80, targetPort: prometheus}]}
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: by-service, labels: {team: a}}
spec:
  serviceDiscoveryRole: EndpointSlice
  selector: {matchLabels: {app: labelled}}
  endpoints: [{port: web, interval: 1s}]
---
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: of-nobody, labels: {team: b}}
spec:
  selector: {matchLabels: {app: labelled}}
  endpoints: [{port: web, interval: 1s}]
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: by-pod, labels: {team: a}}
spec:
  selector: {matchLabels: {app: labelled}}
  podMetricsEndpoints: [{port: prometheus, interval: 1s}]
---
apiVersion: monitoring.coreos.com/v1
kind: Probe
metadata: {name: probe, labels: {team: a}}
spec:
  interval: 1s
  prober: {url: "%[1]s", path: /-/healthy}
  targets: {staticConfig: {static: [http://example.com]}}
---
apiVersion: monitoring.coreos.com/v1alpha1
kind: ScrapeConfig
metadata: {name: static, labels: {team: a}}
spec:
  scrapeInterval: 1s
  staticConfigs: [{targets: ["%[1]s"], labels: {where: here}}]
`

const withPassword = `
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: with-password, labels: {team: a}}
spec:
  selector: {matchLabels: {app: labelled}}
  endpoints:
    - port: web
      interval: 1s
      basicAuth: {username: {name: login, key: user}, password: {name: login, key: password}}
`

func TestMonitoringObjectsAreScraped(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, "monitoringObjects: {selector: team=a, namespaceSelector: \"!ignored\"}\n")
	address := webAddress(r.pod(t))
	namespace, ignored := w.namespace(t, "monitored"), w.namespace(t, "ignored")
	w.kubectl(t, "label", "namespace", ignored, "ignored=")

	// Where the kinds are not known, nothing is watched in vain, and nobody complains.
	throughout(t, 3*time.Second, "nobody knows the kinds", func(context.Context) error {
		log, err := os.ReadFile(r.node.LogFile(r.namespace, r.pod(t).Name, releaseName))
		if err == nil && strings.Contains(string(log), "monitors") {
			err = errors.New("the log speaks of monitors")
		}
		return err
	})
	definitions := strings.Join(monitorKinds, "---\n")
	w.apply(t, "default", definitions)
	gone := false
	t.Cleanup(func() {
		if _, err := w.plane.KubectlInput(context.Background(), definitions, "delete", "-f", "-"); err != nil && !gone {
			t.Errorf("deleting the kinds: %v", err)
		}
	})
	for _, kind := range []string{"servicemonitors", "podmonitors", "probes", "scrapeconfigs"} {
		w.kubectl(t, "wait", "--for=condition=Established", "crd/"+kind+".monitoring.coreos.com")
	}

	objects := fmt.Sprintf(monitored, address)
	w.apply(t, namespace, objects)
	w.apply(t, ignored, objects)
	waitForTargets := func(wanted map[string]int) {
		t.Helper()
		eventually(t, soon, "the targets of monitoring objects", func(ctx context.Context) error {
			active, err := targetsAt(ctx, address)
			if err != nil {
				return err
			}
			pools := poolsOf(active)
			for pool, count := range pools {
				if strings.Contains(pool, "/"+ignored+"/") || strings.Contains(pool, "of-nobody") ||
					(strings.Contains(pool, "/"+namespace+"/") && wanted[pool] != count) {
					return fmt.Errorf("targets by job and health: %v", pools)
				}
			}
			for pool, count := range wanted {
				if pools[pool] != count {
					return fmt.Errorf("targets by job and health: %v, and not %s %d", pools, pool, count)
				}
			}
			return nil
		})
	}
	wanted := map[string]int{
		"serviceMonitor/" + namespace + "/by-service/0 up": 3,
		"podMonitor/" + namespace + "/by-pod/0 up":         3,
		// What answers it is no exporter, but that it does is shown.
		"probe/" + namespace + "/probe down":       1,
		"scrapeConfig/" + namespace + "/static up": 1,
	}
	waitForTargets(wanted)
	series, err := r.query(t.Context(), fmt.Sprintf(`up{job="labelled",namespace=%q,service="labelled",endpoint="web",`+
		`container="labelled",pod=~"labelled-.*"} == 1`, namespace))
	if err != nil || len(series) != 3 {
		t.Errorf("the ServiceMonitor's series are %v: %v", series, err)
	}

	t.Run("Faults", func(t *testing.T) {
		w.apply(t, namespace, withPassword)
		eventually(t, soon, "an event that names the missing Secret", func(ctx context.Context) error {
			return w.hasEvent(ctx, namespace, "ServiceMonitor", "with-password", "Secret "+namespace+"/login does not exist")
		})
		w.kubectl(t, "create", "secret", "generic", "login", "-n", namespace, "--from-literal=user=u",
			"--from-literal=password=p")
		wanted["serviceMonitor/"+namespace+"/with-password/0 up"] = 3
		waitForTargets(wanted)
		w.kubectl(t, "patch", "servicemonitor", "with-password", "-n", namespace, "--type=merge", "-p",
			`{"spec":{"endpoints":[{"port":"web","bearerTokenFile":"/var/run/secrets/kubernetes.io/serviceaccount/token"}]}}`)
		eventually(t, soon, "an event that forbids the file", func(ctx context.Context) error {
			return w.hasEvent(ctx, namespace, "ServiceMonitor", "with-password", "bearerTokenFile")
		})
		delete(wanted, "serviceMonitor/"+namespace+"/with-password/0 up")
		waitForTargets(wanted)
	})
	t.Run("ObjectsGo", func(t *testing.T) {
		w.kubectl(t, "delete", "servicemonitor", "by-service", "-n", namespace)
		delete(wanted, "serviceMonitor/"+namespace+"/by-service/0 up")
		waitForTargets(wanted)
	})
	t.Run("KindsGo", func(t *testing.T) {
		if _, err := w.plane.KubectlInput(t.Context(), definitions, "delete", "-f", "-"); err != nil {
			t.Fatal(err)
		}
		gone = true
		waitForTargets(map[string]int{})
	})
}

// hasEvent says what is wrong unless there is a warning about the object that contains the text.
func (w *world) hasEvent(ctx context.Context, namespace, kind, name, text string) error {
	events, err := w.client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name,
	})
	if err != nil {
		return err
	}
	var messages []string
	for _, event := range events.Items {
		if event.Type == corev1.EventTypeWarning && event.Reason == "InvalidConfiguration" {
			messages = append(messages, event.Message)
		}
		if strings.Contains(event.Message, text) {
			return nil
		}
	}
	return fmt.Errorf("the events are %q", messages)
}
