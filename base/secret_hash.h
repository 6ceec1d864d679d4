// A fast hash of texts that nobody outside this process can predict.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidewright::base {

// 64 bits that stand for `text`, for tables that do not keep the texts themselves. Seeded with a secret that each
// process draws anew, so that nobody who chooses texts can make two of them collide on purpose; not for storage.
// Thread-safe.
uint64_t SecretHash(std::string_view text);

}  // namespace tidewright::base
