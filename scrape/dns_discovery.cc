#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "scrape/discovery.h"

namespace tidewright::scrape {
namespace {

constexpr int64_t kMinRefreshMs = 1000;
constexpr size_t kMaxAnswer = 65536;
constexpr int kTimeoutSeconds = 3;
constexpr int kAttempts = 2;

struct RecordType {
  std::string_view name;
  ns_type type;
};
constexpr RecordType kTypes[] = {
    {"A", ns_t_a}, {"AAAA", ns_t_aaaa}, {"SRV", ns_t_srv}, {"MX", ns_t_mx}, {"NS", ns_t_ns}};

ns_type TypeOf(std::string_view name) {
  for (const RecordType& known : kTypes) {
    if (known.name == name) return known.type;
  }
  return ns_t_srv;
}

// What the rest of an answer says of one record.
struct Record {
  std::string host;   // Address or name.
  uint16_t port = 0;  // SRV only.
};

std::string AddressText(int family, const unsigned char* bytes) {
  char text[INET6_ADDRSTRLEN] = "";
  return inet_ntop(family, bytes, text, sizeof(text)) == nullptr ? "" : text;
}

// The name at `offset` of the record's data, with a final dot as Prometheus shows it.
bool NameAt(const ns_msg& message, const ns_rr& record, size_t offset, std::string* name) {
  char text[NS_MAXDNAME] = "";
  if (ns_rr_rdlen(record) <= offset) return false;
  if (dn_expand(ns_msg_base(message), ns_msg_end(message), ns_rr_rdata(record) + offset, text, sizeof(text)) < 0) {
    return false;
  }
  *name = std::string(text) + ".";
  return true;
}

bool DecodeRecord(const ns_msg& message, const ns_rr& record, Record* out) {
  constexpr size_t kSrvPort = 4, kSrvTarget = 6, kMxHost = 2;
  switch (ns_rr_type(record)) {
    case ns_t_a:
      if (ns_rr_rdlen(record) != NS_INADDRSZ) return false;
      out->host = AddressText(AF_INET, ns_rr_rdata(record));
      return true;
    case ns_t_aaaa:
      if (ns_rr_rdlen(record) != NS_IN6ADDRSZ) return false;
      out->host = AddressText(AF_INET6, ns_rr_rdata(record));
      return true;
    case ns_t_srv:
      if (!NameAt(message, record, kSrvTarget, &out->host)) return false;
      out->port = static_cast<uint16_t>(ns_get16(ns_rr_rdata(record) + kSrvPort));
      return true;
    case ns_t_mx: return NameAt(message, record, kMxHost, &out->host);
    case ns_t_ns: return NameAt(message, record, 0, &out->host);
    default: return false;
  }
}

base::Result<std::vector<Record>> ParseAnswer(const unsigned char* bytes, int length, ns_type type) {
  ns_msg message;
  if (ns_initparse(bytes, length, &message) != 0) return base::DataLossError("the name server's answer is damaged");
  std::vector<Record> records;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0) {
      return base::DataLossError("the name server's answer is damaged");
    }
    Record decoded;
    if (ns_rr_type(record) == type && DecodeRecord(message, record, &decoded)) records.push_back(std::move(decoded));
  }
  return records;
}

