package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

var (
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	statefulSets = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "statefulsets"}
)

// replicas is the history of a workload's spec.replicas, seen by a watch, so that no value is missed however short it
// lasted.
type replicas struct {
	workload string

	mutex sync.Mutex
	seen  []step
	ended bool
}

type step struct {
	at    time.Time
	count int64
}

func (s step) String() string { return fmt.Sprintf("%s %d", s.at.Format("15:04:05.000"), s.count) }

// watchReplicas follows a workload that exists until the test ends.
func (w *world) watchReplicas(t *testing.T, resource schema.GroupVersionResource, namespace, name string) *replicas {
	t.Helper()
	objects := w.dynamic.Resource(resource).Namespace(namespace)
	object, err := objects.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatalf("following %s %s: %v", resource.Resource, name, err)
	}
	r := &replicas{workload: resource.Resource + "/" + name}
	r.add(object)
	stream, err := objects.Watch(t.Context(), metav1.ListOptions{
		FieldSelector:   "metadata.name=" + name,
		ResourceVersion: object.GetResourceVersion(),
	})
	if err != nil {
		t.Fatalf("following %s %s: %v", resource.Resource, name, err)
	}
	go func() {
		for event := range stream.ResultChan() {
			if object, ok := event.Object.(*unstructured.Unstructured); ok && event.Type == watch.Modified {
				r.add(object)
			}
		}
		r.mutex.Lock()
		r.ended = true
		r.mutex.Unlock()
	}()
	t.Cleanup(stream.Stop)
	return r
}

func (r *replicas) add(object *unstructured.Unstructured) {
	count, _, _ := unstructured.NestedInt64(object.Object, "spec", "replicas")
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if len(r.seen) == 0 || r.seen[len(r.seen)-1].count != count {
		r.seen = append(r.seen, step{time.Now(), count})
	}
}

// now is the present number.
func (r *replicas) now() int64 {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.seen[len(r.seen)-1].count
}

// are says what is wrong unless the workload has so many replicas.
func (r *replicas) are(wanted int64) func(context.Context) error {
	return func(context.Context) error {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if got := r.seen[len(r.seen)-1].count; got != wanted {
			return fmt.Errorf("%s has %d replicas instead of %d; so far %v", r.workload, got, wanted, r.seen)
		}
		return nil
	}
}

// stay says what is wrong unless the workload has had so many replicas for some time: on the way to a number, while pods
// that have just started show no full rate yet, there may be more.
func (r *replicas) stay(wanted int64) func(context.Context) error {
	const settled = 3 * time.Second
	return func(ctx context.Context) error {
		if err := r.are(wanted)(ctx); err != nil {
			return err
		}
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if time.Since(r.seen[len(r.seen)-1].at) < settled {
			return fmt.Errorf("%s has had %d replicas for less than %s; so far %v", r.workload, wanted, settled, r.seen)
		}
		return nil
	}
}

// neverShrank says what is wrong if the number became smaller after the moment, or if nobody watched.
func (r *replicas) neverShrank(since time.Time) func(context.Context) error {
	return func(context.Context) error {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if r.ended {
			return errors.New("the watch of " + r.workload + " has ended")
		}
		for i := 1; i < len(r.seen); i++ {
			if r.seen[i].at.After(since) && r.seen[i].count < r.seen[i-1].count {
				return fmt.Errorf("%s shrank: %v", r.workload, r.seen)
			}
		}
		return nil
	}
}
