#include "kernels/host/futex.h"

#include <chrono>
#include <climits>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <linux/futex.h>

namespace baton::kernels {
namespace {

// How long a wait spins before it sleeps.
constexpr std::chrono::microseconds kSpin(20);
// Pauses between two looks at the clock, about a microsecond.
constexpr int kPausesPerLook = 32;

// Spinning keeps others from running where there is one processor.
bool MaySpin() {
  static const bool may_spin = std::thread::hardware_concurrency() > 1;
  return may_spin;
}

}  // namespace

void PauseProcessor() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void WaitableWord::WaitWhile(uint32_t old) {
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  if (Load() != old) return;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  while (MaySpin() && std::chrono::steady_clock::now() < end) {
    for (int pause = 0; pause < kPausesPerLook; ++pause) {
      if (Load() != old) return;
      PauseProcessor();
    }
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