// One resolver state per lookup: it is made from /etc/resolv.conf, which may change.
class Resolver {
 public:
  explicit Resolver(const DnsServer& server) {
    ready_ = res_ninit(&state_) == 0;
    if (!ready_) return;
    state_.retrans = kTimeoutSeconds;
    state_.retry = kAttempts;
    in_addr address{};
    if (server.address.empty() || inet_pton(AF_INET, server.address.c_str(), &address) != 1) return;
    state_.nscount = 1;
    state_.nsaddr_list[0].sin_family = AF_INET;
    state_.nsaddr_list[0].sin_addr = address;
    state_.nsaddr_list[0].sin_port = htons(server.port);
  }
  ~Resolver() {
    if (ready_) res_nclose(&state_);
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // The records of a name; none when it does not exist.
  base::Result<std::vector<Record>> Lookup(const std::string& name, ns_type type) {
    if (!ready_) return base::UnavailableError("the system's resolver is not configured");
    std::vector<unsigned char> answer(kMaxAnswer);
    const int length = res_nsearch(&state_, name.c_str(), ns_c_in, type, answer.data(), static_cast<int>(kMaxAnswer));
    if (length >= 0) return ParseAnswer(answer.data(), std::min(length, static_cast<int>(kMaxAnswer)), type);
    if (state_.res_h_errno == HOST_NOT_FOUND || state_.res_h_errno == NO_DATA) return std::vector<Record>();
    return base::UnavailableError("no name server answered for " + name);
  }

 private:
  struct __res_state state_ {};
  bool ready_ = false;
};

std::string HostPort(std::string host, int64_t port) {
  if (!host.empty() && host.back() == '.') host.pop_back();
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

TargetGroup GroupOf(const DnsSdConfig& config, const std::string& name, const std::vector<Record>& records) {
  TargetGroup group;
  group.source = name;
  for (const Record& record : records) {
    const bool srv = config.type == "SRV";
    const int64_t port = srv ? record.port : config.port;
    group.targets.push_back(
        tsdb::Labels::Of({{"__address__", HostPort(record.host, port)},
                          {"__meta_dns_name", name},
                          {"__meta_dns_srv_record_target", srv ? record.host : ""},
                          {"__meta_dns_srv_record_port", srv ? std::to_string(record.port) : ""},
                          {"__meta_dns_mx_record_target", config.type == "MX" ? record.host : ""},
                          {"__meta_dns_ns_record_target", config.type == "NS" ? record.host : ""}}));
  }
  // Name servers rotate their answers; the order means nothing.
  std::sort(group.targets.begin(), group.targets.end());
  return group;
}

class DnsDiscoverer : public Discoverer {
 public:
  DnsDiscoverer(DnsSdConfig config, base::Scheduler& scheduler, const DnsServer& server)
      : config_(std::move(config)), scheduler_(scheduler), server_(server), thread_("dns-sd", 1) {}
  ~DnsDiscoverer() override { Stop(); }

  void Start(Update update) override {
    update_ = std::move(update);
    thread_.Submit([this] { Refresh(); });
  }

  void Stop() override {
    base::Scheduler::TaskId task = 0;
    {
      base::MutexLock lock(mu_);
      stopped_ = true;
      task = std::exchange(task_, 0);
    }
    if (task != 0) scheduler_.Cancel(task);
    thread_.Stop();  // Waits for the lookup under way, which has a time limit.
  }

 private:
  bool stopped() {
    base::MutexLock lock(mu_);
    return stopped_;
  }

  void Refresh() {
    const ns_type type = TypeOf(config_.type);
    std::vector<TargetGroup> groups;
    for (const std::string& name : config_.names) {
      if (stopped()) return;
      auto records = Resolver(server_).Lookup(name, type);
      LogChange(name, records.status().message());
      if (records.ok()) groups.push_back(GroupOf(config_, name, *records));
    }
    if (!groups.empty() && !stopped()) update_(std::move(groups));
    base::MutexLock lock(mu_);
    if (stopped_) return;
    const int64_t next = scheduler_.clock().NowMs() + std::max(config_.refresh_interval.ms, kMinRefreshMs);
    task_ = scheduler_.At(next, [this] { thread_.Submit([this] { Refresh(); }); });
  }

  void LogChange(const std::string& name, const std::string& error) {
    std::string& last = errors_[name];
    if (error != last && !error.empty()) {
      base::LogWarn("scrape", "dns_sd lookup failed; its previous targets stay", {{"name", name}, {"error", error}});
    }
    last = error;
  }

  const DnsSdConfig config_;
  base::Scheduler& scheduler_;
  const DnsServer server_;
  Update update_;
  std::map<std::string, std::string> errors_;  // By name; used on thread_ only.
  base::Mutex mu_;
  base::Scheduler::TaskId task_ GUARDED_BY(mu_) = 0;
  bool stopped_ GUARDED_BY(mu_) = false;
  base::ThreadPool thread_;  // Last: its tasks use the rest.
};

}  // namespace

std::unique_ptr<Discoverer> NewDnsDiscoverer(DnsSdConfig config, base::Scheduler& scheduler, const DnsServer& server) {
  return std::make_unique<DnsDiscoverer>(std::move(config), scheduler, server);
}

}  // namespace tidewright::scrape
