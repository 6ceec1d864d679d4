// What one signal asks for: the replica formulas of the HPA controller. Private to scaler/decide.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scaler/decide.h"

namespace tidewright::scaler {

// The answer of one signal. With an error the other members but `text` mean nothing.
struct Proposal {
  std::string error;
  int32_t replicas = 0;
  Measured measured;
  std::string text;  // "redis orders = 42, target 5 per replica -> 9 replicas"
};

// Applies the formula of signal.type. `spec` gives the tolerances: the present count is kept while
// (1 - scale_down.tolerance) <= ratio <= (1 + scale_up.tolerance), both bounds included. Pure.
Proposal Propose(const Signal& signal, const ScaleSpec& spec, const CurrentState& current);

// The formula's value as a signal of its own, with the error when it has none.
Signal EvaluateFormula(const Composite& composite, const std::vector<Signal>& signals);

}  // namespace tidewright::scaler
