#include "sandbox/rest.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "kube/meta.h"
#include "sandbox/conversion.h"

namespace tidewright::sandbox {
namespace {

using base::Code;
using base::Json;

constexpr const char* kCrd = R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
  "metadata":{"name":"widgets.example.com"},"spec":{"group":"example.com","scope":"Namespaced",
  "names":{"plural":"widgets","kind":"Widget","shortNames":["wd"]},
  "versions":[{"name":"v1","served":true,"storage":true,
    "subresources":{"status":{},"scale":{"specReplicasPath":".spec.size","statusReplicasPath":".status.size"}},
    "schema":{"openAPIV3Schema":{"type":"object","properties":{
      "spec":{"type":"object","required":["color"],"properties":{"size":{"type":"integer","minimum":0,"default":1},
        "color":{"type":"string","enum":["red","blue"]}}},
      "status":{"type":"object","properties":{"size":{"type":"integer"}}}}}}}]}})";

class RestTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(Create("", "v1", "namespaces", "", R"({"metadata":{"name":"shop"}})").ok()); }
  ResourceTypePtr Type(const char* group, const char* version, const char* plural) {
    return registry_.Find(group, version, plural);
  }
  base::Result<ObjectPtr> Create(const char* group, const char* version, const char* plural, const std::string& ns,
                                 const std::string& text) {
    Json object = *base::ParseJson(text);
    context_ = WriteContext();
    context_.field_validation = FieldValidation::kStrict;
    return rest_.Create({Type(group, version, plural), ns, kube::NameOf(object)}, object, context_);
  }
  base::Result<ObjectPtr> Deployment(const std::string& name, const std::string& extra = "") {
    return Create("apps", "v1", "deployments", "shop",
                  R"({"metadata":{"name":")" + name + R"("},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{
                  "metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}})" +
                      extra + "}}");
  }
  ObjectRef Ref(const std::string& name) { return {Type("apps", "v1", "deployments"), "shop", name}; }

  base::FakeClock clock_{1'700'000'000'000};
  Store store_{clock_};
  ResourceRegistry registry_;
  Rest rest_{store_, registry_};
  WriteContext context_;
};

TEST_F(RestTest, DefaultsDeployments) {
  auto created = Deployment("web");
  ASSERT_TRUE(created.ok()) << created.status().ToString();
  const Json& spec = (*created)->json["spec"];
  EXPECT_EQ(spec["replicas"], 1);
  EXPECT_EQ(spec["strategy"]["rollingUpdate"]["maxSurge"], "25%");
  EXPECT_EQ(spec["template"]["spec"]["containers"][0]["imagePullPolicy"], "Always");
}

struct InvalidCase {
  const char* name;
  const char* plural;
  const char* text;
  const char* want;
};

TEST_F(RestTest, RefusesInvalidObjectsWithCauses) {
  const InvalidCase rows[] = {
      {"no_containers", "deployments",
       R"({"metadata":{"name":"w"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}}}}})",
       "Deployment.apps \"w\" is invalid: spec.template.spec.containers: Required value"},
      {"negative", "replicasets",
       R"({"metadata":{"name":"w"},"spec":{"replicas":-1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":
          {"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})",
       "ReplicaSet.apps \"w\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"},
  };
  for (const InvalidCase& row : rows) {
    auto created = Create("apps", "v1", row.plural, "shop", row.text);
    EXPECT_EQ(created.status().code(), Code::kFailedPrecondition) << row.name;
    EXPECT_EQ(created.status().message(), row.want) << row.name;
    EXPECT_EQ(context_.causes.size(), 1u) << row.name;
  }
  auto bad_name = Create("", "v1", "configmaps", "shop", R"({"metadata":{"name":"Not_DNS"}})");
  EXPECT_EQ(bad_name.status().code(), Code::kFailedPrecondition);
}

TEST_F(RestTest, NeedsTheNamespace) {
  auto created = Create("", "v1", "configmaps", "nowhere", R"({"metadata":{"name":"c"}})");
  EXPECT_EQ(created.status().code(), Code::kNotFound);
  EXPECT_EQ(created.status().message(), "namespaces \"nowhere\" not found");
}

TEST_F(RestTest, IsolatesSpecAndStatus) {
  ASSERT_TRUE(Deployment("web").ok());
  Json body = {{"spec", {{"replicas", 7}}}, {"status", {{"replicas", 5}}}};
  ASSERT_TRUE(rest_.Patch(Ref("web"), "status", PatchKind::kMerge, body, context_).ok());
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["spec"]["replicas"], 1);
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["status"]["replicas"], 5);
  body["status"]["replicas"] = 6;
  ASSERT_TRUE(rest_.Patch(Ref("web"), "", PatchKind::kMerge, body, context_).ok());
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["spec"]["replicas"], 7);
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["status"]["replicas"], 5);
}

