// Log lines to standard error, one `write` each:
//   2026-11-22T04:40:01.123456Z INFO scheduler step_loop.cc:88] epoch 3 starts with 2 stages
//
//   BATON_LOG(INFO) << "epoch " << epoch << " starts";
//
// Control bytes in a message are written as "\n" or "\x1b". The role in each line is set once by
// SetLogRole. Levels below the minimum cost one load and a branch.
#pragma once

#include <sstream>
#include <string>

#include "absl/strings/string_view.h"

namespace baton {

enum class LogLevel { kDebug = 0, kInfo = 1, kWarning = 2, kError = 3 };

// Name that every line of this process carries, for example "scheduler" or "stage-worker-1". Call
// before threads start.
void SetLogRole(std::string role);

// Lines below `level` are dropped. Default: kInfo. Any thread.
void SetMinLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);

// "debug", "info", "warning" or "error" to a level; false for anything else.
bool ParseLogLevel(absl::string_view text, LogLevel* level);

namespace log_internal {

// Collects one line and writes it when destroyed.
class LogLine {
 public:
  LogLine(LogLevel level, const char* file, int line) : level_(level), file_(file), line_(line) {}
  ~LogLine();
  std::ostream& stream() { return stream_; }

 private:
  LogLevel level_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

struct Voidify {
  void operator&(std::ostream&) {}
};

inline constexpr LogLevel kLevelDEBUG = LogLevel::kDebug;
inline constexpr LogLevel kLevelINFO = LogLevel::kInfo;
inline constexpr LogLevel kLevelWARNING = LogLevel::kWarning;
inline constexpr LogLevel kLevelERROR = LogLevel::kError;

}  // namespace log_internal
}  // namespace baton

// `level` is DEBUG, INFO, WARNING or ERROR.
#define BATON_LOG(level)                                                                   \
  !::baton::LogEnabled(::baton::log_internal::kLevel##level)                               \
      ? (void)0                                                                            \
      : ::baton::log_internal::Voidify() &                                                 \
            ::baton::log_internal::LogLine(::baton::log_internal::kLevel##level, __FILE__, \
                                           __LINE__)                                       \
                .stream()
