#include "services/scheduler/core/block_hash.h"

#include <cstring>

#include "common/digest/sha256.h"
#include "common/log/check.h"

namespace baton::scheduler {
namespace {

// What is hashed begins with what it is, so that a root is never a block.
constexpr char kRootTag = 'r';
constexpr char kBlockTag = 'b';
constexpr char kExpandedBlockTag = 'e';

BlockHash Shorten(const Sha256Digest& digest) {
  BlockHash hash;
  std::memcpy(&hash.high, digest.data(), sizeof(hash.high));
  std::memcpy(&hash.low, digest.data() + sizeof(hash.high), sizeof(hash.low));
  return hash;
}

void AppendBytes(const void* bytes, size_t size, std::string* out) {
  out->append(static_cast<const char*>(bytes), size);
}

}  // namespace

BlockHash BlockHasher::Root(absl::string_view salt) const {
  std::string bytes(1, kRootTag);
  const uint64_t secret_bytes = secret_.size();
  AppendBytes(&secret_bytes, sizeof(secret_bytes), &bytes);  // where the salt begins
  bytes.append(secret_);
  bytes.append(salt.data(), salt.size());
  return Shorten(Sha256(bytes));
}

BlockHash BlockHasher::Next(const BlockHash& parent, absl::Span<const uint32_t> tokens,
                            bool expanded) const {
  BATON_CHECK(tokens.size() == block_tokens_) << tokens.size() << " tokens are no block";
  std::string bytes(1, expanded ? kExpandedBlockTag : kBlockTag);
  bytes.reserve(1 + sizeof(parent) + tokens.size() * sizeof(tokens[0]));
  AppendBytes(&parent.high, sizeof(parent.high), &bytes);
  AppendBytes(&parent.low, sizeof(parent.low), &bytes);
  AppendBytes(tokens.data(), tokens.size() * sizeof(tokens[0]), &bytes);
  return Shorten(Sha256(bytes));
}

}  // namespace baton::scheduler
