// Loading.GetVocabulary: what the model's tokens stand for.
#pragma once

#include "absl/status/status.h"

#include "protos/baton/v1/loading.pb.h"
#include "services/model_loader/format/served_model.h"

namespace baton::loader {

// Reads tokenizer.json for each call: few calls come. Errors: NotFound (there is none),
// InvalidArgument (it is no byte-level BPE, has too many tokens or too long ones; another protocol
// version's peer: FailedPrecondition).
absl::Status AnswerGetVocabulary(const ServedModel& model, const v1::GetVocabularyRequest& request,
                                 v1::GetVocabularyResponse* response);

}  // namespace baton::loader
