// The chart's permissions against what the program asks for, in both directions. That Kubernetes understands them in
// the same way is shown in tests/e2e/controlplane.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/document.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "cmd/control_plane.h"
#include "sandbox/sandbox.h"
#include "tests/eventually.h"
#include "tests/integration/intercepted_client.h"

namespace tidewright::cmd {
namespace {

using base::Json;

constexpr char kRelease[] = "tidewright";

// As the chart makes it, without a caBundle.
constexpr char kApiServiceOfTheChart[] = R"(
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta2.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 200
  service: {name: tidewright, namespace: default, port: 443}
)";

// The sandbox has no Jobs of its own.
constexpr char kJobDefinition[] = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: jobs.batch}
spec:
  group: batch
  scope: Namespaced
  names: {kind: Job, listKind: JobList, plural: jobs, singular: job}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
)";

// One Job that always runs; with another image, another one takes its place.
constexpr char kScaledJob[] = R"(
apiVersion: GROUP/v1alpha1
kind: ScaledJob
metadata: {name: import, namespace: shop}
spec:
  pollingInterval: 1
  minReplicaCount: 1
  jobTargetRef: {template: {spec: {containers: [{name: main, image: IMAGE}]}}}
  triggers:
    - {type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: '1'}}
)";

// A ScaledObject and a workload of its own.
constexpr char kKeptHpa[] = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: kept, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: kept}}
  template: {metadata: {labels: {app: kept}}, spec: {containers: [{name: main, image: x}]}}
---
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: kept, namespace: shop}
spec:
  scalingMode: MODE
  scaleTargetRef: {name: kept}
  pollingInterval: 1
  minReplicaCount: 1
  maxReplicaCount: MOST
  triggers:
    - {type: cron, metadata: {timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: '1'}}
)";

constexpr char kService[] = R"(
apiVersion: v1
kind: Service
metadata: {name: tidewright}
spec: {ports: [{name: https, port: 443, targetPort: PORT}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: tidewright}
subsets: [{addresses: [{ip: 127.0.0.1}], ports: [{name: https, port: PORT}]}]
)";

// A trigger with a password from a Secret, and replicas that are restored when the object goes.
constexpr char kObjectWithCredentials[] = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: NAME}}
  template: {metadata: {labels: {app: NAME}}, spec: {containers: [{name: main, image: x}]}}
---
apiVersion: v1
kind: Secret
metadata: {name: NAME}
data: {password: c2VjcmV0}
---
apiVersion: GROUP/v1alpha1
kind: TriggerAuthentication
metadata: {name: NAME}
spec: {secretTargetRef: [{parameter: password, name: NAME, key: password}]}
---
apiVersion: GROUP/v1alpha1
kind: ScaledObject
metadata: {name: NAME}
spec:
  scaleTargetRef: {name: NAME}
  pollingInterval: 1
  advanced: {restoreToOriginalReplicaCount: true}
  triggers:
    - type: redis
      authenticationRef: {name: NAME}
      metadata: {address: "127.0.0.1:1", listName: l, listLength: "1"}
)";

constexpr char kHpaOnCpu[] = R"(
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: cpu, namespace: ingress-nginx}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: ingress-nginx-controller}
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 1}}}]
)";

constexpr char kPaused[] = R"(
apiVersion: tidewright.dev/v1alpha1
kind: ScaledObject
metadata: {name: back-office, namespace: shop, annotations: {autoscaling.keda.sh/paused: "PAUSED"}}
)";

