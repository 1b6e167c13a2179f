#include "common/rpc/peer.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace baton {
namespace {

TEST(Peer, AcceptsItself) {
  const v1::PeerInfo peer = MakePeerInfo("stage-worker");
  EXPECT_EQ(peer.role(), "stage-worker");
  EXPECT_FALSE(peer.instance().empty());
  EXPECT_TRUE(CheckPeer(peer, "scheduler").ok());
}

TEST(Peer, AcceptsAnotherMinorVersion) {
  v1::PeerInfo peer = MakePeerInfo("gateway");
  peer.mutable_version()->set_minor(kProtocolMinor + 7);
  EXPECT_TRUE(CheckPeer(peer, "scheduler").ok());
}

TEST(Peer, RefusesAnotherMajorVersionNamingBoth) {
  v1::PeerInfo peer = MakePeerInfo("gateway");
  peer.mutable_version()->set_major(kProtocolMajor + 1);
  const absl::Status status = CheckPeer(peer, "scheduler");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "gateway")) << status;
  const std::string theirs = absl::StrCat("speaks protocol ", kProtocolMajor + 1, ".");
  const std::string ours = absl::StrCat("this scheduler speaks ", kProtocolMajor, ".");
  EXPECT_TRUE(absl::StrContains(status.message(), theirs)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), ours)) << status;
}

// A scheduler of version 2 drops what its stage-workers say of their form of attention.
TEST(Peer, RefusesTheVersionBeforeFormsOfAttention) {
  v1::PeerInfo peer = MakePeerInfo("stage-worker");
  peer.mutable_version()->set_major(2);
  EXPECT_EQ(CheckPeer(peer, "scheduler").code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Peer, RefusesNoVersion) {
  const absl::Status status = CheckPeer(v1::PeerInfo(), "scheduler");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(status.message(), "names no protocol version")) << status;
}

TEST(Peer, RefusesLongStrings) {
  v1::PeerInfo peer = MakePeerInfo("gateway");
  peer.set_instance(std::string(257, 'x'));
  EXPECT_EQ(CheckPeer(peer, "scheduler").code(), absl::StatusCode::kInvalidArgument);
  peer = MakePeerInfo(std::string(65, 'x'));
  EXPECT_EQ(CheckPeer(peer, "scheduler").code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
