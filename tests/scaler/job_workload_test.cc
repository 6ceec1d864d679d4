#include "scaler/job_workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/duration.h"
#include "kube/meta.h"
#include "tests/scaler/fake_engine.h"
#include "tests/scaler/fake_kube.h"

namespace tidewright::scaler {
namespace {

using kube::resources::kJobs;
using kube::resources::kPods;
using testing::Contains;
using testing::HasSubstr;

base::Json JobTemplate(const std::string& image = "import") {
  return {{"backoffLimit", 2},
          {"template", {{"spec", {{"containers", base::Json::array({{{"name", "import"}, {"image", image}}})}}}}}};
}

base::Json MakeScaledJob(base::Json spec) {
  if (!spec.contains("jobTargetRef")) spec["jobTargetRef"] = JobTemplate();
  if (!spec.contains("triggers")) {
    spec["triggers"] = base::Json::array(
        {{{"type", "prometheus"}, {"name", "queue"}, {"metadata", {{"query", "sum(q)"}, {"threshold", "1"}}}}});
  }
  return {{"apiVersion", "tidewright.dev/v1alpha1"},
          {"metadata", {{"name", "import"}, {"namespace", "shop"}, {"uid", "u1"}, {"generation", 1}}},
          {"spec", std::move(spec)}};
}

class JobWorkloadTest : public testing::Test {
 protected:
  JobWorkloadTest() : board_(metrics_) {
    context_.cluster = ClusterOf(kube_, reader_);
    context_.triggers.control = &clock_;
    context_.triggers.calendar = &clock_;
    context_.triggers.engine = &engine_;
    context_.board = &board_;
    context_.targets = &targets_;
    workload_ = std::make_unique<JobWorkload>(context_, kScaledJobs);
    engine_.SetVector({0});
  }

  std::optional<int64_t> Pass(int64_t after_ms = 1'000) {
    clock_.Advance(after_ms);
    base::Json object = kube_.Read(kScaledJobs, "shop", "import");
    return workload_->Reconcile(object.is_null() ? nullptr : std::make_shared<const base::Json>(object));
  }
  void Apply(base::Json spec, base::Json metadata = base::Json::object()) {
    base::Json object = MakeScaledJob(std::move(spec));
    object["metadata"].merge_patch(metadata);
    kube_.Put(kScaledJobs, object);
  }
  std::vector<base::Json> Jobs() {
    std::vector<base::Json> jobs;
    auto list = reader_.List(kJobs, "shop", {});
    for (const auto& job : *list) jobs.push_back(*job);
    return jobs;
  }
  void Finish(base::Json job, const std::string& how = "Complete") {
    job["status"]["conditions"] = base::Json::array({{{"type", how}, {"status", "True"}}});
    job["status"]["completionTime"] = base::FormatTime(clock_.NowMs());
    kube_.Put(kJobs, job);
  }
  void StartPod(const base::Json& job, const std::string& condition = "") {
    kube_.Put(
        kPods,
        {{"metadata",
          {{"name", kube::NameOf(job) + "-p"},
           {"namespace", "shop"},
           {"ownerReferences", base::Json::array({{{"uid", kube::UidOf(job)}}})}}},
         {"status",
          {{"phase", "Running"}, {"conditions", base::Json::array({{{"type", condition}, {"status", "True"}}})}}}});
  }
  std::string Condition(const std::string& type, bool message = false) {
    for (const ConditionStatus& condition : ConditionsOf(kube_.Read(kScaledJobs, "shop", "import"))) {
      if (condition.type == type) return message ? condition.message : condition.reason;
    }
    return "";
  }