std::string ReplaceAll(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string ReadSource(const std::string& path) {
  auto text = base::ReadFile(TIDEWRIGHT_SOURCE_DIR "/" + path);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  return text.ok() ? *text : "";
}

// One verb of a rule, of the documents that grant something to the program.
struct Grant {
  std::string text;  // The rule, for messages.
  std::string verb;
  std::set<std::string> groups, resources, names;

  bool Allows(const std::string& wanted, const std::string& group, const std::string& resource,
              const std::string& name) const {
    bool named = names.empty() || names.count(name) > 0;
    return verb == wanted && groups.count(group) > 0 && (resources.count(resource) > 0 || resources.count("*") > 0) &&
           named;
  }
};

std::set<std::string> Texts(const Json& rule, const char* member) {
  std::set<std::string> texts;
  const Json* list = base::Find(rule, {member});
  if (list == nullptr || !list->is_array()) return texts;
  for (const Json& text : *list) texts.insert(text.get<std::string>());
  return texts;
}

// The rules with every condition taken for true. Lines of template syntax alone go; the values' own lists, which are
// empty unless somebody fills them, go with them.
std::vector<Grant> ChartGrants() {
  std::string text;
  for (const std::string& line : base::Split(ReadSource("charts/tidewright/templates/rbac.yaml"), '\n')) {
    if (!base::TrimSpace(line).starts_with("{{")) text += line + "\n";
  }
  text = ReplaceAll(text, "{{ .Release.Name | quote }}", kRelease);
  text = ReplaceAll(text, "{{ .Release.Name }}", kRelease);
  text = ReplaceAll(text, "{{ .Release.Namespace }}", "default");
  text = ReplaceAll(text, "      - {{ . }}\n", "");
  text = ReplaceAll(text, "      - {{ . }}/scale\n", "");
  std::vector<Grant> grants;
  for (const std::string& document : base::Split(ReplaceAll(text, "\n---\n", "\x01"), '\x01')) {
    auto tree = base::ParseYaml(document, "rbac.yaml");
    EXPECT_TRUE(tree.ok()) << tree.status().ToString();
    if (!tree.ok()) continue;
    Json object = base::NodeToJson(*tree);
    if (base::FindString(object, {"metadata", "name"}) != kRelease) continue;
    const Json* rules = base::Find(object, {"rules"});
    if (rules == nullptr) continue;
    for (const Json& rule : *rules) {
      for (const std::string& verb : Texts(rule, "verbs")) {
        Grant grant{base::DumpJson(rule), verb, Texts(rule, "apiGroups"), Texts(rule, "resources"),
                    Texts(rule, "resourceNames")};
        if (!grant.groups.empty()) grants.push_back(std::move(grant));
      }
    }
  }
  return grants;
}

// A request for a metric, as RBAC sees it.
void ReadMetricPath(const std::string& path, std::string* verb, std::string* group, std::string* resource) {
  std::vector<std::string> parts = base::Split(path.substr(0, path.find('?')), '/');  // "", apis, group, version, ...
  *group = parts[2];
  parts.erase(parts.begin(), parts.begin() + 4);
  if (parts.size() > 2 && parts[0] == "namespaces") parts.erase(parts.begin(), parts.begin() + 2);
  *resource = parts[0] + (parts.size() > 2 ? "/" + parts[2] : "");
  *verb = parts.size() > 1 ? "get" : "list";
}

class PermissionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(sandbox_.Start().ok());
    for (const char* path : {"charts/tidewright/crds", "examples/web-shop", "examples/queue-worker",
                             "examples/office-hours", "examples/ingress-nginx"}) {
      base::Status applied = sandbox_.ApplyPath(std::string(TIDEWRIGHT_SOURCE_DIR "/") + path);
      ASSERT_TRUE(applied.ok()) << applied.ToString();
    }
    Apply(kJobDefinition);
    for (const char* crd : {"scaledobjects", "scaledjobs", "triggerauthentications"}) {
      Apply(
          ReplaceAll(ReadSource(std::string("charts/tidewright/crds/") + crd + ".yaml"), "tidewright.dev", "keda.sh"));
    }
    std::string monitors = ReadSource("charts/tidewright/crds/scaledobjects.yaml");
    for (auto [from, to] : {std::pair("scaledobject", "servicemonitor"),
                            {"ScaledObject", "ServiceMonitor"},
                            {"tidewright.dev", "monitoring.coreos.com"},
                            {"v1alpha1", "v1"}}) {
      monitors = ReplaceAll(monitors, from, to);
    }
    Apply(monitors);
    kube::ClientConfig config;
    config.server = sandbox_.Url();
    api_ = *kube::NewClient(config);
    client_ = std::make_unique<testing::InterceptedClient>(*api_);
    client_->after = [this](const testing::Call& call, const base::Status&) { Note(call); };
  }

  void TearDown() override {
    if (plane_ != nullptr) plane_->Stop();
    sandbox_.Stop();
  }

  void Apply(const std::string& manifest) {
    base::Status applied = sandbox_.ApplyManifests(manifest, "test");
    ASSERT_TRUE(applied.ok()) << applied.ToString();
  }

  ControlPlaneOptions Options() {
    ControlPlaneOptions options;
    options.config_file = folder_.path() + "/prometheus.yml";
    std::string jobs = ReadSource("examples/tidewright/prometheus.yml");
    for (const char* role : {"node", "service", "endpoints", "endpointslice", "ingress"}) {
      jobs += std::string("\n  - {job_name: ") + role + ", kubernetes_sd_configs: [{role: " + role +
              "}], relabel_configs: [{action: drop, regex: .*}]}\n";
    }
    EXPECT_TRUE(base::WriteFileAtomic(options.config_file, jobs).ok());
    options.adapter_file = folder_.path() + "/adapter.yaml";
    EXPECT_TRUE(base::WriteFileAtomic(options.adapter_file, ReadSource("examples/tidewright/adapter.yaml")).ok());
    options.web_address = options.api_address = "127.0.0.1";
    options.web_port = options.api_port = 0;
    options.service_ns = options.leader_election.ns = "default";
    options.ca_secret = "tidewright-ca";
    options.leader_elect = true;
    options.leader_election.name = kRelease;
    options.leader_election.identity = "one";
    options.hpa_controller = options.watch_keda = true;
    options.hpa_sync_period_ms = options.relist_interval_ms = 1'000;
    options.resolve_host = [this](const std::string& host) {
      auto address = sandbox_.ResolveHost(host);
      return address.ok() ? *address : host;
    };
    return options;
  }

  static std::string ReadSpec(const std::string& path) {
    std::string text = ReadSource(path);
    return text.substr(std::min(text.find("spec:"), text.size()));
  }
  bool IsPaused(const std::string& name) {
    auto object = api_->Get(kube::resources::kScaledObjects, "shop", name);
    if (!object.ok()) return false;
    for (const scaler::ConditionStatus& condition : scaler::ConditionsOf(*object)) {
      if (condition.type == "Paused") return condition.status == "True";
    }
    return false;
  }

  // maxReplicas of the HPA that kKeptHpa keeps; "" when there is none.
  std::string MaxOfHpa() {
    auto hpa = api_->Get(kube::resources::kHorizontalPodAutoscalers, "shop", "keda-hpa-kept");
    return hpa.ok() ? std::to_string(base::FindInt(*hpa, {"spec", "maxReplicas"})) : "";
  }
  // Whether a Job of the image runs for the ScaledJob of the group, and no other one.
  bool JobOf(const std::string& group, const std::string& image) {
    auto jobs = api_->List(kube::resources::kJobs, "shop");
    int right = 0, wrong = 0;
    for (const Json& job : jobs.ok() ? (*jobs)["items"] : Json::array()) {
      if (!job["metadata"]["ownerReferences"][0]["apiVersion"].get<std::string>().starts_with(group + "/")) continue;
      ++(job["spec"]["template"]["spec"]["containers"][0]["image"] == image ? right : wrong);
    }
    return right == 1 && wrong == 0;
  }

  void Note(const testing::Call& call) {
    std::string verb = call.verb, group = call.resource.group, resource = call.resource.plural;
    if (verb == "raw") {
      // Everyone may read discovery documents.
      if (call.name.find("metrics.k8s.io/v1") == std::string::npos || base::Split(call.name, '/').size() < 5) return;
      ReadMetricPath(call.name, &verb, &group, &resource);
    } else if (!call.subresource.empty()) {
      resource += "/" + call.subresource;
    }
    // Granted by system:auth-delegator and extension-apiserver-authentication-reader.
    bool by_others = resource == "tokenreviews" || resource == "subjectaccessreviews" ||
                     (resource == "configmaps" && call.ns == "kube-system");
    if (by_others) return;
    bool allowed = false;
    base::MutexLock lock(mu_);
    for (size_t i = 0; i < grants_.size(); ++i) {
      if (!grants_[i].Allows(verb, group, resource, call.name)) continue;
      allowed = true;
      used_.insert(i);
    }
    if (!allowed) refused_.insert(verb + " " + resource + "." + group + " " + call.name);
  }

  // Runs a replica that follows a part of the objects until it has done what that takes.
  void ShareObjects(ControlPlaneOptions options) {
    options.scaler_shards = 2;
    options.hpa_controller = false;  // Which does not go with it.
    base::MetricRegistry metrics;
    ControlPlane replica(options, client_.get(), clock_, clock_, metrics);
    base::Status started = replica.Start();
    ASSERT_TRUE(started.ok()) << started.ToString();
    auto unused = [this](const std::string& verb) {
      for (const std::string& grant : Unused()) {
        if (grant.starts_with(verb + " of") && grant.find("\"leases\"") != std::string::npos) return true;
      }
      return false;
    };
    for (const char* verb : {"list", "update", "patch"}) {
      EXPECT_TRUE(Eventually([&] { return !unused(verb); })) << verb;
    }
    replica.Stop();
    EXPECT_FALSE(unused("delete")) << "of its own Lease, with which the others know that it is gone";
  }

  std::set<std::string> Unused() {
    base::MutexLock lock(mu_);
    std::set<std::string> unused;
    for (size_t i = 0; i < grants_.size(); ++i) {
      // The kubelet asks about this one.
      if (used_.count(i) == 0 && grants_[i].resources.count("nodes/metrics") == 0) {
        unused.insert(grants_[i].verb + " of " + grants_[i].text);
      }
    }
    return unused;
  }
  std::set<std::string> Refused() {
    base::MutexLock lock(mu_);
    return refused_;
  }

  base::Clock& clock_ = base::SystemClock::Get();
  base::TempDir folder_ = *base::TempDir::Create("tidewright-permissions");
  sandbox::Sandbox sandbox_{{}, clock_};
  const std::vector<Grant> grants_ = ChartGrants();
  base::Mutex mu_;
  std::set<size_t> used_ GUARDED_BY(mu_);
  std::set<std::string> refused_ GUARDED_BY(mu_);
  std::unique_ptr<kube::Client> api_;
  std::unique_ptr<testing::InterceptedClient> client_;
  base::MetricRegistry metrics_;
  std::unique_ptr<ControlPlane> plane_;
};

