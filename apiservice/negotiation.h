// Content negotiation: which of the forms that we can produce an Accept header asks for.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

namespace tidewright::apiservice {

// The forms of a reply. All of them but kProtobuf are JSON.
enum class Form { kObject, kTable, kDiscoveryV2, kProtobuf };

// The best form for the Accept header `accept` ("" accepts all): by q-value, then by order. kObject is always on offer,
// and what `special` holds: kTable (meta.k8s.io v1), kDiscoveryV2 (apidiscovery.k8s.io v2), kProtobuf
// (application/vnd.kubernetes.protobuf). nullopt: none, a 406.
std::optional<Form> Negotiate(const std::string& accept, std::initializer_list<Form> special);

}  // namespace tidewright::apiservice
