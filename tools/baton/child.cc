#include "tools/baton/child.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace baton {
namespace {

constexpr size_t kLinesKept = 12;
constexpr size_t kMaxLineBytes = 16 << 10;

// Runs between fork and exec, where only async-signal-safe calls are allowed.
[[noreturn]] void BecomeProgram(char* const* argv, char* const* envp, int output, pid_t parent,
                                int niceness) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the parent died before the line above
  setpgid(0, 0);
  if (niceness > 0) (void)!nice(niceness);  // less than ours is always granted
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int input = open("/dev/null", O_RDONLY);
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execve(argv[0], argv, envp);
  _exit(127);
}

// The process's own environment with `variables` in place of those of the same name.
std::vector<std::string> EnvironmentWith(const std::vector<std::string>& variables) {
  std::vector<std::string> all = variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const absl::string_view name(*entry, std::strcspn(*entry, "="));
    const bool replaced =
        std::any_of(variables.begin(), variables.end(), [name](const std::string& variable) {
          return absl::StartsWith(variable, absl::StrCat(name, "="));
        });
    if (!replaced) all.emplace_back(*entry);
  }
  return all;
}

// As execve wants it; valid as long as `words`.
std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Child::Child(std::string name, pid_t pid, int output_fd)
    : name_(std::move(name)), pid_(pid), output_fd_(output_fd) {}

absl::StatusOr<std::unique_ptr<Child>> Child::Start(std::string name, const std::string& program,
                                                    const std::vector<std::string>& arguments,
                                                    const std::vector<std::string>& variables,
                                                    int niceness) {
  if (access(program.c_str(), X_OK) != 0)
    return absl::NotFoundError(
        absl::StrCat("cannot start ", name, ": ", program, ": ", std::strerror(errno)));
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = EnvironmentWith(variables);
  const std::vector<char*> argv = Pointers(words);
  const std::vector<char*> envp = Pointers(environment);
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0)
    return absl::InternalError(absl::StrCat("no pipe for ", name, ": ", std::strerror(errno)));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeProgram(argv.data(), envp.data(), ends[1], parent, niceness);
  close(ends[1]);
  if (pid < 0) {
    close(ends[0]);
    return absl::InternalError(absl::StrCat("cannot start ", name, ": ", std::strerror(errno)));
  }
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return std::unique_ptr<Child>(new Child(std::move(name), pid, ends[0]));
}

Child::~Child() {
  if (running_) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (output_fd_ >= 0) close(output_fd_);
}

void Child::TakeLine(std::string line, const std::function<void(const std::string& line)>& sink) {
  sink(line);
  last_lines_.push_back(std::move(line));
  if (last_lines_.size() > kLinesKept) last_lines_.pop_front();
}

void Child::ReadOutput(const std::function<void(const std::string& line)>& sink) {
  std::array<char, 4096> chunk{};
  while (output_fd_ >= 0) {
    const ssize_t n = read(output_fd_, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      close(std::exchange(output_fd_, -1));
      if (!partial_line_.empty()) TakeLine(std::exchange(partial_line_, ""), sink);
      return;
    }
    partial_line_.append(chunk.data(), static_cast<size_t>(n));
    for (size_t end = 0; (end = partial_line_.find('\n')) != std::string::npos;) {
      std::string line = partial_line_.substr(0, end);
      partial_line_.erase(0, end + 1);
      TakeLine(std::move(line), sink);
    }
    if (partial_line_.size() > kMaxLineBytes) {
      TakeLine(partial_line_, sink);  // not moved: GCC 12 takes that for an overrun
      partial_line_.clear();
    }
  }
}

void Child::Reap() {
  int status = 0;
  if (!running_ || waitpid(pid_, &status, WNOHANG) != pid_) return;
  running_ = false;
  failed_ = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
  if (WIFEXITED(status)) exit_status_ = WEXITSTATUS(status);
  if (WIFSIGNALED(status))
    ending_ = absl::StrCat("killed by SIG", sigabbrev_np(WTERMSIG(status)));
  else
    ending_ = absl::StrCat("exit status ", WEXITSTATUS(status));
}

void Child::Signal(int number) const {
  if (running_) kill(pid_, number);
}

}  // namespace baton
