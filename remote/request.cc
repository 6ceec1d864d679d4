#include "remote/request.h"

#include <algorithm>
#include <limits>
#include <span>
#include <vector>

namespace tidewright::remote {

namespace {

template <typename One>
void SortBySeries(std::vector<One>* list) {
  auto before = [](const One& a, const One& b) { return a.ref < b.ref; };
  if (!std::is_sorted(list->begin(), list->end(), before)) std::stable_sort(list->begin(), list->end(), before);
}

template <typename One>
tsdb::SeriesRef FirstRef(std::span<const One> rest) {
  return rest.empty() ? std::numeric_limits<tsdb::SeriesRef>::max() : rest.front().ref;
}

// Takes what is of one series off the front.
template <typename One>
std::span<const One> Take(tsdb::SeriesRef ref, std::span<const One>* rest) {
  size_t count = 0;
  while (count < rest->size() && (*rest)[count].ref == ref) ++count;
  const std::span<const One> taken = rest->first(count);
  *rest = rest->subspan(count);
  return taken;
}

template <typename Message>
std::string Encode(const tsdb::LogCommit& content, Message message, const tsdb::LogTail& tail, OutgoingLabels* labels) {
  std::span<const tsdb::LogCommit::Float> floats(content.floats);
  std::span<const tsdb::LogCommit::OneHistogram> histograms(content.histograms);
  std::span<const tsdb::LoggedExemplar> exemplars(content.exemplars);
  while (!floats.empty() || !histograms.empty() || !exemplars.empty()) {
    const tsdb::SeriesRef ref = std::min({FirstRef(floats), FirstRef(histograms), FirstRef(exemplars)});
    const SeriesContent series{Take(ref, &floats), Take(ref, &histograms), Take(ref, &exemplars)};
    const tsdb::LabelViews& views = labels->Of(ref, tail);
    if (!views.empty()) message.Add(views, series);
  }
  return message.Finish();
}

}  // namespace

Request MakeRequest(Batch* batch, bool version2, const MetadataByFamily& metadata, const tsdb::LogTail& tail,
                    OutgoingLabels* labels) {
  tsdb::LogCommit& content = batch->content;
  SortBySeries(&content.floats);
  SortBySeries(&content.histograms);
  SortBySeries(&content.exemplars);
  Request request;
  request.body = version2 ? Encode(content, WriteRequest2(metadata), tail, labels)
                          : Encode(content, WriteRequest1(), tail, labels);
  request.counts = {content.floats.size(), content.histograms.size(), content.exemplars.size(), 0};
  request.newest_ms = batch->newest_ms;
  request.version2 = version2;
  return request;
}

}  // namespace tidewright::remote
