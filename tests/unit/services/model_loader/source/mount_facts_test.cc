#include "services/model_loader/source/mount_facts.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::loader {
namespace {

using ::testing::HasSubstr;

// A pod with a model from Fluid, one from a bucket, one from NFS, and a covered mount.
constexpr char kPod[] =
    R"(1045 940 0:130 / / rw,relatime master:348 - overlay overlay rw,lowerdir=/l
1046 1045 0:133 / /proc rw,nosuid - proc proc rw
1050 1045 0:90 /r1 /models/DeepSeek-R1 ro shared:12 master:2 - fuse.jindofs-fuse jindofs-fuse ro
1051 1045 0:91 / /models/bucket ro - fuse ossfs ro
1052 1045 0:92 / /models/with\040blank ro - nfs4 10.0.0.1:/share ro
1053 1045 259:1 / /models/disk rw - ext4 /dev/nvme0n1 rw
1054 1045 0:93 / /models/disk rw - fuse.juicefs JuiceFS:r1 rw
)";

StorageKind KindAt(absl::string_view path) {
  const absl::StatusOr<MountFacts> facts = FindMount(kPod, path);
  EXPECT_TRUE(facts.ok()) << facts.status();
  return facts.ok() ? facts->kind : StorageKind::kLocal;
}

TEST(MountFacts, TellCachesFromOtherStorage) {
  EXPECT_EQ(KindAt("/models/DeepSeek-R1"), StorageKind::kCache);
  EXPECT_EQ(KindAt("/models/DeepSeek-R1/config.json"), StorageKind::kCache);
  EXPECT_EQ(KindAt("/models/bucket/r1"), StorageKind::kFuse);
  EXPECT_EQ(KindAt("/models/with blank"), StorageKind::kNetwork);
  EXPECT_EQ(KindAt("/srv/r1"), StorageKind::kLocal);
}

TEST(MountFacts, NameIsNotAMountBecauseAnotherBeginsLikeIt) {
  EXPECT_EQ(KindAt("/models/DeepSeek-R1-0528"), StorageKind::kLocal);
}

TEST(MountFacts, LaterMountCoversTheEarlier) {
  EXPECT_EQ(KindAt("/models/disk"), StorageKind::kCache);
}

TEST(MountFacts, DescribeWhereTheFolderLies) {
  const absl::StatusOr<MountFacts> facts = FindMount(kPod, "/models/DeepSeek-R1");
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(Describe(*facts),
            "a cache mounted by FUSE (fuse.jindofs-fuse from jindofs-fuse at /models/DeepSeek-R1)");
}

TEST(MountFacts, RefuseWhatIsNotMountinfo) {
  EXPECT_EQ(FindMount("proc /proc proc rw 0 0\n", "/").status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(FindMount("", "/models").status().code(), absl::StatusCode::kNotFound);
}

TEST(MountFacts, KnowThisMachine) {
  const absl::StatusOr<MountFacts> proc = FindMountOf("/proc/self");
  ASSERT_TRUE(proc.ok()) << proc.status();
  EXPECT_EQ(proc->type, "proc");
  EXPECT_EQ(proc->kind, StorageKind::kLocal);
  EXPECT_THAT(std::string(FindMountOf("/no/such/folder").status().message()),
              HasSubstr("/no/such/folder"));
}

TEST(MountFacts, StorageElsewhereIsReadInLongerPieces) {
  const ReadShape here = BestReads(StorageKind::kLocal);
  for (const StorageKind kind : {StorageKind::kNetwork, StorageKind::kFuse, StorageKind::kCache}) {
    EXPECT_GT(BestReads(kind).num_threads, here.num_threads);
    EXPECT_GT(BestReads(kind).mebibytes, here.mebibytes);
  }
}

}  // namespace
}  // namespace baton::loader
