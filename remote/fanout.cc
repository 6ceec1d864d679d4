#include "remote/fanout.h"

#include <algorithm>
#include <utility>

#include "http/client.h"
#include "tsdb/merge_querier.h"

namespace tidewright::remote {

namespace {

class ReadIterator : public tsdb::SampleIterator {
 public:
  explicit ReadIterator(const ReadSeries& series) : series_(series) {}
  bool Next() override { return ++at_ < series_.samples.size(); }
  bool Seek(int64_t t) override {
    at_ = at_ == kBefore ? 0 : at_;
    while (at_ < series_.samples.size() && series_.samples[at_].t < t) ++at_;
    return at_ < series_.samples.size();
  }
  tsdb::Sample At() const override { return series_.samples[at_]; }
  tsdb::ValueType type() const override {
    return AtHistogram() != nullptr ? tsdb::ValueType::kFloatHistogram : tsdb::ValueType::kFloat;
  }
  const tsdb::FloatHistogram* AtHistogram() const override {
    return at_ < series_.histograms.size() ? series_.histograms[at_].get() : nullptr;
  }

 private:
  static constexpr size_t kBefore = SIZE_MAX;
  const ReadSeries& series_;
  size_t at_ = kBefore;
};

// Shares the answer, so that it may outlive the next question.
class RemoteSeries : public tsdb::Series {
 public:
  RemoteSeries(std::shared_ptr<const std::vector<ReadSeries>> all, size_t index)
      : all_(std::move(all)), series_((*all_)[index]) {}
  const tsdb::Labels& labels() const override { return series_.labels; }
  std::unique_ptr<tsdb::SampleIterator> Iterator() const override { return std::make_unique<ReadIterator>(series_); }

 private:
  const std::shared_ptr<const std::vector<ReadSeries>> all_;
  const ReadSeries& series_;
};

class RemoteQuerier : public tsdb::Querier {
 public:
  RemoteQuerier(std::shared_ptr<const ReadClient> client, ReadRange range, int64_t local_start)
      : client_(std::move(client)), range_(range), local_start_(local_start) {}

  base::Result<std::vector<std::unique_ptr<tsdb::Series>>> Select(const tsdb::SelectHints& hints,
                                                                  const tsdb::Matchers& matchers) override {
    std::vector<std::unique_ptr<tsdb::Series>> selected;
    ReadRange range = range_;
    if (hints.start < hints.end) {
      range = {std::max(range.mint, hints.start), std::min(range.maxt, hints.end)};
    }
    const std::optional<ReadRange> wanted = client_->Wanted(range, local_start_, matchers);
    if (!wanted) return selected;
    TW_ASSIGN_OR_RETURN(std::vector<ReadSeries> read, client_->Read(*wanted, matchers));
    auto all = std::make_shared<const std::vector<ReadSeries>>(std::move(read));
    for (size_t i = 0; i < all->size(); ++i) selected.push_back(std::make_unique<RemoteSeries>(all, i));
    return selected;
  }
  // Remote read does not tell names and values alone; Prometheus does not ask for them either.
  base::Result<std::vector<std::string>> LabelNames(const tsdb::Matchers&) override {
    return std::vector<std::string>();
  }
  base::Result<std::vector<std::string>> LabelValues(const std::string&, const tsdb::Matchers&) override {
    return std::vector<std::string>();
  }

 private:
  const std::shared_ptr<const ReadClient> client_;
  const ReadRange range_;
  const int64_t local_start_;
};

}  // namespace

Fanout::Fanout(tsdb::Queryable& local, std::function<int64_t()> local_start, base::Clock& clock,
               base::MetricRegistry& metrics, scrape::HttpTransport::Factory make_client)
    : local_(local),
      local_start_(std::move(local_start)),
      clock_(clock),
      metrics_(metrics),
      make_client_(make_client ? std::move(make_client) : http::NewCurlClient) {}

void Fanout::Apply(const std::vector<scrape::RemoteReadConfig>& configs, const tsdb::Labels& external_labels) {
  Clients clients;
  for (const scrape::RemoteReadConfig& config : configs) {
    clients.push_back(std::make_shared<const ReadClient>(config, external_labels, make_client_, clock_, metrics_));
  }
  base::MutexLock lock(mu_);
  clients_.swap(clients);
}

Fanout::Clients Fanout::clients() const {
  base::MutexLock lock(mu_);
  return clients_;
}

// What was found before may be more by now, elsewhere.
uint64_t Fanout::SeriesEpoch() const { return clients().empty() ? local_.SeriesEpoch() : 0; }

base::Result<std::unique_ptr<tsdb::Querier>> Fanout::NewQuerier(int64_t mint, int64_t maxt) {
  TW_ASSIGN_OR_RETURN(auto local, local_.NewQuerier(mint, maxt));
  const Clients all = clients();
  if (all.empty()) return local;
  const int64_t local_start = local_start_();
  const bool beyond = mint < local_start;
  std::vector<std::unique_ptr<tsdb::Querier>> sources;
  sources.push_back(std::move(local));
  for (const auto& client : all) {
    if (!beyond && !client->config().read_recent) continue;
    sources.push_back(std::make_unique<RemoteQuerier>(client, ReadRange{mint, maxt}, local_start));
  }
  return sources.size() == 1 ? std::move(sources[0]) : tsdb::NewMergeQuerier(std::move(sources));
}

}  // namespace tidewright::remote
