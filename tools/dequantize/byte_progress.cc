#include "tools/dequantize/byte_progress.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_format.h"

namespace baton {
namespace {

constexpr size_t kBarWidth = 30;

}  // namespace

std::string ByteProgressText(uint64_t done, uint64_t total, absl::Duration elapsed) {
  done = std::min(done, total);
  const double part = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
  const double rate = static_cast<double>(done) / std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  const auto filled = static_cast<size_t>(part * kBarWidth);
  std::string text = absl::StrFormat("[%s%s] %3.0f %%  %.2f of %.2f GB  %.2f GB/s",
                                     std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                                     100 * part, static_cast<double>(done) / 1e9,
                                     static_cast<double>(total) / 1e9, rate / 1e9);
  if (done > 0) {
    absl::StrAppendFormat(&text, "  %.0f s left", static_cast<double>(total - done) / rate);
  }
  return text;
}

void ByteProgress::Show(uint64_t done, uint64_t total) {
  const absl::Time now = absl::Now();
  if (now < next_ && done < total) return;
  next_ = now + absl::Milliseconds(100);
  err_ << "\r\033[K" << ByteProgressText(done, total, now - start_);
  if (done >= total) err_ << "\n";
  err_.flush();
}

}  // namespace baton
