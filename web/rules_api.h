// Rules, alerts and where alerts are sent, in the shapes of the Prometheus HTTP API.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "http/message.h"
#include "http/server.h"
#include "rules/manager.h"
#include "rules/notifier.h"

namespace tidewright::web {

// Answers GET of
//   /api/v1/rules          with the filters type, rule_name[], rule_group[], file[], match[], exclude_alerts, and in
//                          pages of group_limit groups, the next of which group_next_token names
//   /api/v1/alerts
//   /api/v1/alertmanagers
// Stateless; thread-safe. Borrows the manager. Formats: Prometheus "HTTP API" documentation.
class RulesApi {
 public:
  using Alertmanagers = std::function<rules::Notifier::Urls()>;
  // Without a manager there are no rules, without the function no Alertmanagers.
  RulesApi(const rules::Manager* manager, Alertmanagers alertmanagers)
      : manager_(manager), alertmanagers_(std::move(alertmanagers)) {}

  // Whether `path` is one of its own.
  static bool Handles(const std::string& path);
  http::Response Handle(const http::ServerRequest& request) const;

 private:
  http::Response Rules(const http::QueryParams& params) const;
  http::Response Alerts() const;
  http::Response AlertmanagerList() const;

  const rules::Manager* const manager_;
  const Alertmanagers alertmanagers_;
};

}  // namespace tidewright::web
