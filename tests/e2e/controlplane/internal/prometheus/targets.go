// Package prometheus says which targets Prometheus would scrape: it runs Prometheus' own Kubernetes discovery and
// relabelling. A whole Prometheus would do, but Debian's is built without that discovery, and to build one takes the
// software of every cloud.
package prometheus

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/kubernetes"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"go.yaml.in/yaml/v2"
)

// Target is one that would be scraped.
type Target struct {
	Job        string
	URL        string
	Labels     map[string]string
	Discovered map[string]string
}

// config is the part of a prometheus.yml that discovery needs.
type config struct {
	ScrapeConfigs []job `yaml:"scrape_configs"`
}

type job struct {
	Name           string                 `yaml:"job_name"`
	Kubernetes     []*kubernetes.SDConfig `yaml:"kubernetes_sd_configs"`
	RelabelConfigs []*relabel.Config      `yaml:"relabel_configs"`
}

// Scraper follows a cluster. It is safe for concurrent use.
type Scraper struct {
	jobs []*followedJob
}

type followedJob struct {
	job
	mutex  sync.Mutex
	groups map[string]*targetgroup.Group // By discovery and source.
}

// Start follows the cluster of the kubeconfig as the configuration says, until the context ends.
func Start(ctx context.Context, text, kubeconfig string) (*Scraper, error) {
	var parsed config
	if err := yaml.UnmarshalStrict([]byte(text), &parsed); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	s := &Scraper{}
	for _, one := range parsed.ScrapeConfigs {
		for _, rule := range one.RelabelConfigs {
			if err := rule.Validate(model.UTF8Validation); err != nil {
				return nil, fmt.Errorf("job %s: %w", one.Name, err)
			}
		}
		followed := &followedJob{job: one, groups: map[string]*targetgroup.Group{}}
		for i, sd := range one.Kubernetes {
			sd.KubeConfig = kubeconfig
			if err := followed.follow(ctx, fmt.Sprint(i), sd); err != nil {
				return nil, fmt.Errorf("job %s: %w", one.Name, err)
			}
		}
		s.jobs = append(s.jobs, followed)
	}
	return s, nil
}

func (f *followedJob) follow(ctx context.Context, name string, sd *kubernetes.SDConfig) error {
	metrics := sd.NewDiscovererMetrics(client.NewRegistry(), nil)
	if err := metrics.Register(); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	discoverer, err := sd.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.New(slog.DiscardHandler), Metrics: metrics})
	if err != nil {
		return fmt.Errorf("starting discovery: %w", err)
	}
	updates := make(chan []*targetgroup.Group)
	go discoverer.Run(ctx, updates)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case groups := <-updates:
				f.take(name, groups)
			}
		}
	}()
	return nil
}

func (f *followedJob) take(name string, groups []*targetgroup.Group) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for _, group := range groups {
		if group != nil {
			f.groups[name+"/"+group.Source] = group
		}
	}
}

// Targets are those of now.
func (s *Scraper) Targets() (all []Target) {
	for _, followed := range s.jobs {
		followed.mutex.Lock()
		for group := range maps.Values(followed.groups) {
			for _, one := range group.Targets {
				if target, keep := followed.target(one, group.Labels); keep {
					all = append(all, target)
				}
			}
		}
		followed.mutex.Unlock()
	}
	return all
}

// target does what the scraper does with what discovery found.
func (f *followedJob) target(own, shared model.LabelSet) (Target, bool) {
	builder := labels.NewBuilder(labels.EmptyLabels())
	for name, value := range shared.Merge(own) {
		builder.Set(string(name), string(value))
	}
	for name, value := range map[string]string{
		model.JobLabel:            f.Name,
		model.ScrapeIntervalLabel: "1m",
		model.ScrapeTimeoutLabel:  "10s",
		model.MetricsPathLabel:    "/metrics",
		model.SchemeLabel:         "http",
		// Since 3.12 relabelling may change these, too.
		"__scrape_native_histograms__":           "false",
		"__always_scrape_classic_histograms__":   "false",
		"__convert_classic_histograms_to_nhcb__": "false",
	} {
		if builder.Get(name) == "" {
			builder.Set(name, value)
		}
	}
	target := Target{Job: f.Name, Discovered: builder.Labels().Map()}
	if !relabel.ProcessBuilder(builder, f.RelabelConfigs...) || builder.Get(model.AddressLabel) == "" {
		return Target{}, false
	}
	target.URL = builder.Get(model.SchemeLabel) + "://" + builder.Get(model.AddressLabel) +
		builder.Get(model.MetricsPathLabel)
	if builder.Get(model.InstanceLabel) == "" {
		builder.Set(model.InstanceLabel, builder.Get(model.AddressLabel))
	}
	target.Labels = builder.Labels().Map()
	maps.DeleteFunc(target.Labels, func(name, _ string) bool { return strings.HasPrefix(name, model.ReservedLabelPrefix) })
	return target, true
}
