#include "services/model_loader/calls/get_vocabulary_call.h"

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "common/rpc/peer.h"
#include "common/status/status_macros.h"
#include "common/tokenizer/tokenizer.h"

namespace baton::loader {
namespace {

constexpr size_t kMaxVocabularyBytes = size_t{6} << 20;

}  // namespace

absl::Status AnswerGetVocabulary(const ServedModel& model, const v1::GetVocabularyRequest& request,
                                 v1::GetVocabularyResponse* response) {
  RETURN_IF_ERROR(CheckPeer(request.peer(), "model-loader"));
  const std::string path = absl::StrCat(model.checkpoint->folder().path(), "/tokenizer.json");
  ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, Tokenizer::CreateFromFile(path));
  size_t bytes = 0;
  for (uint32_t id = 0; id < tokenizer->vocab_size(); ++id) {
    // Of an added token nothing is text.
    const absl::string_view text =
        tokenizer->IsAdded(id) ? absl::string_view() : tokenizer->TokenBytes(id);
    response->add_tokens(text.data(), text.size());
    bytes += text.size() + 2;
  }
  if (bytes <= kMaxVocabularyBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": its tokens take ", bytes, " bytes; at most ", kMaxVocabularyBytes));
}

}  // namespace baton::loader
