// What kind of storage a folder lies on, and how it likes to be read.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace baton::loader {

enum class StorageKind {
  kLocal,    // disks and memory of this machine
  kNetwork,  // NFS and its like: each read is a round trip
  kFuse,     // a program of this machine answers: ossfs, s3fs, ...
  kCache,    // such a program in front of a distributed cache, as Fluid mounts it: JindoFS, Alluxio
};

struct MountFacts {
  StorageKind kind = StorageKind::kLocal;
  std::string mount_point;
  std::string type;    // "ext4", "fuse.jindofs-fuse"
  std::string source;  // "/dev/nvme0n1p1"
};

// The mount that `path`, absolute and without links, lies on, by the text of /proc/self/mountinfo.
// Errors: NotFound (no mount holds it), InvalidArgument (a line that is none of mountinfo's).
absl::StatusOr<MountFacts> FindMount(absl::string_view mountinfo, absl::string_view path);

// The same for a folder of this machine; resolves links. Errors: NotFound as well if the folder or
// /proc is not there.
absl::StatusOr<MountFacts> FindMountOf(const std::string& folder);

// "a cache mounted by FUSE (fuse.jindofs-fuse from jindo at /models)".
std::string Describe(const MountFacts& facts);

// How many reads at a time, and how long each.
struct ReadShape {
  int num_threads = 0;
  int mebibytes = 0;
};
ReadShape BestReads(StorageKind kind);

}  // namespace baton::loader
