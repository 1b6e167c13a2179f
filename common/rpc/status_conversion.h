// Between absl::Status, which the code speaks, and grpc::Status, which the wire speaks. Codes have
// the same names and numbers.
#pragma once

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace baton {

grpc::Status ToGrpcStatus(const absl::Status& status);
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace baton
