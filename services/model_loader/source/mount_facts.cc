#include "services/model_loader/source/mount_facts.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

#include "common/status/status_macros.h"

namespace baton::loader {
namespace {

constexpr absl::string_view kNetworkTypes[] = {
    "nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "9p", "glusterfs", "beegfs", "afs"};
constexpr absl::string_view kCaches[] = {"jindo", "alluxio", "juicefs", "goosefs", "curvine"};

// mountinfo writes blanks and backslashes of names as three octal digits.
std::string Unescaped(absl::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit = [&](size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '7';
    };
    if (text[i] == '\\' && is_digit(i + 1) && is_digit(i + 2) && is_digit(i + 3)) {
      plain.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                        (text[i + 3] - '0')));
      i += 3;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

StorageKind KindOf(absl::string_view type, absl::string_view source) {
  for (const absl::string_view network : kNetworkTypes)
    if (type == network) return StorageKind::kNetwork;
  if (type != "fuse" && !absl::StartsWith(type, "fuse.")) return StorageKind::kLocal;
  const std::string names = absl::AsciiStrToLower(absl::StrCat(type, " ", source));
  for (const absl::string_view cache : kCaches)
    if (absl::StrContains(names, cache)) return StorageKind::kCache;
  return StorageKind::kFuse;
}

// "36 35 98:0 /root /mount/point options optional... - type source options".
absl::StatusOr<MountFacts> ParseLine(absl::string_view line) {
  const std::pair<absl::string_view, absl::string_view> halves =
      absl::StrSplit(line, absl::MaxSplits(" - ", 1));
  const std::vector<absl::string_view> place = absl::StrSplit(halves.first, ' ');
  const std::vector<absl::string_view> storage = absl::StrSplit(halves.second, ' ');
  if (place.size() < 6 || storage.size() < 2)
    return absl::InvalidArgumentError(absl::StrCat("not a line of mountinfo: \"", line, "\""));
  MountFacts facts;
  facts.mount_point = Unescaped(place[4]);
  facts.type = Unescaped(storage[0]);
  facts.source = Unescaped(storage[1]);
  facts.kind = KindOf(facts.type, facts.source);
  return facts;
}

bool Holds(absl::string_view mount_point, absl::string_view path) {
  if (mount_point == "/") return absl::StartsWith(path, "/");
  return path == mount_point || absl::StartsWith(path, absl::StrCat(mount_point, "/"));
}

}  // namespace

absl::StatusOr<MountFacts> FindMount(absl::string_view mountinfo, absl::string_view path) {
  MountFacts best;
  for (const absl::string_view line : absl::StrSplit(mountinfo, '\n', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(MountFacts facts, ParseLine(line));
    // Of two mounts on one point the later one covers the earlier.
    if (Holds(facts.mount_point, path) && facts.mount_point.size() >= best.mount_point.size())
      best = std::move(facts);
  }
  if (best.mount_point.empty()) return absl::NotFoundError(absl::StrCat("no mount holds ", path));
  return best;
}

absl::StatusOr<MountFacts> FindMountOf(const std::string& folder) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(folder.c_str(), nullptr),
                                                             &std::free);
  if (resolved == nullptr) return absl::NotFoundError(absl::StrCat(folder, " is not there"));
  std::ifstream file("/proc/self/mountinfo");
  if (!file) return absl::NotFoundError("/proc/self/mountinfo is not there");
  return FindMount(std::string(std::istreambuf_iterator<char>(file), {}), resolved.get());
}

std::string Describe(const MountFacts& facts) {
  const auto name = [&] {
    switch (facts.kind) {
      case StorageKind::kNetwork:
        return "network storage";
      case StorageKind::kFuse:
        return "storage mounted by FUSE";
      case StorageKind::kCache:
        return "a cache mounted by FUSE";
      case StorageKind::kLocal:
        break;
    }
    return "storage of this machine";
  };
  return absl::StrCat(name(), " (", facts.type, " from ", facts.source, " at ", facts.mount_point,
                      ")");
}

ReadShape BestReads(StorageKind kind) {
  // Here a read is answered at once: small ones stay in the processor's cache. From elsewhere each
  // costs a round trip: long ones, many at a time.
  if (kind == StorageKind::kLocal) return {.num_threads = 4, .mebibytes = 2};
  return {.num_threads = 12, .mebibytes = 8};
}

}  // namespace baton::loader
