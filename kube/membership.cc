#include "kube/membership.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "kube/leader_election.h"
#include "kube/meta.h"

namespace tidewright::kube {

namespace {

constexpr char kLabel[] = "tidewright.dev/members";
// A Lease that nobody has renewed for so many durations is of a replica that is gone for good.
constexpr int64_t kForgetAfterDurations = 10;

// What of an identity may be part of an object's name: the pod.
std::string NamePart(const std::string& identity) {
  std::string name = identity.substr(0, identity.find('_'));
  for (char& c : name) {
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.') c = '-';
  }
  return name;
}

}  // namespace

Membership::Membership(Client& client, base::Clock& clock, base::Clock& calendar, MembershipOptions options)
    : client_(client),
      clock_(clock),
      calendar_(calendar),
      options_(std::move(options)),
      lease_(options_.group + "-member-" + NamePart(options_.identity)) {}

Membership::~Membership() { Stop(); }

void Membership::Start() {
  if (thread_.joinable() || stop_.stopped()) return;
  thread_ = std::thread([this] { Run(); });
}

void Membership::Stop() {
  stop_.Stop();
  if (!thread_.joinable()) return;
  thread_.join();
  base::Status gone = client_.Delete(resources::kLeases, options_.ns, lease_);
  if (gone.ok() || gone.code() == base::Code::kNotFound) return;
  base::LogWarn("kube", "membership not given up; it has to expire", {{"lease", lease_}, {"error", gone.ToString()}});
}

std::vector<std::string> Membership::Alive() const {
  base::MutexLock lock(mu_);
  std::vector<std::string> alive;
  if (!listed_) return alive;
  alive.push_back(options_.identity);
  for (const auto& [name, member] : members_) {
    const bool fresh = clock_.NowMs() < member.seen_ms + options_.lease_duration_ms;
    if (fresh && name != lease_ && !member.identity.empty()) alive.push_back(member.identity);
  }
  std::sort(alive.begin(), alive.end());
  return alive;
}

void Membership::Run() {
  while (!stop_.stopped()) {
    base::Status status = Renew();
    if (status.ok()) status = Look();
    std::string error = status.ok() ? "" : status.ToString();
    if (std::exchange(last_error_, error) != error && !error.empty()) {
      base::LogWarn("kube", "cannot keep up membership", {{"lease", lease_}, {"error", error}});
    }
    clock_.SleepFor(options_.renew_period_ms, stop_);
  }
}

base::Status Membership::Renew() {
  const base::Json spec = {{"holderIdentity", options_.identity},
                           {"leaseDurationSeconds", options_.lease_duration_ms / 1000},
                           {"renewTime", MicroTime(calendar_.NowMs())}};
  base::Status renewed =
      client_.Patch(resources::kLeases, options_.ns, lease_, PatchType::kMerge, {{"spec", spec}}).status();
  if (renewed.code() != base::Code::kNotFound) return renewed;
  return client_
      .Create(resources::kLeases, options_.ns,
              {{"apiVersion", resources::kLeases.ApiVersion()},
               {"kind", resources::kLeases.kind},
               {"metadata", {{"name", lease_}, {"namespace", options_.ns}, {"labels", {{kLabel, options_.group}}}}},
               {"spec", spec}})
      .status();
}

base::Status Membership::Look() {
  ListOptions options;
  options.label_selector = std::string(kLabel) + "=" + options_.group;
  TW_ASSIGN_OR_RETURN(base::Json list, client_.List(resources::kLeases, options_.ns, options));
  const base::Json* items = base::Find(list, {"items"});
  if (items == nullptr || !items->is_array()) return base::DataLossError("a list of Leases without items");
  const int64_t now_ms = clock_.NowMs();
  std::vector<std::string> forgotten;
  {
    base::MutexLock lock(mu_);
    std::map<std::string, Member> members;
    for (const base::Json& lease : *items) {
      const std::string name = NameOf(lease);
      Member& member = members[name];
      member = {base::FindString(lease, {"spec", "holderIdentity"}), base::FindString(lease, {"spec", "renewTime"}),
                now_ms};
      auto before = members_.find(name);
      const bool same = before != members_.end() && before->second.identity == member.identity &&
                        before->second.renewed == member.renewed;
      if (same) member.seen_ms = before->second.seen_ms;
      const bool gone = now_ms > member.seen_ms + kForgetAfterDurations * options_.lease_duration_ms;
      if (gone && name != lease_) forgotten.push_back(name);
    }
    members_ = std::move(members);
    listed_ = true;
  }
  for (const std::string& name : forgotten) {
    base::Status deleted = client_.Delete(resources::kLeases, options_.ns, name);
    if (!deleted.ok() && deleted.code() != base::Code::kNotFound) return deleted;
  }
  return base::Status::Ok();
}

}  // namespace tidewright::kube