TEST_F(RestTest, ScaleReadsWritesAndConflicts) {
  ASSERT_TRUE(Deployment("web").ok());
  Json scale = *rest_.GetScale(Ref("web"));
  EXPECT_EQ(scale["status"]["selector"], "a=b");
  Json patch = {{"metadata", {{"resourceVersion", scale["metadata"]["resourceVersion"]}}}, {"spec", {{"replicas", 4}}}};
  ASSERT_TRUE(rest_.PatchScale(Ref("web"), PatchKind::kMerge, patch, context_).ok());
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["spec"]["replicas"], 4);
  patch["spec"]["replicas"] = 9;
  EXPECT_EQ(rest_.PatchScale(Ref("web"), PatchKind::kMerge, patch, context_).status().code(), Code::kAborted);
  EXPECT_EQ((*rest_.Get(Ref("web")))->json["spec"]["replicas"], 4);
  Json negative = {{"spec", {{"replicas", -1}}}};
  EXPECT_EQ(rest_.PatchScale(Ref("web"), PatchKind::kMerge, negative, context_).status().code(),
            Code::kFailedPrecondition);
}

TEST_F(RestTest, DryRunKeepsNothing) {
  context_.dry_run = true;
  Json object = {{"metadata", {{"name", "c"}}}};
  ASSERT_TRUE(rest_.Create({Type("", "v1", "configmaps"), "shop", "c"}, object, context_).ok());
  EXPECT_EQ(store_.Get("configmaps", "shop", "c"), nullptr);
}

TEST_F(RestTest, DeletingAnOwnerDeletesItsDependents) {
  auto owner = Deployment("web");
  Json dependent = {{"metadata",
                     {{"name", "child"},
                      {"ownerReferences", Json::array({{{"uid", kube::UidOf((*owner)->json)}, {"name", "web"}}})}}}};
  ASSERT_TRUE(Create("", "v1", "configmaps", "shop", dependent.dump()).ok());
  ASSERT_TRUE(rest_.Delete(Ref("web"), DeleteOptions(), context_).ok());
  EXPECT_EQ(store_.Get("configmaps", "shop", "child"), nullptr);
}

TEST_F(RestTest, OrphansSurvive) {
  auto owner = Deployment("web");
  Json dependent = {{"metadata",
                     {{"name", "child"},
                      {"ownerReferences", Json::array({{{"uid", kube::UidOf((*owner)->json)}, {"name", "web"}}})}}}};
  ASSERT_TRUE(Create("", "v1", "configmaps", "shop", dependent.dump()).ok());
  DeleteOptions options;
  options.propagation = Propagation::kOrphan;
  ASSERT_TRUE(rest_.Delete(Ref("web"), options, context_).ok());
  rest_.CollectGarbage();
  ASSERT_NE(store_.Get("configmaps", "shop", "child"), nullptr);
  EXPECT_FALSE(store_.Get("configmaps", "shop", "child")->json["metadata"].contains("ownerReferences"));
}

TEST_F(RestTest, ForegroundDeletionWaitsForFinalizersOfDependents) {
  auto owner = Deployment("web");
  Json dependent = {{"metadata",
                     {{"name", "child"},
                      {"finalizers", Json::array({"hold"})},
                      {"ownerReferences", Json::array({{{"uid", kube::UidOf((*owner)->json)}, {"name", "web"}}})}}}};
  ASSERT_TRUE(Create("", "v1", "configmaps", "shop", dependent.dump()).ok());
  DeleteOptions options;
  options.propagation = Propagation::kForeground;
  ASSERT_TRUE(rest_.Delete(Ref("web"), options, context_).ok());
  ASSERT_TRUE(rest_.Get(Ref("web")).ok());
  Json release = {{"metadata", {{"finalizers", nullptr}}}};
  ASSERT_TRUE(
      rest_.Patch({Type("", "v1", "configmaps"), "shop", "child"}, "", PatchKind::kMerge, release, context_).ok());
  rest_.CollectGarbage();
  EXPECT_FALSE(rest_.Get(Ref("web")).ok());
}

TEST_F(RestTest, DeletingANamespaceEmptiesIt) {
  ASSERT_TRUE(Deployment("web").ok());
  ASSERT_TRUE(rest_.Delete({Type("", "v1", "namespaces"), "", "shop"}, DeleteOptions(), context_).ok());
  EXPECT_EQ(store_.Get("namespaces", "", "shop"), nullptr);
  EXPECT_FALSE(rest_.Get(Ref("web")).ok());
}

