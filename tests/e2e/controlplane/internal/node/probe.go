package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe is an httpGet with the defaults of the API filled in.
type probe struct {
	name      string
	url       string
	headers   http.Header
	host      string
	delay     time.Duration
	period    time.Duration
	timeout   time.Duration
	successes int
	failures  int
}

// probes of a container; nil where there is none.
type probes struct{ startup, liveness, readiness *probe }

func newProbes(spec *corev1.Container, address netip.Addr) (probes, error) {
	var all probes
	for _, one := range []struct {
		name   string
		spec   *corev1.Probe
		target **probe
	}{
		{"startupProbe", spec.StartupProbe, &all.startup},
		{"livenessProbe", spec.LivenessProbe, &all.liveness},
		{"readinessProbe", spec.ReadinessProbe, &all.readiness},
	} {
		if one.spec == nil {
			continue
		}
		made, err := newProbe(one.name, one.spec, spec, address)
		if err != nil {
			return probes{}, configError{fmt.Errorf("container %s: %s: %w", spec.Name, one.name, err)}
		}
		*one.target = made
	}
	return all, nil
}

func newProbe(name string, spec *corev1.Probe, container *corev1.Container, address netip.Addr) (*probe, error) {
	get := spec.HTTPGet
	if get == nil {
		return nil, errors.New("only httpGet is modelled")
	}
	port, err := portNumber(get.Port, container)
	if err != nil {
		return nil, err
	}
	host := address.String()
	if get.Host != "" {
		host = get.Host
	}
	p := &probe{
		name: name,
		url: strings.ToLower(string(get.Scheme)) + "://" + net.JoinHostPort(host, strconv.Itoa(port)) +
			"/" + strings.TrimPrefix(get.Path, "/"),
		headers:   http.Header{"User-Agent": {"kube-probe/controlplane"}, "Connection": {"close"}},
		delay:     time.Duration(spec.InitialDelaySeconds) * time.Second,
		period:    time.Duration(spec.PeriodSeconds) * time.Second,
		timeout:   time.Duration(spec.TimeoutSeconds) * time.Second,
		successes: int(spec.SuccessThreshold),
		failures:  int(spec.FailureThreshold),
	}
	for _, header := range get.HTTPHeaders {
		if strings.EqualFold(header.Name, "Host") {
			p.host = header.Value
		}
		p.headers.Add(header.Name, header.Value)
	}
	return p, nil
}

func portNumber(port intstr.IntOrString, container *corev1.Container) (int, error) {
	if port.Type == intstr.Int {
		return port.IntValue(), nil
	}
	for _, named := range container.Ports {
		if named.Name == port.StrVal {
			return int(named.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("the container has no port named %q", port.StrVal)
}

// try asks once.
func (p *probe) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	request.Header, request.Host = p.headers.Clone(), p.host
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // As the kubelet does.
		DisableKeepAlives: true,
	}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("%s: GET %s: %s", p.name, p.url, response.Status)
	}
	return nil
}

// follow probes in the probe's rhythm and calls `judge` whenever enough results in a row agree, until that returns false or
// the context ends. It hands every failure to `failed`.
func (p *probe) follow(ctx context.Context, failed func(error), judge func(success bool) bool) {
	successes, failures := 0, 0
	timer := time.NewTimer(p.delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(p.period)
		err := p.try(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failed(err)
			successes, failures = 0, failures+1
		default:
			successes, failures = successes+1, 0
		}
		if successes >= p.successes || failures >= p.failures {
			if !judge(err == nil) {
				return
			}
		}
	}
}

// health is what the probes of one process have found.
type health struct {
	probes  probes
	changed func() // Called when one of the following is different.

	mutex       sync.Mutex
	isStarted   bool
	isReady     bool
	isHopeless  bool
	lastFailure error
}

func newHealth(all probes, changed func()) *health {
	return &health{probes: all, changed: changed, isStarted: all.startup == nil, isReady: all.readiness == nil}
}

func (h *health) started() bool  { return h.read(&h.isStarted) }
func (h *health) ready() bool    { return h.read(&h.isReady) }
func (h *health) hopeless() bool { return h.read(&h.isHopeless) }

func (h *health) lastError() error {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return h.lastFailure
}

func (h *health) read(flag *bool) bool {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	return *flag
}

func (h *health) set(flag *bool, value bool) {
	h.mutex.Lock()
	different := *flag != value
	*flag = value
	h.mutex.Unlock()
	if different {
		h.changed()
	}
}

func (h *health) note(err error) {
	h.mutex.Lock()
	defer h.mutex.Unlock()
	h.lastFailure = err
}

// run probes until the context ends. Liveness and readiness wait for the startup probe.
func (h *health) run(ctx context.Context) {
	if startup := h.probes.startup; startup != nil {
		judged, success := false, false
		startup.follow(ctx, h.note, func(ok bool) bool {
			judged, success = true, ok
			return false
		})
		if !judged {
			return
		}
		if !success {
			h.set(&h.isHopeless, true)
			return
		}
		h.set(&h.isStarted, true)
	}
	var both sync.WaitGroup
	defer both.Wait()
	if liveness := h.probes.liveness; liveness != nil {
		both.Go(func() {
			liveness.follow(ctx, h.note, func(ok bool) bool {
				h.set(&h.isHopeless, !ok)
				return ok
			})
		})
	}
	if readiness := h.probes.readiness; readiness != nil {
		both.Go(func() {
			readiness.follow(ctx, h.note, func(ok bool) bool {
				h.set(&h.isReady, ok)
				return true
			})
		})
	}
}
