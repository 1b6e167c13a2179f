#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "tests/contract/model_loader/loader_harness.h"

namespace baton {
namespace {

grpc::Status Ask(testing::LoaderHarness& harness, v1::GetVocabularyResponse* response) {
  grpc::ClientContext context;
  v1::GetVocabularyRequest request;
  *request.mutable_peer() = MakePeerInfo("stage-worker");
  return harness.stub().GetVocabulary(&context, request, response);
}

TEST(GetVocabulary, TellsTheBytesOfTokensThatAreText) {
  testing::LoaderHarness harness;
  std::filesystem::copy_file(
      BATON_SOURCE_DIR "/tests/data/tiny-r1/tokenizer.json",
      std::filesystem::path(harness.model().checkpoint->folder().path()) / "tokenizer.json");
  v1::GetVocabularyResponse response;
  const grpc::Status status = Ask(harness, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  int num_bytes = 0;
  int num_without = 0;
  for (const std::string& token : response.tokens()) {
    num_bytes += token.size() == 1 ? 1 : 0;
    num_without += token.empty() ? 1 : 0;
    EXPECT_NE(token, "</think>");
  }
  EXPECT_EQ(num_bytes, 256);
  EXPECT_GT(num_without, 0);  // the added ones
}

TEST(GetVocabulary, IsNotFoundWithoutATokenizer) {
  testing::LoaderHarness harness;
  v1::GetVocabularyResponse response;
  EXPECT_EQ(Ask(harness, &response).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(GetVocabulary, NamesTheFileOfABrokenTokenizer) {
  testing::LoaderHarness harness;
  std::ofstream(harness.model().checkpoint->folder().path() + "/tokenizer.json") << "{\"model\": 1";
  v1::GetVocabularyResponse response;
  const grpc::Status status = Ask(harness, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("tokenizer.json"), std::string::npos)
      << status.error_message();
}

}  // namespace
}  // namespace baton