  base::FakeClock clock_{*base::ParseTime("2026-01-08T12:00:00Z")};
  base::MetricRegistry metrics_;
  StatusBoard board_;
  TargetRegistry targets_;
  FakeKube kube_;
  DirectReader reader_{kube_};
  FakeEngine engine_;
  WorkloadContext context_;
  std::unique_ptr<JobWorkload> workload_;
};

TEST_F(JobWorkloadTest, StartsJobsForTheQueueAndNoMore) {
  Apply({{"pollingInterval", 1}, {"maxReplicaCount", 4}},
        {{"labels", {{"team", "shop"}, {"secret", "x"}}},
         {"annotations", {{"scaledjob.keda.sh/job-excluded-labels", "secret"}}}});
  EXPECT_EQ(Pass(), 1'000);
  EXPECT_TRUE(Jobs().empty());
  EXPECT_EQ(Condition("Ready"), "ScaledJobReady");
  EXPECT_EQ(Condition("Active"), "ScalerNotActive");

  engine_.SetVector({3});
  Pass();
  ASSERT_EQ(Jobs().size(), 3u);
  Pass();
  EXPECT_EQ(Jobs().size(), 3u) << "those that run are there for the queue";
  engine_.SetVector({9});
  Pass();
  EXPECT_EQ(Jobs().size(), 4u) << "the maximum";
  EXPECT_EQ(Condition("Active"), "ScalerActive");

  const base::Json job = Jobs()[0];
  EXPECT_TRUE(kube::NameOf(job).starts_with("import-")) << kube::NameOf(job);
  auto labels = kube::LabelsOf(job);
  EXPECT_EQ(labels["team"], "shop");
  EXPECT_EQ(labels.count("secret"), 0u);
  EXPECT_EQ(labels["scaledjob.keda.sh/name"], "import");
  EXPECT_EQ(kube::AnnotationsOf(job)["scaledjob.keda.sh/generation"], "1");
  EXPECT_EQ(job["metadata"]["ownerReferences"][0]["uid"], "u1");
  EXPECT_EQ(job["metadata"]["ownerReferences"][0]["kind"], "ScaledJob");
  EXPECT_EQ(job["spec"]["backoffLimit"], 2);
  EXPECT_EQ(job["spec"]["template"]["spec"]["restartPolicy"], "OnFailure");
  EXPECT_THAT(kube_.Events(),
              Contains(HasSubstr("Normal KEDAJobsCreated Created 3 Jobs: queue = 3, target 1 per Job")));

  auto shown = board_.Get("ScaledJob", "shop", "import");
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->max, 4);
  EXPECT_EQ(shown->scales.size(), 2u);
  EXPECT_EQ(shown->why, "queue = 9, target 1 per Job -> 9 Jobs; 3 of them run already");

  for (const base::Json& one : Jobs()) Finish(one);
  engine_.SetVector({0});
  Pass();
  EXPECT_EQ(board_.Get("ScaledJob", "shop", "import")->current, 0);
  engine_.SetVector({2});
  Pass();
  EXPECT_EQ(Jobs().size(), 6u) << "finished ones are no help";
}

TEST_F(JobWorkloadTest, WritesNothingWhileNothingChanges) {
  Apply({});
  engine_.SetVector({2});
  Pass();
  Pass();
  const int writes = kube_.StatusWrites();
  for (int i = 0; i < 20; ++i) Pass();
  EXPECT_EQ(kube_.StatusWrites(), writes);
  EXPECT_EQ(Jobs().size(), 2u);
}

TEST_F(JobWorkloadTest, KeepsTheLastOfTheFinishedJobs) {
  Apply({{"successfulJobsHistoryLimit", 2}, {"failedJobsHistoryLimit", 1}});
  engine_.SetVector({6});
  Pass();
  auto jobs = Jobs();
  ASSERT_EQ(jobs.size(), 6u);
  engine_.SetVector({0});
  for (size_t i = 0; i < 6; ++i) {
    clock_.Advance(1'000);
    Finish(jobs[i], i < 4 ? "Complete" : "Failed");
  }
  Pass();
  std::vector<std::string> left;
  for (const base::Json& job : Jobs()) left.push_back(kube::NameOf(job));
  EXPECT_THAT(left, testing::UnorderedElementsAre(kube::NameOf(jobs[2]), kube::NameOf(jobs[3]), kube::NameOf(jobs[5])));
}

TEST_F(JobWorkloadTest, AChangedTemplateEndsWhatRunsUnlessTheRolloutIsGradual) {
  for (const char* strategy : {"immediate", "gradual"}) {
    SCOPED_TRACE(strategy);
    for (const base::Json& job : Jobs()) kube_.Remove(kJobs, "shop", kube::NameOf(job));
    Apply({{"rollout", {{"strategy", strategy}}}});
    engine_.SetVector({2});
    Pass();
    ASSERT_EQ(Jobs().size(), 2u);
    const std::string old = kube::NameOf(Jobs()[0]);
    Apply({{"rollout", {{"strategy", strategy}}}, {"pollingInterval", 5}}, {{"generation", 2}});
    Pass();
    EXPECT_FALSE(kube_.Read(kJobs, "shop", old).is_null()) << "the template is the same";
    Apply({{"rollout", {{"strategy", strategy}}}, {"jobTargetRef", JobTemplate("v2")}}, {{"generation", 3}});
    Pass();
    EXPECT_EQ(kube_.Read(kJobs, "shop", old).is_null(), std::string(strategy) == "immediate");
    EXPECT_EQ(Jobs().size(), 2u);
  }
}

TEST_F(JobWorkloadTest, AForegroundRolloutWaitsForTheOldJobs) {
  const base::Json rollout = {{"strategy", "immediate"}, {"propagationPolicy", "foreground"}};
  Apply({{"rollout", rollout}, {"maxReplicaCount", 2}});
  engine_.SetVector({2});
  Pass();
  const auto old = Jobs();
  ASSERT_EQ(old.size(), 2u);
  Apply({{"rollout", rollout}, {"maxReplicaCount", 2}, {"jobTargetRef", JobTemplate("v2")}}, {{"generation", 2}});
  for (int i = 0; i < 3; ++i) {
    Pass();
    ASSERT_EQ(Jobs().size(), 2u) << "the old ones end, and new ones do not start beside them";
    for (const base::Json& job : Jobs()) EXPECT_TRUE(kube::IsBeingDeleted(job));
  }
  const base::Json gone = {{"metadata", {{"finalizers", nullptr}}}};
  ASSERT_TRUE(kube_.Patch(kJobs, "shop", kube::NameOf(old[0]), kube::PatchType::kMerge, gone, "").ok());
  Pass();
  ASSERT_EQ(Jobs().size(), 2u) << "one for the one that went";
  ASSERT_TRUE(kube_.Patch(kJobs, "shop", kube::NameOf(old[1]), kube::PatchType::kMerge, gone, "").ok());
  Pass();
  ASSERT_EQ(Jobs().size(), 2u);
  for (const base::Json& job : Jobs()) EXPECT_FALSE(kube::IsBeingDeleted(job));
}

TEST_F(JobWorkloadTest, PendingPodsCountForTheAccurateStrategy) {
  Apply({{"scalingStrategy",
          {{"strategy", "accurate"}, {"pendingPodConditions", base::Json::array({"Ready", "Fetched"})}}}});
  engine_.SetVector({2});
  Pass();
  ASSERT_EQ(Jobs().size(), 2u);
  Pass();
  EXPECT_EQ(Jobs().size(), 2u) << "both are pending for the two messages";
  for (const base::Json& job : Jobs()) StartPod(job, "Ready");
  Pass();
  EXPECT_EQ(Jobs().size(), 2u) << "only one of the conditions";
  Apply({{"scalingStrategy", {{"strategy", "accurate"}, {"pendingPodConditions", base::Json::array({"Ready"})}}}});
  Pass();
  EXPECT_EQ(Jobs().size(), 4u) << "what runs has taken its message; these two are new";
}

TEST_F(JobWorkloadTest, PausesAndSaysWhatIsWrong) {
  engine_.SetVector({2});
  Apply({}, {{"annotations", {{"autoscaling.keda.sh/paused", "true"}}}});
  Pass();
  EXPECT_TRUE(Jobs().empty());
  EXPECT_EQ(Condition("Paused"), "ScaledJobPaused");
  EXPECT_TRUE(board_.Get("ScaledJob", "shop", "import")->paused);

  Apply({{"jobTargetRef", base::Json::object()}, {"scalingStrategy", {{"strategy", "fast"}}}, {"replicas", 3}});
  EXPECT_EQ(Pass(), std::nullopt);
  EXPECT_TRUE(Jobs().empty());
  EXPECT_EQ(Condition("Ready"), "ScaledJobCheckFailed");
  EXPECT_THAT(Condition("Ready", true), HasSubstr("spec.jobTargetRef: has no template.spec.containers"));
  EXPECT_THAT(
      Condition("Ready", true),
      HasSubstr("spec.scalingStrategy.strategy: \"fast\" is unknown; use one of default, custom, accurate, eager"));
  EXPECT_THAT(Condition("Ready", true), HasSubstr("spec.replicas"));

  Apply({});
  engine_.SetError(base::UnavailableError("connection refused"));
  Pass();
  EXPECT_EQ(Condition("Ready"), "TriggerError");
  EXPECT_TRUE(board_.Get("ScaledJob", "shop", "import")->held);
  engine_.SetVector({2});
  kube_.FailWith([](const std::string& verb, const std::string& path) {
    return verb == "create" && path.find("/jobs") != std::string::npos
               ? base::PermissionDeniedError("jobs is forbidden")
               : base::Status::Ok();
  });
  Pass();
  EXPECT_THAT(kube_.Events(),
              Contains(HasSubstr("Warning KEDAJobCreateFailed Could not create a Job: jobs is forbidden")));
  kube_.Remove(kScaledJobs, "shop", "import");
  Pass();
  EXPECT_FALSE(board_.Get("ScaledJob", "shop", "import"));
}

// A cache that shows a Job only a while after it was created must not make it be created once more.
TEST_F(JobWorkloadTest, DoesNotCreateAgainWhatTheCacheDoesNotShowYet) {
  class LateReader : public DirectReader {
   public:
    using DirectReader::DirectReader;
    base::Result<std::vector<Object>> List(const kube::Resource& resource, const std::string& ns,
                                           const kube::LabelSelector& selector) override {
      if (late && resource.kind == "Job") return std::vector<Object>();
      return DirectReader::List(resource, ns, selector);
    }
    bool late = true;
  } late{kube_};
  context_.cluster = ClusterOf(kube_, late);
  workload_ = std::make_unique<JobWorkload>(context_, kScaledJobs);
  Apply({});
  engine_.SetVector({2});
  for (int i = 0; i < 3; ++i) Pass();
  ASSERT_EQ(Jobs().size(), 2u);
  Finish(Jobs()[0]);
  Pass();
  EXPECT_EQ(Jobs().size(), 3u) << "one has finished, which only the API server knows";
  late.late = false;
  Pass();
  EXPECT_EQ(Jobs().size(), 3u);
}

}  // namespace
}  // namespace tidewright::scaler
