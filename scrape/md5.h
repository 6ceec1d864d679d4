// MD5 (RFC 1321), which the relabelling action `hashmod` is defined by. Not for security.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tidewright::scrape {

std::array<uint8_t, 16> Md5(std::string_view bytes);

}  // namespace tidewright::scrape
