// Content negotiation: which of the forms that we can produce an Accept header asks for.
#pragma once

#include <optional>
#include <string>

namespace tidewright::apiservice {

// The forms of a reply. All of them are JSON.
enum class Form { kObject, kTable, kDiscoveryV2 };

// The best form for the Accept header `accept` ("" accepts all): by q-value, then by order. Besides kObject only
// `special` is on offer, when it is given (kTable, meta.k8s.io v1; kDiscoveryV2, apidiscovery.k8s.io v2). nullopt:
// none, a 406.
std::optional<Form> Negotiate(const std::string& accept, std::optional<Form> special);

}  // namespace tidewright::apiservice
