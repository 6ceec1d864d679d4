// Structural schemas of CustomResourceDefinitions: defaulting, pruning and validation of custom objects.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json_fwd.h"

namespace tidewright::sandbox {

// One cause of a 422 reply, spelled as the real server does.
struct FieldError {
  std::string reason;   // FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldValueTypeInvalid, ...
  std::string field;    // "spec.triggers[0].type"
  std::string message;  // "Required value"
};

FieldError Required(const std::string& field, const std::string& detail = "");
FieldError Invalid(const std::string& field, const base::Json& value, const std::string& detail);
FieldError NotSupported(const std::string& field, const base::Json& value, const std::vector<std::string>& supported);

// "field: message" of each, in brackets when there are several.
std::string JoinFieldErrors(const std::vector<FieldError>& errors);

// Fills in the schema's defaults.
void ApplySchemaDefaults(const base::Json& schema, base::Json& value);

// Removes members that the schema does not name and appends their paths to `unknown`.
// apiVersion, kind and metadata are always known at the top.
void PruneUnknownFields(const base::Json& schema, base::Json& value, std::vector<std::string>* unknown);

// Appends what is wrong with `value` to `errors`, at most 100. Understands type, nullable, enum, required, properties,
// additionalProperties, items, minimum/maximum (also exclusive), multipleOf, minLength/maxLength, pattern,
// minItems/maxItems, minProperties/maxProperties, allOf/anyOf/oneOf/not and x-kubernetes-int-or-string.
// x-kubernetes-validations (CEL) and format are not evaluated.
void ValidateSchema(const base::Json& schema, const base::Json& value, const std::string& path,
                    std::vector<FieldError>* errors);

}  // namespace tidewright::sandbox
