#include "tools/bench_serve/random_tokens.h"

#include "common/status/status_macros.h"

namespace baton::bench {
namespace {

// The lowest ids are special tokens in most vocabularies (DeepSeek's: begin, end, padding).
constexpr uint32_t kFirstPlainId = 8;
constexpr int kMaxTries = 10;  // as many as vllm's client makes

}  // namespace

RandomTokens::RandomTokens(const Tokenizer* tokenizer, int64_t vocab_size, uint64_t seed)
    : tokenizer_(tokenizer), random_(seed) {
  const auto end = tokenizer == nullptr ? static_cast<uint32_t>(vocab_size)
                                        : static_cast<uint32_t>(tokenizer->vocab_size());
  for (uint32_t id = tokenizer == nullptr ? kFirstPlainId : 0; id < end; ++id) {
    if (tokenizer == nullptr || (tokenizer->HasToken(id) && !tokenizer->IsSpecial(id))) {
      allowed_.push_back(id);
    }
  }
}

int64_t RandomTokens::Number(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_);
}

std::vector<uint32_t> RandomTokens::Ids(int64_t count) {
  std::vector<uint32_t> ids(static_cast<size_t>(count));
  for (uint32_t& id : ids) {
    id = allowed_[static_cast<size_t>(Number(0, static_cast<int64_t>(allowed_.size()) - 1))];
  }
  return ids;
}

absl::StatusOr<std::string> RandomTokens::Settle(std::vector<uint32_t>* ids) {
  const size_t wanted = ids->size();
  std::string text;
  for (int i = 0; i < kMaxTries; ++i) {
    text = tokenizer_->Decode(*ids, /*skip_special_tokens=*/false);
    ASSIGN_OR_RETURN(*ids, tokenizer_->Encode(text));
    if (ids->size() == wanted) break;
    if (ids->size() > wanted) {
      ids->resize(wanted);
    } else {
      const std::vector<uint32_t> more = Ids(static_cast<int64_t>(wanted - ids->size()));
      ids->insert(ids->end(), more.begin(), more.end());
    }
  }
  text = tokenizer_->Decode(*ids, /*skip_special_tokens=*/false);
  ASSIGN_OR_RETURN(*ids, tokenizer_->Encode(text));
  return text;
}

}  // namespace baton::bench
