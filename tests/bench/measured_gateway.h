// A gateway in a process of its own, and what it takes of the machine.
#pragma once

#include <string>
#include <sys/types.h>

namespace baton {

// Stops the gateway when it goes. A program that does not start, or ends, ends this process with 1.
class MeasuredGateway final {
 public:
  // Runs `binary` for the model, on any port of 127.0.0.1, in front of the scheduler there; returns
  // once it is ready.
  MeasuredGateway(const std::string& binary, const std::string& model_dir, int scheduler_port);
  ~MeasuredGateway();
  MeasuredGateway(const MeasuredGateway&) = delete;
  MeasuredGateway& operator=(const MeasuredGateway&) = delete;

  int port() const { return port_; }
  // Of all threads, user and system.
  double cpu_seconds() const;
  // Times that a thread went to sleep, of all that are there now.
  double num_sleeps() const;
  double resident_mib() const;

 private:
  pid_t pid_ = -1;
  int port_ = 0;
};

}  // namespace baton
