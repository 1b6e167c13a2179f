#include "kernels/host/futex.h"

#include <climits>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <linux/futex.h>

namespace baton::kernels {
namespace {

// About 20 us at 40 cycles a pause; none where nobody else could run meanwhile.
int SpinLimit() {
  static const int limit = std::thread::hardware_concurrency() > 1 ? 1500 : 0;
  return limit;
}

}  // namespace

void PauseProcessor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void WaitableWord::WaitWhile(uint32_t old) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  for (int spin = SpinLimit(); spin > 0; --spin) {
    if (Load() != old) return;
    PauseProcessor();
  }
  sleepers_.fetch_add(1, std::memory_order_seq_cst);
  while (word_.load(std::memory_order_seq_cst) == old) {
    syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  }
  sleepers_.fetch_sub(1, std::memory_order_relaxed);
}

void WaitableWord::Advance() {
  word_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) {
    syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

}  // namespace baton::kernels
