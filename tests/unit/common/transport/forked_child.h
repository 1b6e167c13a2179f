// Processes that tests fork, and whether the system lets them copy from each other's memory.
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace baton {

// In a child of `parent`: it is killed when the parent's thread that forked it ends.
inline void EndWithParent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
}

// A process with the memory that this one had when it began.
class ForkedProcess {
 public:
  ForkedProcess() {
    const pid_t parent = getpid();
    pid_ = fork();
    if (pid_ != 0) return;
    EndWithParent(parent);
    while (true) pause();
  }
  ~ForkedProcess() { End(); }
  void End() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, -1), nullptr, 0);
  }
  uint32_t pid() const { return static_cast<uint32_t>(pid_); }

 private:
  pid_t pid_ = -1;
};

// Empty where a process may copy from its child's memory, which every rule but the strictest
// allows.
inline std::string WhyMemoryCannotBeCopied() {
  const ForkedProcess child;
  char byte = 1;
  char copy = 0;
  const iovec local = {&copy, 1};
  const iovec remote = {&byte, 1};
  const pid_t pid = static_cast<pid_t>(child.pid());
  if (process_vm_readv(pid, &local, 1, &remote, 1, 0) == 1) return "";
  if (errno != EPERM && errno != ENOSYS) return "";  // a fault that the tests are to find
  return std::string("the system forbids process_vm_readv: ") + std::strerror(errno);
}

}  // namespace baton
