// What Loading's unary RPCs, GetModel and GetVocabulary, have in common.
#include <filesystem>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "common/rpc/peer.h"
#include "tests/contract/callers/impatient_callers.h"
#include "tests/contract/model_loader/loader_harness.h"

namespace baton {
namespace {

struct LoadingCase {
  const char* name;
  std::function<grpc::Status(v1::Loading::Stub&, grpc::ClientContext*, const v1::PeerInfo&)> call;
};

const LoadingCase kLoadingCases[] = {
    {"GetModel",
     [](v1::Loading::Stub& stub, grpc::ClientContext* context, const v1::PeerInfo& peer) {
       v1::GetModelRequest request;
       *request.mutable_peer() = peer;
       v1::GetModelResponse response;
       return stub.GetModel(context, request, &response);
     }},
    {"GetVocabulary",
     [](v1::Loading::Stub& stub, grpc::ClientContext* context, const v1::PeerInfo& peer) {
       v1::GetVocabularyRequest request;
       *request.mutable_peer() = peer;
       v1::GetVocabularyResponse response;
       return stub.GetVocabulary(context, request, &response);
     }}};

class LoadingUnaryCall : public ::testing::TestWithParam<LoadingCase> {
 protected:
  LoadingUnaryCall() {
    std::filesystem::copy_file(
        BATON_SOURCE_DIR "/tests/data/tiny-r1/tokenizer.json",
        std::filesystem::path(harness_.model().checkpoint->folder().path()) / "tokenizer.json");
  }
  grpc::Status Call(grpc::ClientContext* context,
                    const v1::PeerInfo& peer = MakePeerInfo("stage-worker")) {
    return GetParam().call(harness_.stub(), context, peer);
  }

  testing::LoaderHarness harness_;
};

TEST_P(LoadingUnaryCall, OutlivesImpatientCallers) {
  ExpectOutlivesImpatientCallers([this](grpc::ClientContext* context) { return Call(context); });
}

TEST_P(LoadingUnaryCall, OutlivesDyingCallers) {
  ExpectOutlivesDyingCallers(harness_.grpc_port(), [](const auto& channel,
                                                      grpc::ClientContext* context) {
    return GetParam().call(*v1::Loading::NewStub(channel), context, MakePeerInfo("stage-worker"));
  });
}

TEST_P(LoadingUnaryCall, RefusesAnotherProtocolVersion) {
  v1::PeerInfo peer = MakePeerInfo("stage-worker");
  peer.mutable_version()->set_major(kProtocolMajor + 1);
  grpc::ClientContext context;
  const grpc::Status status = Call(&context, peer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  for (const std::string& words : {absl::StrCat("speaks protocol ", kProtocolMajor + 1, "."),
                                   absl::StrCat("speaks ", kProtocolMajor, ".")}) {
    EXPECT_NE(status.error_message().find(words), std::string::npos)
        << words << " in " << status.error_message();
  }
}

TEST_P(LoadingUnaryCall, IsUnavailableOnceTheLoaderIsGone) {
  grpc::ClientContext before;
  EXPECT_TRUE(Call(&before).ok());
  harness_.Die();
  grpc::ClientContext context;
  EXPECT_EQ(Call(&context).error_code(), grpc::StatusCode::UNAVAILABLE);
}

INSTANTIATE_TEST_SUITE_P(Rpcs, LoadingUnaryCall, ::testing::ValuesIn(kLoadingCases),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace baton
