#include "kernels/host/host_memory.h"

#include <fstream>
#include <limits>
#include <string>

namespace baton::kernels {

DeviceMemory ReadHostMemory() {
  DeviceMemory memory;
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  uint64_t kibibytes = 0;
  while (meminfo >> name >> kibibytes) {
    if (name == "MemTotal:") memory.total_bytes = kibibytes * 1024;
    if (name == "MemAvailable:") memory.free_bytes = kibibytes * 1024;
    meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return memory;
}

}  // namespace baton::kernels
