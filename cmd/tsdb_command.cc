#include "cmd/tsdb_command.h"

#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/log.h"
#include "cmd/tsdb_bench.h"
#include "cmd/tsdb_blocks.h"
#include "cmd/tsdb_samples.h"
#include "http/client.h"
#include "tsdb/verify.h"

namespace tidewright::cmd {

namespace {

int Report(const base::Status& status) {
  if (status.ok()) return 0;
  std::fprintf(stderr, "tidewright tsdb: %s\n", status.message().c_str());
  return 1;
}

int RunVerify(const std::string& directory) {
  auto report = tsdb::VerifyDirectory(directory);
  if (!report.ok()) return Report(report.status());
  for (const std::string& fault : report->faults) std::printf("FAULT %s\n", fault.c_str());
  for (const std::string& note : report->notes) std::printf("note  %s\n", note.c_str());
  std::printf("%llu files, %llu bytes read: %zu faults\n", static_cast<unsigned long long>(report->files),
              static_cast<unsigned long long>(report->bytes), report->faults.size());
  return report->faults.empty() ? 0 : 1;
}

// What an error reply of the API says, or its status.
std::string ReasonOf(const http::Response& response) {
  auto body = base::ParseJson(response.body);
  if (body.ok() && body->is_object() && body->contains("error")) return (*body)["error"].get<std::string>();
  return "HTTP status " + std::to_string(response.status);
}

base::Status AskForSnapshot(const std::string& url, bool skip_head) {
  TW_ASSIGN_OR_RETURN(const std::unique_ptr<http::Client> client, http::NewCurlClient({}));
  http::ClientRequest request;
  request.method = "POST";
  request.url = url + "/api/v1/admin/tsdb/snapshot" + (skip_head ? "?skip_head=true" : "");
  request.total_timeout_ms = 3'600'000;  // All that is stored may be written.
  auto response = client->Send(request);
  if (!response.ok()) return response.status().Annotate("ask " + url + " for a snapshot");
  if (response->status != 200) {
    return base::UnavailableError("ask " + url + " for a snapshot: " + ReasonOf(*response));
  }
  auto body = base::ParseJson(response->body);
  if (!body.ok() || !body->is_object() || !body->contains("data") || !(*body)["data"].contains("name")) {
    return base::UnavailableError("ask " + url + " for a snapshot: the answer is not that of a store");
  }
  std::printf("%s\n", (*body)["data"]["name"].get<std::string>().c_str());
  return base::Status::Ok();
}

// Flags live as long as what is chosen.
template <class Flags>
std::shared_ptr<Flags> WhenChosen(CLI::App& command, std::function<int()>* chosen, base::Status (*run)(const Flags&)) {
  auto flags = std::make_shared<Flags>();
  command.callback([chosen, flags, run] { *chosen = [flags, run] { return Report(run(*flags)); }; });
  return flags;
}

void AddBlockCommands(CLI::App& tsdb, std::function<int()>* chosen) {
  CLI::App* analyze =
      tsdb.add_subcommand("analyze", "Say which labels of a block cost most, and how full its chunks are");
  auto analysis = WhenChosen<AnalyzeFlags>(*analyze, chosen, AnalyzeStore);
  analyze->add_option("DIRECTORY", analysis->directory, "Data directory")->capture_default_str();
  analyze->add_option("BLOCK", analysis->block, "Block; default: the one that was made last");
  analyze->add_option("--limit", analysis->limit, "Items of each list")->capture_default_str();
  analyze->add_flag("--extended", analysis->extended, "Read the chunks, too");
  analyze->add_option("--match", analysis->match, "Only the series of this selector");

  CLI::App* list = tsdb.add_subcommand("list", "List the blocks");
  auto listing = WhenChosen<ListFlags>(*list, chosen, ListStore);
  list->add_option("DIRECTORY", listing->directory, "Data directory")->capture_default_str();
  list->add_flag("-r,--human-readable", listing->human_readable, "Times and sizes for people");

  CLI::App* from = tsdb.add_subcommand("create-blocks-from", "Make blocks of samples in another format");
  CLI::App* openmetrics = from->require_subcommand(1)->add_subcommand("openmetrics", "Samples as OpenMetrics text");
  auto import = WhenChosen<ImportFlags>(*openmetrics, chosen, ImportOpenMetrics);
  openmetrics->add_option("FILE", import->file, "Text with a timestamp on each line")->required();
  openmetrics->add_option("DIRECTORY", import->directory, "Where the blocks go")->capture_default_str();
  openmetrics->add_flag("-r,--human-readable", import->human_readable, "Times and sizes for people");
  openmetrics->add_flag("-q,--quiet", import->quiet, "Do not print the blocks");
  openmetrics->add_option("--label", import->labels, "name=value: a label that each series gets")
      ->allow_extra_args(false);
}

void AddSampleCommands(CLI::App& tsdb, std::function<int()>* chosen) {
  for (bool openmetrics : {false, true}) {
    CLI::App* dump = openmetrics ? tsdb.add_subcommand("dump-openmetrics", "Print samples as OpenMetrics text")
                                 : tsdb.add_subcommand("dump", "Print samples");
    auto flags = WhenChosen<DumpFlags>(*dump, chosen, DumpStore);
    flags->openmetrics = openmetrics;
    dump->add_option("DIRECTORY", flags->directory, "Data directory; it is not changed")->capture_default_str();
    dump->add_option("--min-time", flags->mint, "First time, in ms since the epoch");
    dump->add_option("--max-time", flags->maxt, "Last time");
    dump->add_option("--match", flags->match, "Selectors of series; default: all series")->allow_extra_args(false);
    dump->add_option("--sandbox-dir-root", flags->scratch, "Where the log is copied to; default: $TMPDIR or /tmp");
  }
}

struct SnapshotFlags {
  std::string url = "http://127.0.0.1:9090";
  bool skip_head = false;
};

struct VerifyFlags {
  std::string directory = "data/";
};

}  // namespace

CLI::App* AddTsdbCommand(CLI::App& app, std::function<int()>* chosen) {
  CLI::App* tsdb = app.add_subcommand("tsdb", "Tools around the store")->require_subcommand(1);
  AddBlockCommands(*tsdb, chosen);
  AddSampleCommands(*tsdb, chosen);

  auto verified = std::make_shared<VerifyFlags>();
  CLI::App* verify = tsdb->add_subcommand("verify", "Look for damage in every file; changes nothing");
  verify->add_option("DIRECTORY", verified->directory, "Data directory")->capture_default_str();
  verify->callback([chosen, verified] { *chosen = [verified] { return RunVerify(verified->directory); }; });

  CLI::App* snapshot = tsdb->add_subcommand("snapshot", "Have a running store write all that it has as blocks");
  auto running = WhenChosen<SnapshotFlags>(
      *snapshot, chosen, [](const SnapshotFlags& flags) { return AskForSnapshot(flags.url, flags.skip_head); });
  snapshot->add_option("--url", running->url, "Its web port; it needs --web.enable-admin-api")->capture_default_str();
  snapshot->add_flag("--skip-head", running->skip_head, "Only what is in blocks already");

  CLI::App* bench = tsdb->add_subcommand("bench", "Measure the store")->require_subcommand(1);
  CLI::App* write = bench->add_subcommand("write", "Append samples, start anew, query");
  auto measured = WhenChosen<BenchFlags>(*write, chosen, BenchWrite);
  write->add_option("FILE", measured->file, "Series to write: a JSON object of labels on each line; default: made up");
  write->add_option("--out", measured->out, "Directory to write to; made anew")->capture_default_str();
  write->add_option("--metrics", measured->series, "Number of series")->capture_default_str();
  write->add_option("--scrapes", measured->scrapes, "Samples of each, 15 s apart")->capture_default_str();
  return tsdb;
}

}  // namespace tidewright::cmd
