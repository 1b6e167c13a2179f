#include <gtest/gtest.h>

#include "common/rpc/peer.h"
#include "tests/contract/model_loader/loader_harness.h"

namespace baton {
namespace {

TEST(GetModel, TellsConfigFingerprintAndSize) {
  testing::LoaderHarness harness;
  grpc::ClientContext context;
  v1::GetModelRequest request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  v1::GetModelResponse response;
  const grpc::Status status = harness.stub().GetModel(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.config_json(), testing::SmallConfigJson());
  EXPECT_EQ(response.model_fingerprint(), ModelFingerprint(testing::SmallConfigJson()));
  EXPECT_EQ(response.total_bytes(), harness.model().checkpoint->total_bytes());
  EXPECT_EQ(response.num_tensors(), harness.model().checkpoint->tensors().size());
  EXPECT_EQ(response.checkpoint_fingerprint(), harness.model().checkpoint_fingerprint);
  EXPECT_EQ(response.checkpoint_fingerprint().size(), 64u);
  EXPECT_EQ(response.peer().role(), "model-loader");
}

}  // namespace
}  // namespace baton
