// The first line is an Accept header, a selector and a delegate, the rest a path.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "apiservice/external_delegates.h"
#include "apiservice/negotiation.h"
#include "apiservice/route.h"
#include "kube/meta.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidewright::apiservice;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t line = text.find('\n');
  std::string_view path = line == std::string_view::npos ? text : text.substr(line + 1);
  (void)Negotiate(std::string(text.substr(0, line)), {Form::kTable, Form::kProtobuf});
  (void)tidewright::kube::LabelSelector::Parse(std::string(text.substr(0, line)));
  (void)ParseExternalDelegate(std::string(text.substr(0, line)));
  (void)MatchesPattern(text.substr(0, line), path);
  (void)ParseRoute(path);
  (void)AttributesOf("GET", path);
  return 0;
}
