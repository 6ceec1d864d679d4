package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"

	"tidewright.dev/controlplane/internal/cluster"
	"tidewright.dev/controlplane/internal/network"
)

const startTimeout = 2 * time.Minute

// up runs a control plane until it is told to stop. Its network is its own; a port of the loopback device leads to the
// API server.
func up(args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the logs, certificates and the kubeconfig (default: a new temporary one)")
	if err := flags.Parse(args[1:]); err != nil {
		return nil // The flag package has said what is wrong.
	}
	gateway := netip.AddrPortFrom(network.Gateway, cluster.APIPort)
	bridge, err := network.EnterForwarding(gateway)
	if err != nil {
		return err
	}
	return untilSignal(func(ctx context.Context) error { return runUp(ctx, *dir, bridge) })
}

func runUp(ctx context.Context, dir string, bridge *network.Bridge) error {
	folder, err := runFolder(dir)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	begin := time.Now()
	plane, err := cluster.Start(starting, cluster.Options{
		Dir: folder, Programs: filepath.Dir(program), Address: bridge.Gateway(),
	})
	if err != nil {
		return err
	}
	outside := rest.CopyConfig(plane.Admin)
	outside.Host = "https://" + bridge.Forwarded().String()
	if err := cluster.WriteKubeconfig(plane.Kubeconfig, outside); err != nil {
		return err
	}
	fmt.Printf(`The control plane is ready after %s. In another terminal:

  export KUBECONFIG=%s
  alias kubectl='%s kubectl'
  kubectl get namespaces

Logs and the audit log are in %s. Ctrl-C ends everything.
`, time.Since(begin).Round(100*time.Millisecond), plane.Kubeconfig, program, folder)
	<-ctx.Done()
	return plane.Stop()
}

func runFolder(dir string) (string, error) {
	if dir == "" {
		return os.MkdirTemp("", "controlplane-")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the run's folder: %w", err)
	}
	return filepath.Abs(dir)
}
