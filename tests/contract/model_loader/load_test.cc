#include <functional>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/rpc/peer.h"
#include "tests/contract/model_loader/loader_harness.h"
#include "tests/fakes/cuttable_channel.h"

namespace baton {
namespace {

using testing::HarnessOptions;
using testing::LoaderHarness;
using testing::LoadingWorker;

struct Outcome {
  std::vector<v1::LoadEvent> events;
  grpc::Status status;
};

// Reads the stream to its end; `on_planned` is called behind the first event.
Outcome Load(v1::Loading::Stub& stub, const v1::LoadRequest& request,
             const std::function<void(grpc::ClientContext&)>& on_planned = nullptr,
             absl::Duration deadline = absl::Seconds(60)) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  const auto reader = stub.Load(&context, request);
  Outcome outcome;
  v1::LoadEvent event;
  while (reader->Read(&event)) {
    outcome.events.push_back(event);
    if (outcome.events.size() == 1 && on_planned != nullptr) on_planned(context);
  }
  outcome.status = reader->Finish();
  return outcome;
}

Outcome Load(LoaderHarness& harness, const v1::LoadRequest& request,
             const std::function<void(grpc::ClientContext&)>& on_planned = nullptr,
             absl::Duration deadline = absl::Seconds(60)) {
  return Load(harness.stub(), request, on_planned, deadline);
}

void ExpectRefused(LoaderHarness& harness, const v1::LoadRequest& request, grpc::StatusCode code,
                   const std::string& word) {
  const Outcome outcome = Load(harness, request);
  EXPECT_EQ(outcome.status.error_code(), code) << outcome.status.error_message();
  EXPECT_NE(outcome.status.error_message().find(word), std::string::npos)
      << word << " in " << outcome.status.error_message();
  EXPECT_TRUE(outcome.events.empty());
}

class LoadOver : public ::testing::TestWithParam<std::string> {};

TEST_P(LoadOver, BringsEveryRankItsSlices) {
  HarnessOptions options;
  options.transports = GetParam();
  LoaderHarness harness(options);
  for (const int num_ranks : {1, 4}) {
    LoadingWorker worker(harness, num_ranks, GetParam());
    const uint64_t read_before = harness.source().bytes_read();
    const Outcome outcome = Load(harness, worker.request());
    ASSERT_TRUE(outcome.status.ok()) << outcome.status.error_message();
    worker.ExpectComplete(harness);
    ASSERT_GE(outcome.events.size(), 2u);
    EXPECT_TRUE(outcome.events.front().has_planned());
    EXPECT_TRUE(outcome.events.back().has_done());
    for (size_t i = 0; i < outcome.events.size(); ++i) {
      EXPECT_EQ(outcome.events[i].sequence_number(), i);
    }
    const v1::LoadDone& done = outcome.events.back().done();
    EXPECT_EQ(done.read_bytes(), outcome.events.front().planned().read_bytes());
    EXPECT_GE(done.read_bytes(), done.needed_bytes());
    EXPECT_EQ(harness.source().bytes_read() - read_before, done.read_bytes());
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, LoadOver, ::testing::Values("tcp", "sm"));

TEST(Load, RefusesWhatItCannotTrust) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 2);
  const v1::LoadRequest good = worker.request();
  const auto changed = [&](const std::function<void(v1::LoadRequest&)>& change) {
    v1::LoadRequest request = good;
    change(request);
    return request;
  };
  const auto slice = [](v1::LoadRequest& r) { return r.mutable_targets(1)->mutable_slices(0); };
  using Code = grpc::StatusCode;
  ExpectRefused(harness, changed([](auto& r) { r.set_model_fingerprint("other"); }),
                Code::FAILED_PRECONDITION, "fingerprint");
  ExpectRefused(harness, changed([](auto& r) { r.set_checkpoint_fingerprint("other"); }),
                Code::FAILED_PRECONDITION, "checkpoint");
  ExpectRefused(harness, changed([](auto& r) { r.mutable_peer()->clear_version(); }),
                Code::FAILED_PRECONDITION, "version");
  for (const std::string& words : {absl::StrCat("speaks protocol ", kProtocolMajor + 1, "."),
                                   absl::StrCat("speaks ", kProtocolMajor, ".")}) {
    ExpectRefused(harness, changed([](auto& r) {
                    r.mutable_peer()->mutable_version()->set_major(kProtocolMajor + 1);
                  }),
                  Code::FAILED_PRECONDITION, words);
  }
  ExpectRefused(harness, changed([&](auto& r) { slice(r)->set_name("no.such"); }), Code::NOT_FOUND,
                "no.such");
  ExpectRefused(harness, changed([&](auto& r) { slice(r)->set_row_end(1000); }),
                Code::INVALID_ARGUMENT, "model.embed_tokens.weight");
  ExpectRefused(harness, changed([&](auto& r) { slice(r)->set_row_end(UINT64_MAX); }),
                Code::INVALID_ARGUMENT, "model.embed_tokens.weight");
  ExpectRefused(harness, changed([&](auto& r) { slice(r)->set_column_begin(24); }),
                Code::INVALID_ARGUMENT, "target 1");
  ExpectRefused(harness, changed([&](auto& r) { slice(r)->set_shape(0, 33); }),
                Code::INVALID_ARGUMENT, "[33, 24]");
  ExpectRefused(harness,
                changed([&](auto& r) { slice(r)->set_data_type(v1::DATA_TYPE_UNSPECIFIED); }),
                Code::INVALID_ARGUMENT, "data_type");
  ExpectRefused(harness, changed([](auto& r) { r.set_chunk_bytes(0); }), Code::INVALID_ARGUMENT,
                "chunk_bytes");
  ExpectRefused(harness, changed([](auto& r) { r.set_chunk_bytes(UINT32_MAX); }),
                Code::INVALID_ARGUMENT, "chunk_bytes");
  ExpectRefused(harness, changed([](auto& r) { r.clear_targets(); }), Code::INVALID_ARGUMENT,
                "targets");
  ExpectRefused(harness, changed([](auto& r) { r.mutable_targets(0)->clear_slices(); }),
                Code::INVALID_ARGUMENT, "slices");
  ExpectRefused(harness, changed([](auto& r) {
                  r.mutable_targets(0)->set_ucx_address(std::string(5000, 'x'));
                }),
                Code::INVALID_ARGUMENT, "ucx_address");
}

