#include "tools/dequantize/byte_progress.h"

#include <algorithm>
#include <ostream>
#include <string>

#include "absl/strings/str_format.h"

namespace baton {
namespace {

constexpr int kBarWidth = 30;

}  // namespace

void ByteProgress::Show(uint64_t done, uint64_t total) {
  const absl::Time now = absl::Now();
  if (now < next_ && done < total) return;
  next_ = now + absl::Milliseconds(100);
  const double part = static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(total, 1));
  const double seconds = std::max(absl::ToDoubleSeconds(now - start_), 1e-3);
  const double rate = static_cast<double>(done) / seconds;
  const int filled = static_cast<int>(part * kBarWidth);
  err_ << absl::StrFormat("\r[%s%s] %3.0f %%  %.2f of %.2f GB  %.2f GB/s  %.0f s left ",
                          std::string(static_cast<size_t>(filled), '='),
                          std::string(static_cast<size_t>(kBarWidth - filled), ' '), 100 * part,
                          static_cast<double>(done) / 1e9, static_cast<double>(total) / 1e9,
                          rate / 1e9, static_cast<double>(total - done) / rate);
  if (done == total) err_ << "\n";
  err_.flush();
}

}  // namespace baton
