// Any text as start and end of a cron window: parsing, evaluating and explaining must end, whatever the text.
#include <cstdint>
#include <string>

#include "scaler/cron/window.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using tidewright::scaler::cron::Window;
  using tidewright::scaler::cron::WindowMode;
  std::string text(reinterpret_cast<const char*>(data), size);
  size_t cut = text.find('|');
  std::string start = text.substr(0, cut);
  std::string end = cut == std::string::npos ? "0 8 * * *" : text.substr(cut + 1);
  for (WindowMode mode : {WindowMode::kLastEventWins, WindowMode::kKedaCompatible}) {
    auto window = Window::Create(start, end, "Europe/Rome", mode);
    if (!window.ok()) continue;
    for (int64_t t : {int64_t{0}, int64_t{1'774'746'000'000}, int64_t{4'000'000'000'000}}) {
      auto state = window->At(t);
      auto change = state.open ? state.closes_ms : state.opens_ms;
      if (change && *change <= t) __builtin_trap();
    }
    (void)window->Defect();
  }
  return 0;
}
