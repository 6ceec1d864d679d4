// The real kubectl against the sandbox: what it prints is what users see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "base/file.h"
#include "sandbox/sandbox.h"

namespace tidewright::sandbox {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kManifest = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {sandbox.tidewright.dev/startup-delay: 200ms}
    spec:
      containers:
      - {name: c, image: "web:1", ports: [{name: metrics, containerPort: 8080}]}
)";

constexpr const char* kWidgets = R"(
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Color, type: string, jsonPath: .spec.color}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            description: What the widget should be.
            properties: {color: {type: string, enum: [red, blue]}}
)";

// One sandbox for all tests: they use objects of their own.
class KubectlTest : public testing::Test {
 protected:
  struct Output {
    int code;
    std::string text;
  };
  static void SetUpTestSuite() {
    if (!base::HaveProgram("kubectl")) return;
    folder_ = new base::TempDir(*base::TempDir::Create("kubectl-test"));
    SandboxOptions options;
    options.run_redis = false;
    options.cluster.kubelet_port = 0;
    options.cluster.termination_ms = 100;
    sandbox_ = new Sandbox(options, base::SystemClock::Get());
    ASSERT_TRUE(sandbox_->Start().ok());
    ASSERT_TRUE(sandbox_->api().WriteKubeconfig(folder_->path() + "/config").ok());
  }
  static void TearDownTestSuite() {
    delete sandbox_;
    delete folder_;
    sandbox_ = nullptr;
    folder_ = nullptr;
  }
  void SetUp() override {
    if (sandbox_ == nullptr) GTEST_SKIP() << "kubectl is not installed";
  }
  Output Kubectl(std::vector<std::string> arguments) {
    static int count = 0;
    const std::string log = folder_->path() + "/out" + std::to_string(count++);
    arguments.insert(arguments.begin(),
                     {"kubectl", "--cache-dir=" + folder_->path() + "/cache", "--request-timeout=20s"});
    auto child = base::Subprocess::Start(arguments, log, {{"KUBECONFIG", folder_->path() + "/config"}});
    EXPECT_TRUE(child.ok());
    const int code = child->Wait();
    return {code, *base::ReadFile(log)};
  }
  std::string Ok(std::vector<std::string> arguments) {
    Output output = Kubectl(std::move(arguments));
    EXPECT_EQ(output.code, 0) << output.text;
    return output.text;
  }
  std::string Write(const std::string& name, const std::string& text) {
    EXPECT_TRUE(base::WriteFileAtomic(folder_->path() + "/" + name, text).ok());
    return folder_->path() + "/" + name;
  }

  static base::TempDir* folder_;
  static Sandbox* sandbox_;
};

base::TempDir* KubectlTest::folder_ = nullptr;
Sandbox* KubectlTest::sandbox_ = nullptr;

TEST_F(KubectlTest, AppliesRollsOutScalesPatchesAndDeletes) {
  std::string file = Write("web.yaml", kManifest);
  EXPECT_THAT(Ok({"apply", "-f", file}), HasSubstr("deployment.apps/web created"));
  EXPECT_THAT(Ok({"rollout", "status", "deploy/web", "-n", "shop", "--timeout=20s"}),
              HasSubstr("successfully rolled out"));
  EXPECT_THAT(Ok({"get", "deploy", "web", "-n", "shop"}), HasSubstr("2/2"));
  EXPECT_THAT(Ok({"apply", "-f", file}), HasSubstr("deployment.apps/web unchanged"));

  std::string changed = kManifest;
  changed.replace(changed.find("web:1"), 5, "web:2");
  EXPECT_THAT(Ok({"apply", "-f", Write("web.yaml", changed)}), HasSubstr("deployment.apps/web configured"));
  Ok({"rollout", "status", "deploy/web", "-n", "shop", "--timeout=20s"});
  EXPECT_THAT(Ok({"get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].spec.containers[0].image}"}),
              HasSubstr("web:2"));
  EXPECT_THAT(Ok({"rollout", "history", "deploy/web", "-n", "shop"}), HasSubstr("2 "));

  EXPECT_THAT(Ok({"scale", "deploy/web", "-n", "shop", "--replicas=3"}), HasSubstr("scaled"));
  Ok({"wait", "--for=jsonpath={.status.readyReplicas}=3", "deploy/web", "-n", "shop", "--timeout=20s"});
  auto replicas = [&] { return Ok({"get", "deploy", "web", "-n", "shop", "-o", "jsonpath={.spec.replicas}"}); };
  Ok({"patch", "deploy", "web", "-n", "shop", "-p", R"({"spec":{"replicas":4}})"});
  EXPECT_EQ(replicas(), "4");
  Ok({"patch", "deploy", "web", "-n", "shop", "--type=merge", "-p", R"({"spec":{"replicas":5}})"});
  EXPECT_EQ(replicas(), "5");
  Ok({"patch", "deploy", "web", "-n", "shop", "--type=json", "-p",
      R"([{"op":"replace","path":"/spec/replicas","value":1}])"});
  EXPECT_EQ(replicas(), "1");
  Ok({"patch", "deploy", "web", "-n", "shop", "--subresource=scale", "--type=merge", "-p",
      R"({"spec":{"replicas":2}})"});
  EXPECT_EQ(replicas(), "2");

  std::string described = Ok({"describe", "deploy", "web", "-n", "shop"});
  EXPECT_THAT(described, HasSubstr("StrategyType:           RollingUpdate"));
  EXPECT_THAT(described, HasSubstr("ScalingReplicaSet"));
  EXPECT_THAT(Ok({"apply", "--server-side", "--force-conflicts", "-f", Write("web.yaml", changed)}),
              HasSubstr("serverside-applied"));
  EXPECT_THAT(Ok({"delete", "ns", "shop", "--timeout=20s"}), HasSubstr("deleted"));
  EXPECT_EQ(Kubectl({"get", "deploy", "web", "-n", "shop"}).code, 1);
}

