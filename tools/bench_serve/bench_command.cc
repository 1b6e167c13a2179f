#include "tools/bench_serve/bench_command.h"

#include <ostream>
#include <sys/resource.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "tools/bench_serve/bench_options.h"
#include "tools/bench_serve/bench_session.h"
#include "tools/bench_serve/report.h"

namespace baton {
namespace {

// A run may have a thousand connections open at a time.
void AllowManyDescriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

absl::Status Serve(const bench::BenchOptions& options, std::ostream& out, std::ostream& err) {
  AllowManyDescriptors();
  bench::BenchSession session(options, err);
  if (absl::Status prepared = session.Prepare(); !prepared.ok()) return prepared;
  const auto result = session.Run();
  if (!result.ok()) return result.status();
  bench::RunSummary summary = bench::Summarize(*result, options.goodput);
  summary.spec_decode = session.spec_decode();
  out << bench::TextReport(options, summary);
  out.flush();
  for (const bench::RequestRecord& record : result->records) {
    if (record.success) continue;
    err << "baton: first failure: " << record.error << "\n";
    break;
  }
  if (options.save_result || options.save_detailed || options.append_result) {
    const std::string date = absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone());
    const std::string path = bench::ResultPath(options, session.model(), date);
    const absl::Status saved = bench::WriteResult(
        path, bench::JsonReport(options, session.model(), *result, summary, date),
        options.append_result);
    if (!saved.ok()) return saved;
    err << "baton: wrote " << path << "\n";
  }
  if (summary.num_completed > 0) return absl::OkStatus();
  return absl::UnavailableError("no request succeeded");
}

}  // namespace

int RunBench(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  const bool help = !words.empty() && (words[0] == "--help" || words[0] == "-h");
  if (help) {
    out << bench::BenchHelp();
    return 0;
  }
  if (words.empty() || words[0] != "serve") {
    err << "baton: there is `baton bench serve`; baton bench serve --help\n";
    return 2;
  }
  const auto options = bench::ParseBenchOptions({words.begin() + 1, words.end()});
  if (!options.ok()) {
    err << "baton: " << options.status().message() << "\ntry `baton bench serve --help`\n";
    return 2;
  }
  if (options->help) {
    out << bench::BenchHelp();
    return 0;
  }
  for (const std::string& warning : options->warnings) err << "baton: " << warning << "\n";
  const absl::Status status = Serve(*options, out, err);
  if (status.ok()) return 0;
  err << "baton: " << status.message() << "\n";
  return 1;
}

}  // namespace baton