// A stage loads in several calls; what is shown of it is of all of them.
TEST(Load, FractionIsOfTheWholeStage) {
  LoaderHarness harness;
  for (const double held_share : {0.0, 0.5}) {
    LoadingWorker worker(harness, 1);
    const Outcome planned = Load(harness, worker.request());
    ASSERT_TRUE(planned.status.ok()) << planned.status.error_message();
    EXPECT_DOUBLE_EQ(harness.load_fraction(), 1) << "of a call that says nothing of its stage";
    const uint64_t bytes = planned.events.front().planned().slice_bytes();
    LoadingWorker half(harness, 1);
    half.request().set_stage_bytes(2 * bytes);
    half.request().set_held_bytes(static_cast<uint64_t>(held_share * 2) * bytes);
    ASSERT_TRUE(Load(harness, half.request()).status.ok());
    EXPECT_DOUBLE_EQ(harness.load_fraction(), 0.5 + held_share);
  }
}

TEST(Load, FractionStaysOneWhenAStageHoldsMoreThanItSays) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  worker.request().set_stage_bytes(1);
  worker.request().set_held_bytes(UINT64_MAX);
  ASSERT_TRUE(Load(harness, worker.request()).status.ok());
  EXPECT_DOUBLE_EQ(harness.load_fraction(), 1);
}

TEST(Load, ServesOnAfterARefusal) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  v1::LoadRequest bad = worker.request();
  bad.set_model_fingerprint("other");
  EXPECT_FALSE(Load(harness, bad).status.ok());
  EXPECT_TRUE(Load(harness, worker.request()).status.ok());
  worker.ExpectComplete(harness);
}

