// Registers the served API groups with the aggregation layer: the APIService objects.
#pragma once

#include <string>
#include <vector>

#include "apiservice/discovery.h"
#include "base/status.h"
#include "kube/client.h"

namespace tidewright::apiservice {

struct RegistrationOptions {
  std::string service = "tidewright";
  std::string ns = "default";
  int port = 443;
  std::string ca_bundle;  // PEM.
  // There is one APIService per group and version in a cluster. When another program's holds the name: take it over, or
  // (the default) leave it alone and report kFailedPrecondition.
  bool take_over = false;
};

// Creates or updates <version>.<group> for every version of `groups` (v1beta2 before v1beta1 of custom metrics), and
// deletes those that an earlier call made for this service and that are not served any more. Objects that somebody else
// made are never deleted; those of them that name this service get the caBundle, served or not. Goes on after an error
// and returns the first; call again later.
base::Status RegisterApiServices(kube::Client& client, const RegistrationOptions& options,
                                 const std::vector<ServedGroup>& groups);

// The caBundle that every APIService of `groups` that is ours has at present (PEM). kNotFound: one has none or does not
// exist; kFailedPrecondition: they differ.
base::Result<std::string> PublishedCaBundle(kube::Client& client, const RegistrationOptions& options,
                                            const std::vector<ServedGroup>& groups);

}  // namespace tidewright::apiservice
