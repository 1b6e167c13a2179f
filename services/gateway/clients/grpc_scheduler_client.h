// SchedulerClient over gRPC: one thread for all calls.
#pragma once

#include <memory>

#include "grpcpp/channel.h"

#include "protos/baton/v1/scheduling.grpc.pb.h"
#include "protos/baton/v1/types.pb.h"
#include "services/gateway/clients/completion_thread.h"
#include "services/gateway/clients/open_calls.h"
#include "services/gateway/clients/scheduler_client.h"
#include "services/gateway/loop/executor.h"

namespace baton::gateway {

// The completion thread only puts messages into each stream's inbox and posts to the executor; all
// observers run there. Messages that arrive together are delivered together.
class GrpcSchedulerClient final : public SchedulerClient {
 public:
  // `executor` must outlive every stream's end.
  GrpcSchedulerClient(std::shared_ptr<grpc::Channel> channel, v1::PeerInfo self,
                      Executor& executor);

  std::unique_ptr<SubmitStream> Submit(const v1::SubmitRequest& request,
                                       const SubmitOptions& options,
                                       SubmitObserver& observer) override;
  std::unique_ptr<GroupStream> WatchGroup(GroupStateCallback on_state,
                                          GroupLostCallback on_lost) override;

 private:
  const std::unique_ptr<v1::Scheduling::Stub> stub_;
  const v1::PeerInfo self_;
  Executor& executor_;
  CompletionThread completions_;
  OpenCalls open_calls_;  // last: its end is awaited before the rest goes
};

}  // namespace baton::gateway
