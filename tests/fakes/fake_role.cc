// Stands for any program of a group: listens where --metrics-address says, writes its ports file,
// answers every question of its health, says what it was told, stops on SIGTERM.
// FAKE_ROLE_DIES=scheduler: the program of that name exits with status 7 on SIGUSR1;
// FAKE_ROLE_FAILS=gateway: exits with status 3 at the start; FAKE_ROLE_CRASHES=scheduler: is killed
// once it listens; FAKE_ROLE_UNHEARD=scheduler: finds every port taken that it is told.
// FAKE_ROLE_LOADS=file: stage-workers have a quarter of their weights and make the file when they
// are asked for their metrics; the gateway is not ready before it is there.

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

#include "common/metrics/small_http_server.h"
#include "common/rpc/ports_file.h"
#include "common/rpc/shutdown_events.h"

namespace {

std::string ValueOf(int argc, char** argv, const std::string& flag) {
  for (int i = 1; i + 1 < argc; ++i)
    if (argv[i] == flag) return argv[i + 1];
  return "";
}

bool Named(const char* variable, const std::string& program) {
  const char* value = std::getenv(variable);
  return value != nullptr && program == absl::StrCat("baton-", value);
}

baton::SmallHttpReply Answer(const std::string& program, const std::string& path) {
  const char* const loads = std::getenv("FAKE_ROLE_LOADS");
  if (loads != nullptr && program == "baton-stage-worker" && path == "/metrics") {
    std::ofstream(loads).flush();
    return {200, "text/plain", "baton_stage_loaded_bytes 25\nbaton_stage_load_total_bytes 100\n"};
  }
  if (loads != nullptr && program == "baton-gateway" && path == "/health/ready" &&
      !std::filesystem::exists(loads))
    return {503, "text/plain", "not ready\n"};
  return {200, "text/plain", "ok\n"};
}

void Die(int) {
  constexpr char kWords[] = "the last words\n";
  if (write(STDERR_FILENO, kWords, sizeof kWords - 1) > 0) _exit(7);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string program = std::filesystem::path(argv[0]).filename();
  std::string line = absl::StrCat(program, " started with");
  for (int i = 1; i < argc; ++i) absl::StrAppend(&line, " ", argv[i]);
  std::cerr << line << std::endl;
  if (Named("FAKE_ROLE_FAILS", program)) {
    std::cerr << "the reason of " << program << std::endl;
    return 3;
  }
  const std::string address = ValueOf(argc, argv, "--metrics-address");
  if (Named("FAKE_ROLE_UNHEARD", program) && !absl::EndsWith(address, ":0")) {
    std::cerr << program << " cannot listen on " << address << std::endl;
    return 1;
  }
  if (Named("FAKE_ROLE_DIES", program)) std::signal(SIGUSR1, Die);
  auto events = baton::ShutdownEvents::Create();
  auto http = baton::SmallHttpServer::Create(
      address, [&](const std::string& path) { return Answer(program, path); });
  if (!events.ok() || !http.ok()) return 1;
  const int port = (*http)->port();
  const absl::Status written = baton::WritePortsFile(
      ValueOf(argc, argv, "--ports-file"), {{"grpc", port}, {"metrics", port}, {"http", port}});
  if (!written.ok()) return 1;
  if (Named("FAKE_ROLE_CRASHES", program)) raise(SIGKILL);
  const std::string reason = (*events)->Wait(absl::InfiniteFuture());
  std::cerr << program << " stops: " << reason << std::endl;
  return 0;
}
