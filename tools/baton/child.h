// One child of the supervisor: a process and the pipe that carries what it writes.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

class Child final {
 public:
  // Starts `program` with `arguments`, in a process group of its own, with no signal blocked; it
  // gets SIGKILL if the calling thread ends. Its environment is ours with `variables`
  // ("NAME=value") put in; `niceness` [0, 19] is added to ours. Errors: NotFound (no such program),
  // Internal (no resources).
  static absl::StatusOr<std::unique_ptr<Child>> Start(
      std::string name, const std::string& program, const std::vector<std::string>& arguments,
      const std::vector<std::string>& variables = {}, int niceness = 0);
  // Kills the process if it still runs.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  bool running() const { return running_; }
  // How it ended: "exit status 1", "killed by SIGSEGV".
  const std::string& ending() const { return ending_; }
  bool failed() const { return failed_; }
  // Of a process that ended by itself; nullopt: it runs, or a signal ended it.
  std::optional<int> exit_status() const { return exit_status_; }
  const std::deque<std::string>& last_lines() const { return last_lines_; }

  // Readable when the child has written; -1 once it has closed its end.
  int output_fd() const { return output_fd_; }
  // Takes what can be read now and gives each whole line to `sink`.
  void ReadOutput(const std::function<void(const std::string& line)>& sink);
  // Looks whether the process has ended; does not wait.
  void Reap();
  void Signal(int number) const;

 private:
  Child(std::string name, pid_t pid, int output_fd);
  void TakeLine(std::string line, const std::function<void(const std::string& line)>& sink);

  const std::string name_;
  const pid_t pid_;
  int output_fd_;
  bool running_ = true;
  bool failed_ = false;
  std::string ending_;
  std::optional<int> exit_status_;
  std::string partial_line_;
  std::deque<std::string> last_lines_;
};

}  // namespace baton
