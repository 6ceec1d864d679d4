// Numbers in annotations and in the texts of histograms.
#pragma once

#include <string>

namespace tidewright::promql {

// The shortest decimal that reads back as `value`, with an exponent below 1e-4 and from 1e6 on: what Go prints for %g.
std::string GeneralText(double value);
// The same with at most `digits` significant digits.
std::string GeneralText(double value, int digits);

}  // namespace tidewright::promql