TEST_F(RestTest, CrdServesValidatesAndScales) {
  ASSERT_TRUE(Create("apiextensions.k8s.io", "v1", "customresourcedefinitions", "", kCrd).ok());
  auto wrong = Create("example.com", "v1", "widgets", "shop", R"({"metadata":{"name":"w"},"spec":{"color":"green"}})");
  EXPECT_EQ(wrong.status().message(),
            "Widget.example.com \"w\" is invalid: spec.color: Unsupported value: \"green\": supported values: \"red\", "
            "\"blue\"");
  auto typo =
      Create("example.com", "v1", "widgets", "shop", R"({"metadata":{"name":"w"},"spec":{"color":"red","colr":1}})");
  EXPECT_EQ(typo.status().code(), Code::kInvalidArgument);
  EXPECT_NE(typo.status().message().find("unknown field \"spec.colr\""), std::string::npos);
  auto widget = Create("example.com", "v1", "widgets", "shop", R"({"metadata":{"name":"w"},"spec":{"color":"red"}})");
  ASSERT_TRUE(widget.ok()) << widget.status().ToString();
  EXPECT_EQ((*widget)->json["spec"]["size"], 1);
  ObjectRef ref{Type("example.com", "v1", "widgets"), "shop", "w"};
  ASSERT_TRUE(rest_.UpdateScale(ref, Json{{"spec", {{"replicas", 6}}}}, context_).ok());
  EXPECT_EQ((*rest_.Get(ref))->json["spec"]["size"], 6);
  ASSERT_TRUE(rest_
                  .Delete({Type("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "", "widgets.example.com"},
                          DeleteOptions(), context_)
                  .ok());
  EXPECT_EQ(Type("example.com", "v1", "widgets"), nullptr);
  EXPECT_EQ(store_.Get("widgets.example.com", "shop", "w"), nullptr);
}

TEST_F(RestTest, HpaV1AndV2AreOneObject) {
  ASSERT_TRUE(Create("autoscaling", "v1", "horizontalpodautoscalers", "shop",
                     R"({"metadata":{"name":"h"},"spec":{"maxReplicas":5,"targetCPUUtilizationPercentage":70,
                         "scaleTargetRef":{"kind":"Deployment","name":"web","apiVersion":"apps/v1"}}})")
                  .ok());
  ObjectPtr stored = store_.Get("horizontalpodautoscalers.autoscaling", "shop", "h");
  ASSERT_NE(stored, nullptr);
  EXPECT_EQ(stored->json["apiVersion"], "autoscaling/v2");
  EXPECT_EQ(stored->json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
  Json v1 = FromStorage(*Type("autoscaling", "v1", "horizontalpodautoscalers"), stored->json);
  EXPECT_EQ(v1["spec"]["targetCPUUtilizationPercentage"], 70);
}

TEST_F(RestTest, SelectorsFilter) {
  ASSERT_TRUE(Create("", "v1", "configmaps", "shop", R"({"metadata":{"name":"a","labels":{"tier":"x"}}})").ok());
  ASSERT_TRUE(Create("", "v1", "configmaps", "shop", R"({"metadata":{"name":"b","labels":{"tier":"y"}}})").ok());
  ResourceTypePtr type = Type("", "v1", "configmaps");
  auto names = [&](const char* labels, const char* fields) {
    std::string out;
    auto filter = ObjectFilter::Parse(*type, labels, fields);
    if (!filter.ok()) return std::string("error");
    for (const ObjectPtr& object : rest_.List(*type, "shop", *filter, nullptr)) out += kube::NameOf(object->json);
    return out;
  };
  EXPECT_EQ(names("", ""), "ab");
  EXPECT_EQ(names("tier=x", ""), "a");
  EXPECT_EQ(names("tier in (x,y)", "metadata.name!=a"), "b");
  EXPECT_EQ(names("", "metadata.name=b,metadata.namespace=shop"), "b");
  EXPECT_EQ(names("", "spec.secret=1"), "error");
}

TEST_F(RestTest, ServicesGetDistinctAddresses) {
  auto a = Create("", "v1", "services", "shop", R"({"metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}})");
  auto b = Create("", "v1", "services", "shop", R"({"metadata":{"name":"b"},"spec":{"ports":[{"port":80}]}})");
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ((*a)->json["spec"]["clusterIP"], "127.20.0.1");
  EXPECT_EQ((*b)->json["spec"]["clusterIP"], "127.20.0.2");
}

TEST_F(RestTest, ReviewsAllow) {
  auto review = Create("authorization.k8s.io", "v1", "subjectaccessreviews", "", R"({"spec":{"user":"x"}})");
  ASSERT_TRUE(review.ok());
  EXPECT_EQ((*review)->json["status"]["allowed"], true);
  auto anonymous = Create("authentication.k8s.io", "v1", "tokenreviews", "", R"({"spec":{}})");
  EXPECT_EQ((*anonymous)->json["status"]["authenticated"], false);
}

}  // namespace
}  // namespace tidewright::sandbox
