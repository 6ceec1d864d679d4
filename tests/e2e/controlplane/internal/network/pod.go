package network

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const threadNamespace = "/proc/thread-self/ns/net"

// PodNetwork is a network namespace with a loopback device and one address on the bridge. It is safe for concurrent use.
type PodNetwork struct {
	address netip.Addr
	link    *netlink.Veth
	file    *os.File // Keeps the namespace alive while no process is in it.
}

// NewPod makes a network namespace that is connected to the bridge and has the address `ip`.
func (b *Bridge) NewPod(ip netip.Addr) (*PodNetwork, error) {
	b.mutex.Lock()
	b.pods++
	number := b.pods
	b.mutex.Unlock()

	file, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("making a network namespace for %s: %w", ip, err)
	}
	attributes := netlink.LinkAttrs{Name: fmt.Sprintf("pod%d", number), MasterIndex: b.link.Attrs().Index}
	pod := &PodNetwork{
		address: ip,
		file:    file,
		link: &netlink.Veth{
			LinkAttrs: attributes, PeerName: "eth0", PeerNamespace: netlink.NsFd(int(file.Fd())),
		},
	}
	if err := pod.connect(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("connecting %s to the bridge: %w", ip, err)
	}
	return pod, nil
}

func (p *PodNetwork) connect() error {
	if err := netlink.LinkAdd(p.link); err != nil {
		return fmt.Errorf("making the device %s: %w", p.link.Name, err)
	}
	if err := netlink.LinkSetUp(p.link); err != nil {
		return fmt.Errorf("bringing the device %s up: %w", p.link.Name, err)
	}
	return p.Run(func() error {
		for _, name := range []string{"lo", "eth0"} {
			link, err := netlink.LinkByName(name)
			if err != nil {
				return fmt.Errorf("finding the device %s: %w", name, err)
			}
			if name == "eth0" {
				if err := netlink.AddrAdd(link, subnetAddress(p.address)); err != nil {
					return fmt.Errorf("giving the device %s its address: %w", name, err)
				}
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return fmt.Errorf("bringing the device %s up: %w", name, err)
			}
		}
		return nil
	})
}

// Address returns the pod's address.
func (p *PodNetwork) Address() netip.Addr { return p.address }

// Run calls `action` on a thread inside the pod's network namespace. Sockets that it opens and processes that it starts
// (exec.Cmd.Start) stay there; goroutines that it starts do not run there.
func (p *PodNetwork) Run(action func() error) error {
	return onThread(p.file, action)
}

// Close frees the device and, once its last process is gone, the namespace.
func (p *PodNetwork) Close() error {
	err := netlink.LinkDel(p.link)
	if closed := p.file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("freeing the network of %s: %w", p.address, err)
	}
	return nil
}

func inNamespace(namespace *os.File, action func() error) (err error, restored bool) {
	own, err := os.Open(threadNamespace)
	if err != nil {
		return fmt.Errorf("opening the thread's network namespace: %w", err), true
	}
	defer own.Close()
	if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering a network namespace: %w", err), true
	}
	err = action()
	return err, unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil
}

// newNamespace makes an empty network namespace, which lives as long as the file.
func newNamespace() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	result := make(chan made, 1)
	go func() {
		runtime.LockOSThread()
		own, err := os.Open(threadNamespace)
		if err != nil {
			runtime.UnlockOSThread()
			result <- made{nil, err}
			return
		}
		defer own.Close()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			result <- made{nil, err}
			return
		}
		file, err := os.Open(threadNamespace)
		if unix.Setns(int(own.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		result <- made{file, err}
	}()
	answer := <-result
	return answer.file, answer.err
}
