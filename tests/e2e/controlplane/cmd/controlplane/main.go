// Program controlplane is a Kubernetes control plane in one file: etcd, kube-apiserver, kube-controller-manager or
// kubectl, by the name that it is called by or by its first argument; and `up`, which starts one to be used by hand.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"tidewright.dev/controlplane/internal/etcd"
	"tidewright.dev/controlplane/internal/node"
)

const usage = `usage: controlplane PROGRAM [ARGUMENTS]

  up [FLAGS]   start a control plane to be used by hand; see "controlplane up --help"
  kubectl      the client
  etcd, kube-apiserver, kube-controller-manager   what "up" is made of
`

func main() {
	node.RunPodInit() // Containers are this program, too, before they are another.
	name := filepath.Base(os.Args[0])
	if !known(name) && len(os.Args) > 1 {
		name = os.Args[1]
		os.Args = os.Args[1:]
	}
	os.Exit(run(name))
}

func known(name string) bool {
	switch name {
	case "etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "up":
		return true
	}
	return false
}

func run(name string) int {
	switch name {
	case "etcd":
		return report(untilSignal(func(ctx context.Context) error { return etcd.Run(ctx, os.Args[1:]) }))
	case "kube-apiserver":
		return cli.Run(apiserver.NewAPIServerCommand())
	case "kube-controller-manager":
		return cli.Run(manager.NewControllerManagerCommand())
	case "kubectl":
		if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
			kubectlutil.CheckErr(err)
		}
		return 0
	case "up":
		return report(up(os.Args[1:]))
	}
	fmt.Fprint(os.Stderr, usage)
	return 2
}

func untilSignal(serve func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return serve(ctx)
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "controlplane:", err)
	return 1
}