TEST_F(KubectlTest, ListsWhatIsServed) {
  std::string resources = Ok({"api-resources"});
  EXPECT_THAT(resources, HasSubstr("deploy"));
  EXPECT_THAT(resources, HasSubstr("horizontalpodautoscalers"));
  EXPECT_THAT(Ok({"api-versions"}), HasSubstr("autoscaling/v2"));
  EXPECT_THAT(Ok({"get", "nodes"}), HasSubstr("sandbox-node   Ready"));
  EXPECT_THAT(Ok({"describe", "node"}), HasSubstr("Allocatable:"));
  EXPECT_THAT(Ok({"explain", "deployment"}), HasSubstr("KIND:       Deployment"));
  EXPECT_THAT(Ok({"auth", "can-i", "delete", "pods"}), HasSubstr("yes"));
}

TEST_F(KubectlTest, CreatesAndEditsByCommand) {
  Ok({"create", "namespace", "cmd"});
  Ok({"create", "configmap", "settings", "-n", "cmd", "--from-literal=a=b"});
  EXPECT_THAT(Ok({"get", "cm", "-n", "cmd"}), HasSubstr("settings   1"));
  Ok({"create", "deployment", "app", "-n", "cmd", "--image=app:1", "--replicas=0"});
  Ok({"label", "deploy/app", "-n", "cmd", "tier=web"});
  Ok({"annotate", "deploy/app", "-n", "cmd", "note=x"});
  Ok({"set", "image", "deploy/app", "-n", "cmd", "app=app:2"});
  EXPECT_THAT(Ok({"get", "deploy", "-n", "cmd", "-l", "tier=web", "-o", "wide"}), HasSubstr("app:2"));
  Ok({"autoscale", "deploy/app", "-n", "cmd", "--min=1", "--max=5", "--cpu-percent=70"});
  EXPECT_THAT(Ok({"get", "hpa", "-n", "cmd"}), HasSubstr("cpu: <unknown>/70%"));
  EXPECT_THAT(Ok({"describe", "hpa", "app", "-n", "cmd"}), HasSubstr("resource cpu on pods"));
  Ok({"create", "secret", "generic", "s", "-n", "cmd", "--from-literal=p=q"});
  EXPECT_THAT(Kubectl({"create", "configmap", "settings", "-n", "cmd"}).text,
              HasSubstr("configmaps \"settings\" already exists"));
  EXPECT_THAT(Ok({"create", "configmap", "dry", "-n", "cmd", "--dry-run=server"}),
              HasSubstr("created (server dry run)"));
  EXPECT_THAT(Ok({"get", "cm", "-n", "cmd"}), Not(HasSubstr("dry")));
}

TEST_F(KubectlTest, WatchesTables) {
  Ok({"create", "namespace", "watched"});
  Ok({"create", "configmap", "before", "-n", "watched"});
  const std::string log = folder_->path() + "/watch.log";
  auto watch = base::Subprocess::Start(
      {"kubectl", "--cache-dir=" + folder_->path() + "/cache", "get", "cm", "-n", "watched", "-w"}, log,
      {{"KUBECONFIG", folder_->path() + "/config"}});
  ASSERT_TRUE(watch.ok());
  auto has = [&](const char* name) {
    base::StopSignal never;
    for (int i = 0; i < 200; ++i) {
      auto text = base::ReadFile(log);
      if (text.ok() && text->find(name) != std::string::npos) return true;
      (void)base::SystemClock::Get().SleepFor(50, never);
    }
    return false;
  };
  ASSERT_TRUE(has("before"));
  Ok({"create", "configmap", "later", "-n", "watched"});
  EXPECT_TRUE(has("later"));
  watch->Stop();
}

TEST_F(KubectlTest, CustomResourcesAreValidatedAndPrinted) {
  Ok({"apply", "-f", Write("crd.yaml", kWidgets)});
  Ok({"wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s"});
  const std::string widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {color: red}\n";
  EXPECT_THAT(Ok({"apply", "-f", Write("w.yaml", widget)}), HasSubstr("widget.example.com/w created"));
  EXPECT_THAT(Ok({"get", "wd"}), HasSubstr("w      red"));
  EXPECT_THAT(Ok({"explain", "widget.spec"}), HasSubstr("What the widget should be."));
  std::string green = widget;
  green.replace(green.find("red"), 3, "green");
  EXPECT_THAT(
      Kubectl({"apply", "-f", Write("w.yaml", green)}).text,
      HasSubstr("The Widget \"w\" is invalid: spec.color: Unsupported value: \"green\": supported values: \"red\", "
                "\"blue\""));
  std::string typo = widget;
  typo.replace(typo.find("color"), 5, "colour");
  EXPECT_THAT(Kubectl({"apply", "-f", Write("w.yaml", typo)}).text, HasSubstr("unknown field \"spec.colour\""));
  EXPECT_THAT(Ok({"delete", "-f", Write("w.yaml", widget)}), HasSubstr("deleted"));
}

}  // namespace
}  // namespace tidewright::sandbox
