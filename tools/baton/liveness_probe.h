// Asks one process of this machine, again and again, whether it makes progress: GET /health/live of
// its metrics endpoint. Never blocks: whoever polls descriptors drives it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace baton {

class LivenessProbe final {
 public:
  // A process that gives no good answer for `patience` hangs. Questions are a third of that apart.
  // All times are of an AwakeClock.
  explicit LivenessProbe(absl::Duration patience) : patience_(patience) {}
  ~LivenessProbe() { Stop(); }
  LivenessProbe(LivenessProbe&& other) noexcept;
  LivenessProbe(const LivenessProbe&) = delete;
  LivenessProbe& operator=(const LivenessProbe&) = delete;

  // Asks 127.0.0.1:`port` from now on; the process counts as live at `now`.
  void Start(int port, absl::Time now);
  void Stop();
  bool started() const { return port_ > 0; }

  // To be polled for `events`; -1 between questions.
  int fd() const { return fd_; }
  int16_t events() const;
  // When to call Advance at the latest, with the descriptor ready or not. While an answer is
  // awaited that is often enough for a standstill of the machine to be seen.
  absl::Time next_due() const;
  // Goes on as far as is possible without waiting.
  void Advance(absl::Time now);
  // An answer is overdue. Always false while stopped; so below.
  bool late(absl::Time now) const;
  // The process hangs: no good answer for too long.
  bool hangs(absl::Time now) const;
  // It has a reason not to answer, for which it gets a third of the patience more. False: it has
  // had so much that it is of no use, or has answered meanwhile that it hangs.
  bool Excuse(absl::Time now);

 private:
  void Ask(absl::Time now);
  void Send();
  void Read(absl::Time now);
  void Close();

  absl::Duration patience_;
  int port_ = 0;
  int fd_ = -1;
  bool sent_ = false;
  std::string reply_;
  absl::Time last_good_;
  absl::Time excused_until_ = absl::InfinitePast();
  bool says_it_hangs_ = false;  // since the last good answer
  absl::Time next_question_;
  absl::Time last_look_;  // of Advance
};

}  // namespace baton