// Everything that the program can do is switched on, and done once: first as one of several replicas that share the
// objects, then as the leader.
TEST_F(PermissionsTest, TheChartGrantsWhatIsAskedForAndNothingElse) {
  if (!base::HaveProgram("redis-server")) GTEST_SKIP() << "redis-server is not installed";
  ASSERT_GT(grants_.size(), 20U);
  ControlPlaneOptions options = Options();
  Apply(kApiServiceOfTheChart);
  ShareObjects(options);
  plane_ = std::make_unique<ControlPlane>(options, client_.get(), clock_, clock_, metrics_);
  base::Status started = plane_->Start();
  ASSERT_TRUE(started.ok()) << started.ToString();
  Apply(ReplaceAll(kService, "PORT", std::to_string(plane_->api_port())));
  for (auto [name, group] : {std::pair("own", "tidewright.dev"), {"keda", "keda.sh"}}) {
    Apply(ReplaceAll(ReplaceAll(kObjectWithCredentials, "NAME", name), "GROUP", group));
  }
  Apply(kHpaOnCpu);
  for (const char* mode : {"hpa", "direct"}) {
    for (const char* most : {"3", "4"}) {
      Apply(ReplaceAll(ReplaceAll(kKeptHpa, "MODE", mode), "MOST", most));
      EXPECT_TRUE(Eventually([&] { return MaxOfHpa() == (std::string(mode) == "hpa" ? most : ""); })) << mode << most;
    }
  }
  for (const char* group : {"tidewright.dev", "keda.sh"}) {
    for (const char* image : {"one", "two"}) {
      Apply(ReplaceAll(ReplaceAll(kScaledJob, "GROUP", group), "IMAGE", image));
      EXPECT_TRUE(Eventually([&] { return JobOf(group, image); })) << group << ": " << image;
    }
  }
  for (const char* paused : {"true", "false", "true"}) {  // The same event twice.
    Apply(ReplaceAll(kPaused, "PAUSED", paused) + ReadSpec("examples/office-hours/scaledobject.yaml"));
    EXPECT_TRUE(Eventually([&] { return IsPaused("back-office") == (std::string(paused) == "true"); }));
  }
  EXPECT_TRUE(
      Eventually([&] { return api_->Get(kube::resources::kApiServices, "", "v1beta1.external.metrics.k8s.io").ok(); }));
  EXPECT_TRUE(Eventually([&] { return Unused().size() <= 1; })) << ::testing::PrintToString(Unused());
  // An API that is served no more.
  std::string rules = ReadSource("examples/tidewright/adapter.yaml");
  ASSERT_TRUE(base::WriteFileAtomic(options.adapter_file, rules.substr(0, rules.find("externalRules:"))).ok());
  EXPECT_TRUE(plane_->Reload().ok());
  EXPECT_TRUE(Eventually([&] { return Unused().empty(); })) << ::testing::PrintToString(Unused());
  EXPECT_EQ(Refused(), std::set<std::string>());
}

}  // namespace
}  // namespace tidewright::cmd
