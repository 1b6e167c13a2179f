#include "services/model_loader/transfer/byte_budget.h"

namespace baton::loader {

ByteBudget::ByteBudget(uint64_t limit_bytes)
    : limit_bytes_(limit_bytes), out_(std::make_shared<Out>()) {}

ByteBudget::Leave ByteBudget::Take(uint64_t bytes, absl::Time deadline) {
  Out& out = *out_;
  const SteadyMutexLock lock(&out.mutex);
  const auto fits = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(out.mutex) {
    return out.cancelled || out.bytes == 0 ||
           (bytes <= limit_bytes_ && out.bytes <= limit_bytes_ - bytes);
  };
  if (!out.mutex.AwaitWithDeadline(absl::Condition(&fits), deadline) || out.cancelled)
    return nullptr;
  out.bytes += bytes;
  const auto give_back = [bytes, kept = out_](const void*) {
    const SteadyMutexLock back(&kept->mutex);
    kept->bytes -= bytes;
  };
  return Leave(static_cast<const void*>(out_.get()), give_back);
}

void ByteBudget::Cancel() {
  const SteadyMutexLock lock(&out_->mutex);
  out_->cancelled = true;
}

}  // namespace baton::loader
