#include "common/rpc/ports_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace baton {

absl::Status WritePortsFile(const std::string& path, const std::map<std::string, int>& ports) {
  const std::string draft = absl::StrCat(path, ".", getpid());
  std::ofstream file(draft, std::ios::trunc);
  file << "{" << absl::StrJoin(ports, ", ", [](std::string* out, const auto& port) {
    absl::StrAppend(out, "\"", port.first, "\": ", port.second);
  }) << "}\n";
  file.close();
  if (!file || std::rename(draft.c_str(), path.c_str()) != 0)
    return absl::UnavailableError(
        absl::StrCat("cannot write ports file ", path, ": ", std::strerror(errno)));
  return absl::OkStatus();
}

}  // namespace baton
