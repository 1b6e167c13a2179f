#include "common/metrics/resource_usage.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace baton {
namespace {

prometheus::MetricFamily Single(const char* name, const char* help, prometheus::MetricType type,
                                double value) {
  prometheus::ClientMetric metric;
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {name, help, type, {metric}};
}

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Fields of /proc/self/stat after the command, which may itself hold spaces: [0] is the state,
// which proc(5) numbers 3.
std::vector<std::string> StatFields() {
  const std::string stat = ReadAll("/proc/self/stat");
  const size_t end = stat.rfind(')');
  if (end == std::string::npos) return {};
  return absl::StrSplit(stat.substr(end + 1), ' ', absl::SkipWhitespace());
}

bool Field(const std::vector<std::string>& fields, size_t number, double* value) {
  return number - 3 < fields.size() && absl::SimpleAtod(fields[number - 3], value);
}

double BootTime() {
  for (absl::string_view line : absl::StrSplit(ReadAll("/proc/stat"), '\n')) {
    double seconds = 0;
    if (absl::ConsumePrefix(&line, "btime ") && absl::SimpleAtod(line, &seconds)) return seconds;
  }
  return 0;
}

}  // namespace

std::vector<prometheus::MetricFamily> ResourceUsage::Collect() const {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> families;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const std::vector<std::string> stat = StatFields();
  double user = 0, system = 0, threads = 0, start = 0, virtual_bytes = 0, resident_pages = 0;
  if (Field(stat, 14, &user) && Field(stat, 15, &system))
    families.push_back(Single("process_cpu_seconds_total", "User and system CPU time, seconds.",
                              MetricType::Counter, (user + system) / ticks));
  if (Field(stat, 20, &threads))
    families.push_back(Single("process_threads", "Threads now.", MetricType::Gauge, threads));
  if (Field(stat, 22, &start))
    families.push_back(Single("process_start_time_seconds", "Start, seconds since the epoch.",
                              MetricType::Gauge, BootTime() + start / ticks));
  if (Field(stat, 23, &virtual_bytes))
    families.push_back(Single("process_virtual_memory_bytes", "Virtual memory, bytes.",
                              MetricType::Gauge, virtual_bytes));
  if (Field(stat, 24, &resident_pages))
    families.push_back(Single("process_resident_memory_bytes", "Resident memory, bytes.",
                              MetricType::Gauge,
                              resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE))));
  std::error_code error;
  std::filesystem::directory_iterator open_files("/proc/self/fd", error);
  if (!error)
    families.push_back(
        Single("process_open_fds", "Open file descriptors.", MetricType::Gauge,
               static_cast<double>(std::distance(begin(open_files), end(open_files)))));
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    families.push_back(Single("process_max_fds", "Limit of open file descriptors.",
                              MetricType::Gauge, static_cast<double>(limit.rlim_cur)));
  return families;
}

}  // namespace baton
