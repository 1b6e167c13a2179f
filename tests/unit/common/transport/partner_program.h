// A partner in a process of its own: the test's program, started once more.
#pragma once

#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "gtest/gtest.h"

#include "tests/unit/common/transport/forked_child.h"

namespace baton {

inline const std::string kPartnerFlag = "--partner=";

// What main() was told to be a partner with; nothing: it is the test.
inline std::optional<std::string> PartnerArgument(int argc, char** argv) {
  if (argc < 2 || std::string(argv[1]).rfind(kPartnerFlag, 0) != 0) return std::nullopt;
  return std::string(argv[1]).substr(kPartnerFlag.size());
}

// The partner's first word: where it can be reached.
inline bool TellAddress(const std::string& address) {
  const auto size = static_cast<uint32_t>(address.size());
  return write(STDOUT_FILENO, &size, sizeof(size)) == sizeof(size) &&
         write(STDOUT_FILENO, address.data(), size) == static_cast<ssize_t>(size);
}

// This program again, as the partner; it ends with this one.
class PartnerProcess {
 public:
  explicit PartnerProcess(const std::string& transports) {
    int to_child[2];
    int from_child[2];
    if (pipe(to_child) != 0 || pipe(from_child) != 0) return;
    const pid_t parent = getpid();
    // Before fork(): other threads of the test may be in the allocator.
    const std::string argument = kPartnerFlag + transports;
    pid_ = fork();
    if (pid_ == 0) {
      EndWithParent(parent);
      dup2(to_child[0], STDIN_FILENO);
      dup2(from_child[1], STDOUT_FILENO);
      for (int fd = 3; fd < 256; ++fd) close(fd);
      execl("/proc/self/exe", "partner", argument.c_str(), nullptr);
      _exit(127);
    }
    close(to_child[0]);
    close(from_child[1]);
    input_ = to_child[1];
    uint32_t size = 0;
    ReadFully(from_child[0], &size, sizeof(size));
    address_.resize(size);
    ReadFully(from_child[0], address_.data(), size);
    close(from_child[0]);
  }
  ~PartnerProcess() {
    Kill();
    EndInput();
  }
  // Tells it that the test is done.
  void EndInput() {
    if (input_ >= 0) close(std::exchange(input_, -1));
  }

  // Leaves no zombie: shared memory tells a death by the process being gone.
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }

  // Waits for its end; its exit status, or -1.
  int Wait() {
    int status = 0;
    const bool ended = waitpid(std::exchange(pid_, -1), &status, 0) > 0 && WIFEXITED(status);
    return ended ? WEXITSTATUS(status) : -1;
  }

  // Returns when every thread stands still: kill() itself returns before that.
  void Freeze() const {
    int status = 0;
    kill(pid_, SIGSTOP);
    EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
    EXPECT_TRUE(WIFSTOPPED(status));
  }
  void Thaw() const { kill(pid_, SIGCONT); }

  const std::string& address() const { return address_; }

 private:
  static void ReadFully(int fd, void* out, size_t size) {
    auto* next = static_cast<char*>(out);
    while (size > 0) {
      const ssize_t got = read(fd, next, size);
      if (got <= 0) return;
      next += got;
      size -= static_cast<size_t>(got);
    }
  }

  pid_t pid_ = -1;
  int input_ = -1;
  std::string address_;
};

}  // namespace baton
