#include "services/stage_worker/membership/free_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace baton::stage {

uint64_t FreeMemoryBytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  uint64_t kibibytes = 0;
  while (meminfo >> name >> kibibytes) {
    if (name == "MemAvailable:") return kibibytes * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace baton::stage
