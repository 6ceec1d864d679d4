#include "base/secret_hash.h"

#include <random>

#include "base/hash.h"

namespace tidewright::base {
namespace {

uint64_t Secret() {
  static const uint64_t secret = [] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }();
  return secret;
}

}  // namespace

uint64_t SecretHash(std::string_view text) { return HashBytes(text, Secret()); }

}  // namespace tidewright::base
