package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const bridgeName = "pods"

// Subnet is what the bridge and every pod have their addresses from.
var Subnet = netip.MustParsePrefix("10.77.0.0/16")

// Gateway is the bridge's own address.
var Gateway = netip.MustParseAddr("10.77.0.1")

// Without an address of its own a bridge takes the lowest of its devices'. It would change with the pods, and those that
// have learned the old one would talk to nobody for a while.
var bridgeHardware = net.HardwareAddr{0x02, 0, 0, 0x4d, 0, 0x01} // Locally administered.

var firstFree = netip.MustParseAddr("10.77.1.1")

// Bridge is the pod network: a switch that the programs of this network namespace and those of each PodNetwork are
// connected to. It is safe for concurrent use.
type Bridge struct {
	link      *netlink.Bridge
	forwarded netip.AddrPort

	mutex sync.Mutex
	next  netip.Addr
	pods  int
}

// Gateway returns the address that programs of this network namespace have; kube-apiserver listens on it.
func (b *Bridge) Gateway() netip.Addr { return Gateway }

// Forwarded returns the address outside that EnterForwarding made; invalid after Enter.
func (b *Bridge) Forwarded() netip.AddrPort { return b.forwarded }

// Allocate returns an address that nobody has had before in this run.
func (b *Bridge) Allocate() (netip.Addr, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	address := b.next
	following := address.Next()
	if !Subnet.Contains(following) {
		return netip.Addr{}, fmt.Errorf("no address of %s is left", Subnet)
	}
	b.next = following
	return address, nil
}

// AddAddress gives this network namespace the address of a pod that no process of its own stands for, so that a server
// here can listen on it. Until then, and after RemoveAddress, nothing answers there.
func (b *Bridge) AddAddress(ip netip.Addr) error {
	if err := netlink.AddrAdd(b.link, hostAddress(ip)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding %s to the bridge: %w", ip, err)
	}
	return nil
}

// RemoveAddress undoes AddAddress.
func (b *Bridge) RemoveAddress(ip netip.Addr) error {
	if err := netlink.AddrDel(b.link, hostAddress(ip)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("removing %s from the bridge: %w", ip, err)
	}
	return nil
}

func hostAddress(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}}
}

func subnetAddress(ip netip.Addr) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(Subnet.Bits(), ip.BitLen())}}
}

// newBridge makes the bridge in the current network namespace and brings it and the loopback device up.
func newBridge() (*Bridge, error) {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("finding the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return nil, fmt.Errorf("bringing the loopback device up: %w", err)
	}
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName, HardwareAddr: bridgeHardware}}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, fmt.Errorf("making the bridge %s (is the kernel's module `bridge` there?): %w", bridgeName, err)
	}
	if err := netlink.AddrAdd(link, subnetAddress(Gateway)); err != nil {
		return nil, fmt.Errorf("giving the bridge its address: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("bringing the bridge up: %w", err)
	}
	return &Bridge{link: link, next: firstFree}, nil
}
