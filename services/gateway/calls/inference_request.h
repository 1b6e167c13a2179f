// GenerateRequest of the gRPC API to a sequence that can run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "protos/baton/v1/inference.pb.h"
#include "services/gateway/calls/gateway_context.h"
#include "services/gateway/generation/generate_call.h"
#include "services/gateway/generation/sequence_builder.h"

namespace baton::gateway {

inline constexpr size_t kMaxRequestIdBytes = 256;

// Any thread. The id of `scope` is the request's own. Errors: InvalidArgument naming the field,
// NotFound (model).
absl::StatusOr<SequenceSpec> PrepareInference(const GatewayContext& context,
                                              const v1::GenerateRequest& request,
                                              const RequestScope& scope);

// Of Tokenize and Detokenize. Errors: InvalidArgument naming the field.
absl::StatusOr<std::vector<uint32_t>> EncodeTokenizeRequest(const GatewayContext& context,
                                                            const v1::TokenizeRequest& request);
absl::StatusOr<std::string> DecodeDetokenizeRequest(const GatewayContext& context,
                                                    const v1::DetokenizeRequest& request);

// What a client sees of an update. `sequence_number` and usage are the caller's.
v1::GenerateResponse MakeGenerateResponse(SequenceUpdate& update);

}  // namespace baton::gateway
