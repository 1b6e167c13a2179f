#include "common/rpc/ports_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace baton {

absl::Status WritePortsFile(const std::string& path, int grpc_port, int metrics_port) {
  const std::string draft = absl::StrCat(path, ".", getpid());
  std::ofstream file(draft, std::ios::trunc);
  file << absl::StrCat("{\"grpc\": ", grpc_port, ", \"metrics\": ", metrics_port, "}\n");
  file.close();
  if (!file || std::rename(draft.c_str(), path.c_str()) != 0)
    return absl::UnavailableError(
        absl::StrCat("cannot write ports file ", path, ": ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace baton
