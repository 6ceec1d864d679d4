package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// served is a path below the API server, and the values that it has to show, sorted as texts.
type served struct {
	path   string
	values []string
}

// serves says what differs between what is served and what should be: thousandths, of memory bytes.
func (w *world) serves(ctx context.Context, all []served) error {
	for _, one := range all {
		values, err := w.valuesOf(ctx, one.path)
		if err != nil {
			return err
		}
		wanted := slices.Clone(one.values)
		slices.Sort(wanted)
		slices.Sort(values)
		if !slices.Equal(values, wanted) {
			return fmt.Errorf("%s serves %v instead of %v", one.path, values, wanted)
		}
	}
	return nil
}

// waitServed waits until all of this is served.
func (w *world) waitServed(t *testing.T, all []served) {
	t.Helper()
	eventually(t, soon, "the metrics to be served", func(ctx context.Context) error { return w.serves(ctx, all) })
}

// servesSome says what is wrong unless so many values are served at the path, whatever they are.
func (w *world) servesSome(ctx context.Context, path string, count int) error {
	values, err := w.valuesOf(ctx, path)
	if err == nil && len(values) != count {
		err = fmt.Errorf("%s serves %v instead of %d values", path, values, count)
	}
	return err
}

func (w *world) valuesOf(ctx context.Context, path string) (values []string, err error) {
	body, err := w.client.RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Value      *resource.Quantity
			Containers []struct{ Usage corev1.ResourceList }
		}
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("reading %s: %w", body, err)
	}
	for _, item := range list.Items {
		if item.Value != nil {
			values = append(values, fmt.Sprint(item.Value.MilliValue()))
		}
		for _, container := range item.Containers {
			values = append(values, fmt.Sprint(container.Usage.Memory().Value()))
		}
	}
	return values, nil
}
