package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"tidewright.dev/controlplane/internal/cluster"
	"tidewright.dev/controlplane/internal/network"
	"tidewright.dev/controlplane/internal/node"
)

const (
	startTimeout = 2 * time.Minute
	image        = "tidewright"
)

const upUsage = `usage: controlplane up [--dir DIR] [--tidewright BINARY --chart CHART]

Starts a control plane with one node, in a network of its own, and runs it until it is told to stop. The kubeconfig that
it names works from anywhere on this machine. Needs root.

`

// upFlags is what the user asks for.
type upFlags struct {
	dir        string
	tidewright string
	chart      string
}

func parseUp(args []string) (upFlags, error) {
	var result upFlags
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), upUsage)
		flags.PrintDefaults()
	}
	flags.StringVar(&result.dir, "dir", "", "`folder` of the logs and the kubeconfig (default: a new temporary one)")
	flags.StringVar(&result.tidewright, "tidewright", "", "`binary` to install with the chart and run")
	flags.StringVar(&result.chart, "chart", "charts/tidewright", "`folder` of the chart")
	if err := flags.Parse(args); err != nil {
		return upFlags{}, err
	}
	if flags.NArg() > 0 {
		return upFlags{}, fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	return result, nil
}

// up runs a control plane until it is told to stop. A port of the loopback device leads to its API server.
func up(args []string) error {
	flags, err := parseUp(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	bridge, err := network.EnterForwarding(netip.AddrPortFrom(network.Gateway, cluster.APIPort))
	if err != nil {
		return err
	}
	return untilSignal(func(ctx context.Context) error { return runUp(ctx, flags, bridge) })
}

func runUp(ctx context.Context, flags upFlags, bridge *network.Bridge) error {
	folder, err := runFolder(flags.dir)
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	begin := time.Now()
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	plane, err := cluster.Start(starting, cluster.Options{
		Dir: folder, Programs: filepath.Dir(program), Address: bridge.Gateway(),
	})
	if err != nil {
		return err
	}
	worker, err := node.Start(starting, nodeOptions(plane, bridge, folder, flags))
	if err != nil {
		return errors.Join(err, plane.Stop())
	}
	if err := install(starting, plane, flags); err != nil {
		worker.Stop()
		return errors.Join(err, plane.Stop())
	}
	if err := publish(plane, bridge); err != nil {
		return err
	}
	fmt.Printf(`The control plane is ready after %s. In another terminal:

  export KUBECONFIG=%s
  %s/kubectl get namespaces

Logs, the audit log among them, are in %s. Ctrl-C ends everything.
`, time.Since(begin).Round(100*time.Millisecond), plane.Kubeconfig, filepath.Dir(program), folder)
	<-ctx.Done()
	worker.Stop()
	return plane.Stop()
}

func nodeOptions(plane *cluster.Cluster, bridge *network.Bridge, folder string, flags upFlags) node.Options {
	options := node.Options{
		Config: plane.Admin, Bridge: bridge, Folder: filepath.Join(folder, "node"), APIServer: plane.Endpoint(),
	}
	if flags.tidewright != "" {
		options.Programs = map[string]string{image: flags.tidewright}
	}
	return options
}

// install installs Tidewright if it was asked for. The values are the chart's own, but for the image.
func install(ctx context.Context, plane *cluster.Cluster, flags upFlags) error {
	if flags.tidewright == "" {
		return nil
	}
	output, err := plane.Helm(ctx, "install", "tidewright", flags.chart, "--namespace", "tidewright", "--create-namespace",
		"--wait", "--timeout", "90s", "--set", "image.repository="+image)
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSpace(output))
	fmt.Println()
	return nil
}

// publish makes the kubeconfig one for users outside.
func publish(plane *cluster.Cluster, bridge *network.Bridge) error {
	outside := rest.CopyConfig(plane.Admin)
	outside.Host = "https://" + bridge.Forwarded().String()
	return cluster.WriteKubeconfig(plane.Kubeconfig, outside)
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
