// A fast hash of bytes, for tables in memory.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidewright::base {

// 64 bits that stand for `bytes`: a multiplication for every 16 of them. Not for storage, as it may change from release
// to release. Texts that collide under one `seed` need not under another; where others choose the texts and the hash
// stands for them, SecretHash() takes a seed that they do not know. Thread-safe.
uint64_t HashBytes(std::string_view bytes, uint64_t seed = 0);

}  // namespace tidewright::base
