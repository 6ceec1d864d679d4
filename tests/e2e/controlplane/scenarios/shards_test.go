package scenarios

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	threeReplicasWithShards = "replicas: 3\nscaler: {shards: 4}\n"
	shardPrefix             = releaseName + "-shard-"
	shardedClimbs           = 6
)

// What each of three replicas follows has one writer, before, while and after one of them is killed.
func TestReplicasShareTheScaledObjects(t *testing.T) {
	w := sharedWorld(t)
	r := w.install(t, threeReplicasWithShards)
	queue := w.startRedis(t)
	eventually(t, soon, "each replica to hold a shard", func(ctx context.Context) error {
		holders, err := r.shardHolders(ctx)
		if err == nil && len(holders) != 3 {
			err = fmt.Errorf("the shards are held by %v", holders)
		}
		return err
	})

	var namespaces []string
	var climbs []*replicas
	for range shardedClimbs {
		namespace := w.namespace(t, "share")
		queue.setLength(t, namespace, summit)
		w.apply(t, namespace, fmt.Sprintf(climber, queue.address, namespace))
		namespaces = append(namespaces, namespace)
		climbs = append(climbs, w.watchReplicas(t, deployments, namespace, "worker"))
	}
	for _, climb := range climbs {
		eventually(t, soon, "each climb to begin", climb.reach(2))
	}
	holders, err := r.shardHolders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	victim := mostOf(holders)
	r.node.HoldRestarts(r.namespace, victim)
	r.kill(t, r.podNamed(t, victim))
	eventually(t, soon, "the others to hold all shards", func(ctx context.Context) error {
		holders, err := r.shardHolders(ctx)
		if err == nil && (len(holders) != 2 || holders[victim] != 0) {
			err = fmt.Errorf("the shards are held by %v", holders)
		}
		return err
	})
	for _, climb := range climbs {
		eventually(t, soon, "each climb to end", climb.are(summit))
	}
	r.node.ReleaseRestarts(r.namespace, victim)
	eventually(t, soon, "the one that was killed to get a part again", func(ctx context.Context) error {
		holders, err := r.shardHolders(ctx)
		if err == nil && len(holders) != 3 {
			err = fmt.Errorf("the shards are held by %v", holders)
		}
		return err
	})
	r.waitReady(t)

	r.checkShards(t, namespaces)
}

// checkShards checks what the API server has seen: the workers of each namespace became more and never fewer, and all of
// this, and the ScaledObject's status, was written under the Lease of one shard.
func (r *release) checkShards(t *testing.T, namespaces []string) {
	t.Helper()
	leases := map[string][]write{}
	scales := map[string][]write{}
	written := map[string][]write{}
	for _, e := range r.requests(t) {
		switch {
		case !isWrite(e):
		case e.ObjectRef.Resource == "leases" && strings.Contains(e.ObjectRef.Name, "-shard-"):
			leases[e.ObjectRef.Name] = append(leases[e.ObjectRef.Name], writeOf(e))
		case e.ObjectRef.Subresource == "scale":
			scales[e.ObjectRef.Namespace] = append(scales[e.ObjectRef.Namespace], writeOf(e))
			written[e.ObjectRef.Namespace] = append(written[e.ObjectRef.Namespace], writeOf(e))
		case e.ObjectRef.Resource == "scaledobjects":
			written[e.ObjectRef.Namespace] = append(written[e.ObjectRef.Namespace], writeOf(e))
		}
	}
	for _, namespace := range namespaces {
		if len(scales[namespace]) == 0 {
			t.Errorf("nobody scaled in %s", namespace)
		}
		checkRising(t, scales[namespace])
		fewest := []string{"there is no shard"}
		for _, of := range leases {
			if problems := unheld(t, written[namespace], of); len(problems) < len(fewest) || fewest[0] == "there is no shard" {
				fewest = problems
			}
			if len(fewest) == 0 {
				break
			}
		}
		for _, problem := range fewest {
			t.Errorf("%s: of the shard that fits best: %s", namespace, problem)
		}
	}
}

// shardHolders is how many shards each pod holds.
func (r *release) shardHolders(ctx context.Context) (map[string]int, error) {
	leases, err := r.client.CoordinationV1().Leases(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the Leases: %w", err)
	}
	held := map[string]int{}
	shards := 0
	for _, lease := range leases.Items {
		if !strings.HasPrefix(lease.Name, shardPrefix) {
			continue
		}
		shards++
		name := holder(&lease)
		if name == "" {
			return nil, fmt.Errorf("nobody holds %s", lease.Name)
		}
		held[name]++
	}
	if shards != 4 {
		return nil, errors.New("not every shard has a Lease")
	}
	return held, nil
}

func mostOf(holders map[string]int) string {
	most := ""
	for name, shards := range holders {
		if most == "" || shards > holders[most] {
			most = name
		}
	}
	return most
}
