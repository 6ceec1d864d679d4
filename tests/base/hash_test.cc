#include "base/hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/secret_hash.h"

namespace tidewright::base {
namespace {

TEST(Hash, EveryByteCounts) {
  for (size_t size = 0; size <= 100; ++size) {
    const std::string bytes(size, 'a');
    std::set<uint64_t> hashes = {HashBytes(bytes), HashBytes(bytes, 1), HashBytes(bytes + 'a')};
    for (size_t i = 0; i < size; ++i) {
      std::string changed = bytes;
      changed[i] = 'b';
      hashes.insert(HashBytes(changed));
    }
    EXPECT_EQ(hashes.size(), 3 + size) << size << " bytes";
    EXPECT_EQ(HashBytes(bytes), HashBytes(std::string(size, 'a')));
  }
}

TEST(Hash, LikeTextsDiffer) {
  std::set<uint64_t> hashes;
  std::set<uint32_t> halves;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t hash = HashBytes("pod-" + std::to_string(i));
    hashes.insert(hash);
    halves.insert(static_cast<uint32_t>(hash));
  }
  EXPECT_EQ(hashes.size(), 20'000u);
  EXPECT_GE(halves.size(), 19'990u);  // By chance 1 in 20 times two are alike.
}

TEST(Hash, ASecretOneStaysTheSameInAProcess) {
  EXPECT_EQ(SecretHash("up"), SecretHash("up"));
  EXPECT_NE(SecretHash("up"), SecretHash("down"));
}

}  // namespace
}  // namespace tidewright::base
