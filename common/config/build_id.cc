#include "common/config/build_id.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <utility>

#include "absl/strings/escaping.h"

namespace baton {
namespace {

constexpr char kOwner[] = "GNU";  // with its zero

// The id among the notes that a segment of `size` bytes consists of; empty if it is not there.
// Their parts are aligned from the beginning of each.
std::string FindId(const char* notes, size_t size, size_t alignment) {
  const auto padded = [alignment](size_t bytes) {
    return (bytes + alignment - 1) / alignment * alignment;
  };
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes, sizeof(note));
    const size_t id_begin = padded(sizeof(note) + note.n_namesz);
    const size_t end = padded(id_begin + note.n_descsz);
    if (end > size) break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof(kOwner) &&
        std::memcmp(notes + sizeof(note), kOwner, sizeof(kOwner)) == 0) {
      return absl::BytesToHexString({notes + id_begin, note.n_descsz});
    }
    notes += end;
    size -= end;
  }
  return "";
}

// Called with the program first, which ends the walk through what is loaded.
int TakeId(dl_phdr_info* loaded, size_t, void* out) {
  for (int i = 0; i < loaded->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = loaded->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto* notes = reinterpret_cast<const char*>(loaded->dlpi_addr + segment.p_vaddr);
    std::string id = FindId(notes, segment.p_memsz, segment.p_align == 8 ? 8 : 4);
    if (id.empty()) continue;
    *static_cast<std::string*>(out) = std::move(id);
    break;
  }
  return 1;
}

}  // namespace

std::string BuildId() {
  std::string id;
  dl_iterate_phdr(TakeId, &id);
  return id;
}

}  // namespace baton
