// Package network makes the private world that a run lives in: namespaces of processes, mounts and network, and a bridge
// that stands for the cluster's pod network. The kernel takes all of it away when the run ends, however it ends.
package network

import "errors"

// ErrNotPrivileged says that the program may not make namespaces.
var ErrNotPrivileged = errors.New("not privileged")

// Enter moves the program into namespaces of its own. In the process that the user started it does not return: that one
// starts the program again inside, hands signals on, waits and exits with its exit code. Inside, it returns the bridge.
// Call it first in main or TestMain. An error means that namespaces cannot be made here, and why.
func Enter() (*Bridge, error) {
	return nil, ErrNotPrivileged
}
