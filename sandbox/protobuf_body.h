// Protobuf request bodies, as kubectl 1.32's imperative commands send them (create, autoscale, auth can-i): decoded to
// the JSON that other clients send.
#pragma once

#include <string_view>

#include "base/json_fwd.h"
#include "base/status.h"

namespace tidewright::sandbox {

// Decodes a body of type application/vnd.kubernetes.protobuf: the magic "k8s\0" and a runtime.Unknown message around
// the object. Understands the kinds that kubectl creates by command: Namespace, ConfigMap, Secret, ServiceAccount,
// Service, Deployment, HorizontalPodAutoscaler (v1), Role, ClusterRole, their bindings, the access reviews and
// DeleteOptions. kUnimplemented for other kinds, and for fields that have a value but are not in the tables, so that
// nothing is lost silently; kInvalidArgument for bytes that are no protobuf. Source: generated.proto of the Kubernetes
// API types.
base::Result<base::Json> DecodeProtobufBody(std::string_view body);

}  // namespace tidewright::sandbox
