package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// scaledJob is a manifest as KEDA's users write it.
const scaledJob = `
apiVersion: %s/v1alpha1
kind: ScaledJob
metadata: {name: importer}
spec:
  jobTargetRef:
    parallelism: 1
    completions: 1
    backoffLimit: 4
    template:
      spec:
        containers: [{name: importer, image: %s}]
        restartPolicy: Never
  pollingInterval: 1
  maxReplicaCount: 4
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 1
  scalingStrategy: {strategy: default}
  rollout: {strategy: immediate, propagationPolicy: background}
  triggers: [%s]
`

func TestScaledJobsStartJobs(t *testing.T) {
	w := sharedWorld(t)
	w.defineKeda(t)
	r := w.install(t, "watchKeda: true\n")
	queue := w.startRedis(t)
	t.Run("Each", func(t *testing.T) { // Ends, and uninstalls after, when those in parallel have.
		for _, group := range []string{"tidewright.dev", "keda.sh"} {
			t.Run(group, func(t *testing.T) {
				t.Parallel()
				r.checkJobs(t, queue, group)
			})
		}
	})
}

// defineKeda makes resource definitions of KEDA's group, of the schemas of ours; they end with the test.
func (w *world) defineKeda(t *testing.T) {
	t.Helper()
	for _, plural := range []string{"scaledobjects", "scaledjobs", "triggerauthentications", "clustertriggerauthentications"} {
		text, err := os.ReadFile(filepath.Join(w.chart, "crds", plural+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		definition := strings.ReplaceAll(string(text), "tidewright.dev", "keda.sh")
		// The short names stay with ours.
		definition = strings.ReplaceAll(definition, "    shortNames: [", "    shortNames: [keda-")
		w.apply(t, metav1.NamespaceDefault, definition)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), soon)
			defer cancel()
			if _, err := w.plane.KubectlInput(ctx, definition, "delete", "-f", "-"); err != nil {
				t.Error(err)
			}
		})
		w.kubectl(t, "wait", "--for=condition=Established", "--timeout=60s", "crd/"+plural+".keda.sh")
	}
}

func (r *release) checkJobs(t *testing.T, queue *redis, group string) {
	w := r.world
	namespace := w.namespace(t, "jobs")
	trigger := redisTrigger(queue, namespace)
	w.applyJob(t, namespace, group, "importer:1", trigger)
	resource := "scaledjobs." + group + "/importer"
	w.kubectl(t, "wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, resource)

	queue.setLength(t, namespace, 14)
	eventually(t, soon, "three Jobs", w.runningJobs(namespace, 3, "importer:1"))
	throughout(t, 3*time.Second, "the queue stays as long", w.runningJobs(namespace, 3, "importer:1"))
	queue.setLength(t, namespace, 100)
	eventually(t, soon, "as many Jobs as there may be", w.runningJobs(namespace, 4, "importer:1"))
	w.kubectl(t, "wait", "--for=condition=Active", "--timeout=60s", "-n", namespace, resource)
	r.checkJobExplanation(t, namespace)

	// A new template takes the place of the old one.
	w.applyJob(t, namespace, group, "importer:2", trigger)
	eventually(t, soon, "Jobs of the new template only", w.runningJobs(namespace, 4, "importer:2"))

	queue.setLength(t, namespace, 0)
	w.kubectl(t, "wait", "--for=condition=Active=false", "--timeout=60s", "-n", namespace, resource)
	w.completePods(t, namespace)
	eventually(t, soon, "one Job to be kept", func(ctx context.Context) error {
		jobs, err := w.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(jobs.Items) != 1 || jobs.Items[0].Status.Succeeded != 1 {
			return fmt.Errorf("there are %d Jobs", len(jobs.Items))
		}
		return nil
	})
	w.kubectl(t, "annotate", "-n", namespace, resource, "autoscaling.keda.sh/paused=true")
	w.kubectl(t, "wait", "--for=condition=Paused", "--timeout=60s", "-n", namespace, resource)
	queue.setLength(t, namespace, 5)
	throughout(t, 3*time.Second, "the ScaledJob is paused", w.runningJobs(namespace, 0, ""))

	w.kubectl(t, "delete", "-n", namespace, resource)
	eventually(t, soon, "the Jobs to go with the ScaledJob", func(ctx context.Context) error {
		jobs, err := w.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(jobs.Items) > 0 {
			err = fmt.Errorf("there are still %d", len(jobs.Items))
		}
		return err
	})
}

func (w *world) applyJob(t *testing.T, namespace, group, image, trigger string) {
	t.Helper()
	w.apply(t, namespace, fmt.Sprintf(scaledJob, group, image, trigger))
}

// runningJobs says what is wrong unless so many Jobs are not finished, all of them of the image.
func (w *world) runningJobs(namespace string, wanted int, image string) func(context.Context) error {
	return func(ctx context.Context) error {
		jobs, err := w.client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		running := 0
		for _, job := range jobs.Items {
			if finished(&job) || job.DeletionTimestamp != nil {
				continue
			}
			running++
			if got := job.Spec.Template.Spec.Containers[0].Image; got != image {
				return fmt.Errorf("%s is of the image %s", job.Name, got)
			}
		}
		if running != wanted {
			return fmt.Errorf("%d Jobs run instead of %d", running, wanted)
		}
		return nil
	}
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}

// completePods makes the pods of the namespace's Jobs end well, which the node's simulated containers never do.
func (w *world) completePods(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, soon, "the pods to succeed", func(ctx context.Context) error {
		pods, err := w.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel})
		if err != nil {
			return err
		}
		var wrong error
		for _, pod := range pods.Items {
			if pod.Status.Phase == corev1.PodSucceeded {
				continue
			}
			wrong = errors.Join(wrong, fmt.Errorf("%s is %s", pod.Name, pod.Status.Phase))
			_, err := w.client.CoreV1().Pods(namespace).Patch(ctx, pod.Name, types.MergePatchType,
				[]byte(`{"status":{"phase":"Succeeded"}}`), metav1.PatchOptions{}, "status")
			wrong = errors.Join(wrong, err)
		}
		return wrong
	})
}

