#include "common/log/log.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "common/log/check.h"

namespace baton {
namespace {

std::atomic<int> min_level{static_cast<int>(LogLevel::kInfo)};

std::string& Role() {
  static std::string* role = new std::string("baton");
  return *role;
}

absl::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "DEBUG";
    case LogLevel::kInfo:
      return "INFO";
    case LogLevel::kWarning:
      return "WARN";
    case LogLevel::kError:
      return "ERROR";
  }
  return "?";
}

// A line is one line, whoever wrote what stands in it: control bytes as C writes them.
std::string Printable(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppend(&out, "\\x", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      out += c;
    }
  }
  return out;
}

void WriteLine(LogLevel level, const char* file, int line, absl::string_view text) {
  const char* slash = std::strrchr(file, '/');
  const std::string out =
      absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone()), " ",
                   LevelName(level), " ", Role(), " ", slash != nullptr ? slash + 1 : file, ":",
                   line, "] ", Printable(text), "\n");
  // A log line that cannot be written is lost: there is nowhere to say so.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, out.data(), out.size());
}

}  // namespace

void SetLogRole(std::string role) { Role() = std::move(role); }

void SetMinLogLevel(LogLevel level) { min_level.store(static_cast<int>(level)); }

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) >= min_level.load(std::memory_order_relaxed);
}

bool ParseLogLevel(absl::string_view text, LogLevel* level) {
  if (text == "debug")
    *level = LogLevel::kDebug;
  else if (text == "info")
    *level = LogLevel::kInfo;
  else if (text == "warning")
    *level = LogLevel::kWarning;
  else if (text == "error")
    *level = LogLevel::kError;
  else
    return false;
  return true;
}

namespace log_internal {

LogLine::~LogLine() { WriteLine(level_, file_, line_, stream_.str()); }

CheckFailure::CheckFailure(const char* condition, const char* file, int line)
    : file_(file), line_(line) {
  stream_ << "broken invariant: " << condition << " ";
}

CheckFailure::~CheckFailure() {
  WriteLine(LogLevel::kError, file_, line_, stream_.str());
  std::abort();
}

}  // namespace log_internal
}  // namespace baton
