package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// alwaysThree is a workload that a schedule without an end wants three pods of.
const alwaysThree = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: steady}
spec:
  replicas: 1
  selector: {matchLabels: {app: steady}}
  template:
    metadata: {labels: {app: steady}}
    spec: {containers: [{name: steady, image: steady}]}
---
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: steady}
spec:
  scaleTargetRef: {name: steady}
  minReplicaCount: 1
  pollingInterval: 1
  triggers:
    - {type: cron, metadata: {timezone: UTC, start: "0 0 * * *", end: "59 23 * * *", desiredReplicas: "3"}}
    - {type: cron, metadata: {timezone: UTC, start: "30 23 * * *", end: "30 0 * * *", desiredReplicas: "3"}}
`

// Takes verbs away from the chart's roles, one at a time. That everything else works without any other verb is what each
// release is checked for when it is uninstalled.
func TestAMissingPermissionIsNamed(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, "")
	for _, test := range []struct{ verb, group, resource string }{
		{"patch", "apps", "deployments/scale"},
		{"list", "", "pods"},
		{"watch", "tidewright.dev", "scaledobjects"},
		{"patch", "tidewright.dev", "scaledobjects/status"},
		{"get", "apiregistration.k8s.io", "apiservices"},
	} {
		t.Run(test.verb+" "+strings.ReplaceAll(test.resource, "/", " "), func(t *testing.T) {
			r.forbidden = true
			log := r.followLog(t)
			restore := r.takePermission(t, test.verb, test.group, test.resource)
			defer restore()
			// Whoever has read everything once would go on for long without noticing.
			pod := r.pod(t)
			r.kill(t, pod)
			namespace := w.namespace(t, "steady")
			w.apply(t, namespace, alwaysThree)

			complaint := fmt.Sprintf("cannot %s resource %q", test.verb, test.resource)
			eventually(t, soon, "a complaint", func(ctx context.Context) error {
				text := log() + w.complaints(ctx, namespace)
				if !strings.Contains(text, complaint) {
					return fmt.Errorf("nobody says %s:\n%s", complaint, text)
				}
				return nil
			})
			restore()
			eventually(t, soon, "the schedule to be followed once it is allowed", func(ctx context.Context) error {
				scale, err := w.client.AppsV1().Deployments(namespace).GetScale(ctx, "steady", metav1.GetOptions{})
				if err == nil && scale.Spec.Replicas != 3 {
					err = fmt.Errorf("there are %d replicas; %s", scale.Spec.Replicas, w.complaints(ctx, namespace))
				}
				return err
			})
		})
	}
}

// takePermission takes a verb away from the release's ClusterRole. What is returned gives it back; it may be called twice.
func (r *release) takePermission(t *testing.T, verb, group, resource string) (restore func()) {
	t.Helper()
	roles := r.client.RbacV1().ClusterRoles()
	role, err := roles.Get(t.Context(), releaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	complete := role.Rules
	if role.Rules, err = without(complete, verb, group, resource); err != nil {
		t.Fatal(err)
	}
	if role, err = roles.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if role.Rules = complete; role.ResourceVersion == "" {
			return
		}
		if _, err := roles.Update(context.WithoutCancel(t.Context()), role, metav1.UpdateOptions{}); err != nil {
			t.Errorf("giving the permission back: %v", err)
		}
		role.ResourceVersion = ""
	}
}

// without returns the rules less one verb of one resource.
func without(rules []rbacv1.PolicyRule, verb, group, resource string) ([]rbacv1.PolicyRule, error) {
	result := []rbacv1.PolicyRule{}
	found := false
	for _, rule := range rules {
		if !slices.Contains(rule.APIGroups, group) || !slices.Contains(rule.Resources, resource) ||
			!slices.Contains(rule.Verbs, verb) {
			result = append(result, rule)
			continue
		}
		found = true
		others, rest := *rule.DeepCopy(), *rule.DeepCopy()
		others.Resources = slices.DeleteFunc(others.Resources, func(r string) bool { return r == resource })
		rest.Resources = []string{resource}
		rest.Verbs = slices.DeleteFunc(rest.Verbs, func(v string) bool { return v == verb })
		for _, part := range []rbacv1.PolicyRule{others, rest} {
			if len(part.Resources) > 0 && len(part.Verbs) > 0 {
				result = append(result, part)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("the chart's ClusterRole does not allow to %s %s", verb, resource)
	}
	return result, nil
}

// followLog returns a function that returns what the release's pod has logged since now.
func (r *release) followLog(t *testing.T) func() string {
	t.Helper()
	file := r.node.LogFile(r.namespace, r.pod(t).Name, releaseName)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		return strings.ReplaceAll(string(text[len(before):]), `\"`, `"`) // As in a condition, where nothing is quoted.
	}
}

// complaints are the events and the conditions of the ScaledObjects of a namespace.
func (w *world) complaints(ctx context.Context, namespace string) string {
	events, eventsError := w.plane.Kubectl(ctx, "get", "events", "-n", namespace, "-o",
		`jsonpath={range .items[*]}event {.reason}: {.message}{"\n"}{end}`)
	conditions, conditionsError := w.plane.Kubectl(ctx, "get", "scaledobjects.tidewright.dev", "-n", namespace, "-o",
		`jsonpath={range .items[*].status.conditions[*]}condition {.type}={.status} {.reason}: {.message}{"\n"}{end}`)
	if err := errors.Join(eventsError, conditionsError); err != nil {
		return events + conditions + err.Error()
	}
	return events + conditions
}
