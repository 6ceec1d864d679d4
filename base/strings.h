// Small string helpers that the standard library lacks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidewright::base {

// "a,b,c" split at every `separator`; the empty string gives one empty piece.
std::vector<std::string> Split(std::string_view text, char separator);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view TrimSpace(std::string_view text);
std::string ToLower(std::string_view text);
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
// Standard alphabet with padding.
std::string Base64Encode(std::string_view bytes);
// False when `text` is not base64; newlines are skipped.
bool Base64Decode(std::string_view text, std::string* bytes);
bool IsValidUtf8(std::string_view text);
// Parses the whole of `text`; false on anything else, including overflow.
bool ParseInt64(std::string_view text, int64_t* value);
bool ParseDouble(std::string_view text, double* value);
// The shortest decimal digits that read back as the same double, without an exponent and padded with zeros, as Go's
// format 'f' with precision -1: "1.5", "9223372036854776000", "+Inf", "NaN".
std::string FormatFixed(double value);
// A random version 4 UUID in lower case. Thread-safe.
std::string NewUuid();

}  // namespace tidewright::base
