// Ends the process with a message when an invariant of our own code is broken. Never for what the
// world can do wrong.
//
//   BATON_CHECK(block_id < num_blocks) << "block " << block_id << " of " << num_blocks;
#pragma once

#include <ostream>
#include <sstream>

#include "common/log/log.h"

namespace baton::log_internal {

// Collects the message; its destructor writes it and aborts.
class CheckFailure {
 public:
  CheckFailure(const char* condition, const char* file, int line);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return stream_; }

 private:
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

}  // namespace baton::log_internal

#define BATON_CHECK(condition)                     \
  (condition) ? (void)0                            \
              : ::baton::log_internal::Voidify() & \
                    ::baton::log_internal::CheckFailure(#condition, __FILE__, __LINE__).stream()

#define BATON_CHECK_OK(expr)                                                  \
  do {                                                                        \
    if (const auto& baton_check_status_ = (expr); !baton_check_status_.ok())  \
      ::baton::log_internal::CheckFailure(#expr, __FILE__, __LINE__).stream() \
          << baton_check_status_.ToString();                                  \
  } while (false)
