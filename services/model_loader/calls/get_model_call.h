// Loading.GetModel: what model this loader has.
#pragma once

#include "absl/status/status.h"

#include "protos/baton/v1/loading.pb.h"
#include "services/model_loader/format/served_model.h"

namespace baton::loader {

// Errors: FailedPrecondition (another protocol version), InvalidArgument (peer's strings).
absl::Status AnswerGetModel(const ServedModel& model, const v1::GetModelRequest& request,
                            v1::GetModelResponse* response);

}  // namespace baton::loader