TEST(Load, AReadThatHangsIsNamed) {
  HarnessOptions options;
  options.read_deadline = absl::Milliseconds(50);
  LoaderHarness harness(options);
  LoadingWorker worker(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome = Load(harness, worker.request());
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  for (const char* word : {"tensor \"model.", "file-", "offset", "50ms", "stage 0"}) {
    EXPECT_NE(outcome.status.error_message().find(word), std::string::npos)
        << word << " in " << outcome.status.error_message();
  }
}

TEST(Load, AReadErrorIsNamed) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  harness.source().FailNext(1000, absl::NotFoundError("Stale file handle"));
  const Outcome outcome = Load(harness, worker.request());
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_NE(outcome.status.error_message().find("Stale file handle"), std::string::npos);
}

TEST(Load, EndsAtTheCallersDeadline) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome = Load(harness, worker.request(), nullptr, absl::Milliseconds(400));
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  // Nothing is left of it: a drain need not wait for the storage.
  EXPECT_TRUE(harness.service().Drain(absl::Now() + absl::Seconds(20)));
}

TEST(Load, EndsWhenItIsCancelled) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome =
      Load(harness, worker.request(), [](grpc::ClientContext& context) { context.TryCancel(); });
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(harness.service().Drain(absl::Now() + absl::Seconds(20)));
}

// The worker's memory can be reached still: only the end of its connection tells of its death.
TEST(Load, EndsWhenItsCallersConnectionBreaks) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  harness.source().HangNext(1000);
  const auto connection = CuttableChannel::Dial(harness.grpc_port());
  ASSERT_NE(connection, nullptr);
  const auto stub = v1::Loading::NewStub(connection->channel());
  const Outcome outcome =
      Load(*stub, worker.request(), [&](grpc::ClientContext&) { connection->Cut(); });
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(harness.service().Drain(absl::Now() + absl::Seconds(20)));
}

TEST(Load, AWorkerThatDiesIsUnavailable) {
  HarnessOptions options;
  options.send_deadline = absl::Seconds(5);
  options.connect_deadline = absl::Seconds(5);
  LoaderHarness harness(options);
  LoadingWorker worker(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome = Load(harness, worker.request(), [&](grpc::ClientContext&) {
    // Reading begins when the worker has been reached.
    harness.source().AwaitHang();
    worker.Die();
    harness.source().Release();
  });
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << outcome.status.error_message();
}

TEST(Load, AnAddressWhereNobodyIsCannotBeReached) {
  HarnessOptions options;
  options.connect_deadline = absl::Seconds(3);
  LoaderHarness harness(options);
  LoadingWorker worker(harness, 1);
  worker.Die();
  const Outcome outcome = Load(harness, worker.request());
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAVAILABLE)
      << outcome.status.error_message();
  for (const char* part : {"target 0", "no connection"}) {
    EXPECT_NE(outcome.status.error_message().find(part), std::string::npos)
        << outcome.status.error_message();
  }
}

TEST(Load, RefusesMoreLoadsThanAllowed) {
  HarnessOptions options;
  options.max_loads = 1;
  LoaderHarness harness(options);
  LoadingWorker first(harness, 1);
  LoadingWorker second(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome = Load(harness, first.request(), [&](grpc::ClientContext&) {
    const Outcome refused = Load(harness, second.request());
    EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    harness.source().Release();
  });
  EXPECT_TRUE(outcome.status.ok()) << outcome.status.error_message();
  first.ExpectComplete(harness);
}

TEST(Load, ShutdownEndsLoadsAtItsDeadline) {
  LoaderHarness harness;
  LoadingWorker worker(harness, 1);
  LoadingWorker late(harness, 1);
  harness.source().HangNext(1000);
  const Outcome outcome = Load(harness, worker.request(),
                               [&](grpc::ClientContext&) { harness.service().Drain(absl::Now()); });
  EXPECT_EQ(outcome.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(outcome.status.error_message().find("stops"), std::string::npos);
  EXPECT_EQ(Load(harness, late.request()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace baton
