// What a message becomes on its way: the bodies that webhooks and Slack take, and a mail.
#pragma once

#include <string>

#include "base/status.h"
#include "http/mail.h"
#include "notify/config.h"
#include "notify/message_template.h"

namespace tidewright::notify {

// Version 4 of the JSON that Alertmanager posts to webhooks, so that what reads it reads this.
std::string WebhookBody(const WebhookConfig& config, const Message& message);

// A message with one attachment, as Slack's incoming webhooks and their like take it. Errors are those of templates.
base::Result<std::string> SlackBody(const SlackConfig& config, const Message& message);

// A mail in MIME (RFC 2045), as text and as HTML. Errors are those of templates and addresses.
base::Result<http::Mail> MailOf(const EmailConfig& config, const Message& message);

}  // namespace tidewright::notify
