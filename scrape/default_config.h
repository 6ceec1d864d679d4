// The configuration that holds when a program in a cluster has been given none.
#pragma once

#include <string_view>

namespace tidewright::scrape {

// A prometheus.yml, with comments for people. It finds the kubelets and cAdvisor, kube-state-metrics, the ingress
// controllers nginx, traefik, envoy and haproxy, pods annotated prometheus.io/scrape: "true" (with prometheus.io/port,
// path and scheme), pods labelled log: prometheus at their port named prometheus, and this program itself.
std::string_view DefaultConfigText();

}  // namespace tidewright::scrape
