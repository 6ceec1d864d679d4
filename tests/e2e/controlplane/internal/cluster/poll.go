package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const pollInterval = 100 * time.Millisecond

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final marks an error after which waiting is in vain.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

// Poll calls `check` until it returns nil. It fails with its last error when the context ends, or at once with one that
// is Final.
func Poll(ctx context.Context, what string, check func(context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		var final finalError
		if errors.As(err, &final) {
			return fmt.Errorf("waiting for %s: %w", what, final.error)
		}
		// What the end of the context does to the check says less than what was seen before.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last seen: %w", what, ctx.Err(), last)
		case <-ticker.C:
		}
	}
}
