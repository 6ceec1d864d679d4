// Trigger metadata by table: one declarative list of fields per trigger type says what there is, what is required,
// where values may come from, how each is parsed and what the reference page says of it. Unknown keys are errors,
// because a misspelt threshold that is ignored silently is a workload that does not scale. Private to scaler/trigger.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/document.h"
#include "base/status.h"
#include "scaler/trigger.h"

namespace tidewright::scaler::trigger {

enum class Need {
  kRequired,
  kTarget,  // What one replica is for: required, unless a formula takes only the trigger's value.
  kOptional,
};

enum class From {
  kMetadata,  // The manifest only.
  kDecision,  // The same; says what is made of the value, and nothing about which value is read.
  kAny,       // The manifest, <key>FromEnv, or a parameter of authenticationRef.
  kSecret,    // <key>FromEnv or a parameter of authenticationRef: never in plain text.
};

// One field. `parse` gets the trimmed value (not empty) and returns a message such as
// "\"abc\" is not a number; use for example 5"; nullptr marks a key of KEDA's that this build does not implement.
// `help` is a sentence for the reference page, with the default.
template <typename Config>
struct Field {
  const char* key;
  Need need;
  From from;
  base::Status (*parse)(const std::string& value, Config& config);
  const char* help = "";
};

// A field without its parser, for the reference page.
struct FieldHelp {
  std::string key;
  Need need;
  From from;
  std::string help;
  bool supported;
};

// Settings that go to the source as they are.
struct PassedOn {
  std::map<std::string, std::string> values;
  std::vector<std::string> secrets;  // Those of the values that came from the environment.
};

// Hands out values of one trigger's metadata and remembers which keys are known.
class MetadataReader {
 public:
  // `secrets` null: only what the manifest says can be checked.
  MetadataReader(const TriggerSpec& spec, const TriggerSecrets* secrets, std::string path, base::ErrorList& errors);

  // Collects what ReadMetadata() would read instead of reading it.
  void DescribeTo(std::vector<FieldHelp>* fields) { described_ = fields; }
  std::vector<FieldHelp>* described() const { return described_; }

  // The value of a field, if it has one now. Reports a required one that is missing.
  std::optional<std::string> Take(const char* key, Need need, From from);
  void Unsupported(const char* key);
  // All of the metadata, for a source with settings of its own: <key>FromEnv under this name with the variable's value.
  // After the fields have been read; from then on every key is known, unless it is one of them in another case.
  PassedOn PassOn();
  void Error(const std::string& key, const std::string& message);
  // Reports what a parser said of a value. Parts of the value that the message quotes are hidden, unless users find
  // them in the manifest, without a password.
  void Refuse(const std::string& key, const std::string& value, const std::string& message);
  // Reports keys that no field knows, with the nearest name.
  void Finish();

  // Stands for what was taken so far, but for fields of kDecision; equal for equal values only.
  uint64_t question_id() const;
  // The same for who logs in: secrets, user names, and what came from the environment or an authenticationRef.
  uint64_t login_id() const;

 private:
  std::optional<std::string> FromEnv(const std::string& key);
  std::optional<std::string> Find(const char* key, Need need, From from);

  const TriggerSpec& spec_;
  const TriggerSecrets* secrets_;
  const std::string path_;
  base::ErrorList& errors_;
  std::vector<std::string> known_;
  std::vector<FieldHelp>* described_ = nullptr;
  std::string question_, login_;  // Keys and values behind their lengths.
};

// Reads the fields of a table into `config`: for types that share some of their fields with others.
template <typename Config, size_t kCount>
void ReadInto(const Field<Config> (&table)[kCount], MetadataReader& reader, Config& config) {
  for (const Field<Config>& field : table) {
    if (reader.described() != nullptr) {
      reader.described()->push_back({field.key, field.need, field.from, field.help, field.parse != nullptr});
      continue;
    }
    if (field.parse == nullptr) {
      reader.Unsupported(field.key);
      continue;
    }
    std::optional<std::string> value = reader.Take(field.key, field.need, field.from);
    if (!value) continue;
    base::Status status = field.parse(*value, config);
    if (!status.ok()) reader.Refuse(field.key, *value, status.message());
  }
}

template <typename Config, size_t kCount>
Config ReadMetadata(const Field<Config> (&table)[kCount], MetadataReader& reader) {
  Config config;
  ReadInto(table, reader, config);
  return config;
}

// Keeps a text as it is: `return Keep(value, &config.member)`.
inline base::Status Keep(const std::string& value, std::string* out) {
  *out = value;
  return base::Status::Ok();
}

// A message without what it quotes ("...") of a secret text: "(hidden)" stands there.
std::string HideQuotesOf(const std::string& secret, const std::string& message);

// Parsers for fields. Numbers become milli-units; a positive number below 0.001 is an error because it would vanish.
base::Status ParseMilli(const std::string& value, int64_t* milli);
base::Status ParsePositiveMilli(const std::string& value, int64_t* milli);
base::Status ParseWhole(const std::string& value, int64_t min, int64_t max, int64_t* out);
base::Status ParseFlag(const std::string& value, bool* out);
// KEDA's `tls`: enable or disable.
base::Status ParseTlsMode(const std::string& value, bool* tls);
struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// For people: "host:port".
std::string TextOf(const HostPort& server);
// "host:port", "[::1]:port"; a port that is not given is `default_port`, or an error when that is 0.
base::Status ParseHostPort(const std::string& value, uint16_t default_port, HostPort* out);
// Go's duration syntax, or a bare number of milliseconds, as KEDA reads them; 1 ms to 5 min.
base::Status ParseTimeoutMs(const std::string& value, int64_t* ms);

}  // namespace tidewright::scaler::trigger