// checkJobExplanation reads what the web port says about the ScaledJob.
func (r *release) checkJobExplanation(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, soon, "the decision to be explained", func(ctx context.Context) error {
		page, err := r.get(ctx, r.pod(t), "/api/v1/autoscaling/decisions?name=importer&namespace="+namespace)
		if err != nil {
			return err
		}
		if text := string(page); !strings.Contains(text, `"ScaledJob"`) || !strings.Contains(text, "target 5 per Job") {
			return errors.New(text)
		}
		return nil
	})
}

var scaledJobs = schema.GroupVersionResource{Group: "tidewright.dev", Version: "v1alpha1", Resource: "scaledjobs"}

func TestScaledJobsThatCannotWorkAreRefused(t *testing.T) {
	w := sharedWorld(t)
	w.install(t, "")
	namespace := w.namespace(t, "jobs")
	cron := "{type: cron, metadata: {timezone: UTC, start: '0 8 * * *', end: '0 9 * * *', desiredReplicas: '1'}}"
	for name, row := range map[string]struct{ change, wanted string }{
		"limits":   {"  minReplicaCount: 9\n", "minReplicaCount must not be greater than maxReplicaCount"},
		"strategy": {"  scalingStrategy: {strategy: fast}\n", "Unsupported value"},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := strings.Replace(fmt.Sprintf(scaledJob, "tidewright.dev", "importer", cron),
				"  scalingStrategy: {strategy: default}\n", row.change, 1)
			_, err := w.plane.KubectlInput(t.Context(), manifest, "apply", "-n", namespace, "-f", "-")
			if err == nil || !strings.Contains(err.Error(), row.wanted) {
				t.Errorf("kubectl apply says %v", err)
			}
		})
	}
	w.applyJob(t, namespace, "tidewright.dev", "importer", strings.Replace(cron, "start:", "begin:", 1))
	eventually(t, soon, "the condition to name the mistake", func(ctx context.Context) error {
		object, err := w.dynamic.Resource(scaledJobs).Namespace(namespace).Get(ctx, "importer", metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, text := condition(object, "Ready")
		if status != "False" || !strings.Contains(text, "ScaledJobCheckFailed") || !strings.Contains(text, "begin") {
			return fmt.Errorf("Ready is %q: %s", status, text)
		}
		return nil
	})
}
