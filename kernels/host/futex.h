// Waiting for a 32-bit word to change: a short spin, then sleep.
#pragma once

#include <atomic>
#include <cstdint>

namespace baton::kernels {

// A word that some threads wait on and others change. A wait costs no system call if the change
// comes within the spin (about 20 us); Change costs one only if somebody sleeps. Threads: any.
class WaitableWord {
 public:
  uint32_t Load() const { return word_.load(std::memory_order_acquire); }

  // Returns once the word differs from `old`.
  void WaitWhile(uint32_t old);

  // Adds one and wakes all sleepers. What was written before is visible to those who see it.
  void Advance();

 private:
  std::atomic<uint32_t> word_{0};
  std::atomic<uint32_t> sleepers_{0};
};

// Tells the processor that this is a spin.
void PauseProcessor();

}  // namespace baton::kernels
