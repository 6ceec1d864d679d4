// What the template functions of alerts make of texts and numbers. Private to rules.
#pragma once

#include <string>

#include "base/status.h"

namespace tidewright::rules {

// %.4g as Go prints it: "1.234e+05", "+Inf", "NaN".
std::string FourDigits(double value);

// With SI prefixes: 1234 is "1.234k", 0.01 is "10m".
std::string Humanize(double value);
// With prefixes of 1024: 1024 is "1ki".
std::string Humanize1024(double value);
// Of seconds: "1h 1m 1s", "100ms".
std::string HumanizeDuration(double seconds);
// Of a ratio: "50%".
std::string HumanizePercentage(double ratio);

std::string Same(const std::string& text);
// The first letter of every word in upper case.
std::string Title(const std::string& text);
std::string ToUpper(const std::string& text);
std::string ToLower(const std::string& text);
std::string EscapeQuery(const std::string& text);
// Paths of the page that show an expression.
std::string GraphLink(const std::string& expr);
std::string TableLink(const std::string& expr);
// "10.0.0.1:80" is "10.0.0.1"; what is no host and port stays.
std::string StripPort(const std::string& text);
// "web.example.com:80" is "web:80"; addresses stay.
std::string StripDomain(const std::string& text);

// Go's regexp.ReplaceAllString: $1 and ${name} in the replacement are groups. kInvalidArgument when `regex` is none.
base::Result<std::string> ReplaceAllMatches(const std::string& regex, const std::string& replacement,
                                            const std::string& text);

}  // namespace tidewright::rules
