// Calls to the model-loader.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"

#include "common/model/model_config.h"
#include "common/rpc/rpc_identity.h"
#include "protos/baton/v1/loading.grpc.pb.h"

namespace baton::stage {

// What a loader serves.
struct ServedModel {
  ModelConfig config;
  std::string fingerprint;
  // Of the checkpoint's files; empty if the loader is older and does not say.
  std::string checkpoint_fingerprint;
};

// Threads: one caller at a time; Cancel from any.
class LoaderClient final {
 public:
  LoaderClient(std::string address, const RpcIdentity& identity);

  // Errors: FailedPrecondition (the loader speaks another protocol version), DataLoss (its
  // fingerprint is not that of the config.json it sends), InvalidArgument (a config.json that
  // cannot be served), and the call's own, naming the loader's address.
  absl::StatusOr<ServedModel> GetModel(absl::Time deadline);

  // The bytes of the model's tokens, by id; empty for those that stand for no text. Errors:
  // NotFound (the model has no tokenizer), Unimplemented (the loader is older), the call's own.
  absl::StatusOr<std::vector<std::string>> GetVocabulary(absl::Time deadline);

  // Asks for slices and waits until the loader has sent them all. Errors: the call's, naming the
  // address; DataLoss if the stream is not what loading.proto says.
  absl::Status Load(const v1::LoadRequest& request);

  // Ends the call under way and every later one with Cancelled.
  void Cancel();

 private:
  // Makes `context` the call that Cancel ends; Cancelled if it was called already.
  absl::Status Enter(grpc::ClientContext* context);
  void Leave();
  absl::Status Explain(const grpc::Status& status) const;

  const std::string address_;
  const std::unique_ptr<v1::Loading::Stub> stub_;
  absl::Mutex mutex_;
  grpc::ClientContext* current_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace baton::stage
