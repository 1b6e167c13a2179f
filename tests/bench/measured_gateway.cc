#include "tests/bench/measured_gateway.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "tests/bench/http_load.h"

namespace baton {

MeasuredGateway::MeasuredGateway(const std::string& binary, const std::string& model_dir,
                                 int scheduler_port) {
  const std::string ports = absl::StrCat("/tmp/gateway_bench.", getpid(), ".json");
  pid_ = fork();
  if (pid_ == 0) {
    const std::string scheduler = absl::StrCat("--scheduler=127.0.0.1:", scheduler_port);
    const std::string ports_flag = "--ports-file=" + ports;
    const std::string model = "--model=" + model_dir;
    execl(binary.c_str(), binary.c_str(), model.c_str(), "--host=127.0.0.1", "--port=0",
          "--grpc-listen-address=127.0.0.1:0", "--metrics-address=", scheduler.c_str(),
          ports_flag.c_str(), "--log-requests=false", nullptr);
    std::perror(binary.c_str());
    _exit(127);
  }
  for (port_ = 0; port_ == 0; usleep(20'000)) {
    if (waitpid(pid_, nullptr, WNOHANG) != 0) std::exit(1);
    std::ifstream file(ports);
    const auto json = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) port_ = json.value("http", 0);
  }
  std::remove(ports.c_str());
  HttpLoadClient client(port_);
  const std::string ask = "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n";
  while (!absl::StartsWith(client.Exchange(ask), "HTTP/1.1 200")) usleep(20'000);
}

MeasuredGateway::~MeasuredGateway() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

double MeasuredGateway::cpu_seconds() const {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) std::exit(1);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double MeasuredGateway::num_sleeps() const {
  double total = 0;
  const std::string tasks = absl::StrCat("/proc/", pid_, "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::ifstream file(task.path() / "status");
    for (std::string word; file >> word;) {
      double count = 0;
      if (word == "voluntary_ctxt_switches:" && file >> count) total += count;
    }
  }
  return total;
}

double MeasuredGateway::resident_mib() const {
  std::ifstream file(absl::StrCat("/proc/", pid_, "/statm"));
  double total = 0;
  double resident = 0;
  file >> total >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1 << 20);
}

}  // namespace baton
