// Decodes the `behavior` of autoscaling/v2, which HorizontalPodAutoscalers and ScaledObjects share.
#pragma once

#include "base/document.h"
#include "scaler/decide.h"

namespace tidewright::scaler {

struct Behavior {
  ScalingRules up = DefaultScaleUp();
  ScalingRules down = DefaultScaleDown();
  bool has_down_window = false;  // scaleDown.stabilizationWindowSeconds is written.
};

// Reads {scaleUp, scaleDown} into `behavior`; what is not written keeps its value. Ranges are those of the API: windows
// 0-3600 s, periods 1-1800 s, values from 1, tolerance from 0. Errors go to the reader's list.
void ReadBehavior(base::ObjectReader& reader, Behavior* behavior);

}  // namespace tidewright::scaler
