// The page of a program that was built with TIDEWRIGHT_UI=OFF: it says so, and where the same can be read.
#pragma once

#include "web/page.h"

namespace tidewright::web {

inline constexpr PageFile kPageFiles[] = {{"/", "text/html; charset=utf-8", "plain-1",
                                           R"(<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Tidewright</title>
  <link rel="icon" href="data:,">
</head>
<body>
  <h1>Tidewright</h1>
  <p>This program was built without its web page (TIDEWRIGHT_UI=OFF). What the page would show:</p>
  <ul>
    <li><a href="api/v1/autoscaling/workloads">Workloads, and why they have the replicas they have</a></li>
    <li><a href="api/v1/autoscaling/decisions">The last decisions, step by step</a></li>
    <li><a href="api/v1/targets">Targets</a></li>
    <li><a href="api/v1/rules">Rules</a> and <a href="api/v1/alerts">alerts</a></li>
    <li><a href="api/v1/status/config">Configuration</a></li>
    <li><a href="metrics">Metrics</a></li>
  </ul>
</body>
</html>
)",
                                           ""}};

}  // namespace tidewright::web
