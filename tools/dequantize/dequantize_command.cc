#include "tools/dequantize/dequantize_command.h"

#include <algorithm>
#include <iostream>
#include <unistd.h>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "tools/dequantize/dequantize_checkpoint.h"

namespace baton {
namespace {

constexpr char kHelp[] =
    "baton dequantize IN_DIR OUT_DIR [--follow-links]: writes the BF16 form of an FP8 checkpoint\n"
    "(value x scale in float32, rounded to nearest even) to a new folder of about twice the "
    "size\n\n"
    "example:\n"
    "  baton dequantize /models/DeepSeek-R1 /models/DeepSeek-R1-BF16\n\n"
    "flags:\n"
    "  --follow-links    accept input files that are symbolic links, as in Hugging Face's cache\n";

// One line, redrawn at most ten times a second.
class ProgressBar {
 public:
  explicit ProgressBar(std::ostream& err) : err_(err) {}

  void Show(uint64_t done, uint64_t total) {
    const absl::Time now = absl::Now();
    if (now < next_ && done < total) return;
    next_ = now + absl::Milliseconds(100);
    const double part =
        static_cast<double>(done) / static_cast<double>(std::max<uint64_t>(total, 1));
    const double seconds = std::max(absl::ToDoubleSeconds(now - start_), 1e-3);
    const double rate = static_cast<double>(done) / seconds;
    const int filled = static_cast<int>(part * kWidth);
    err_ << absl::StrFormat("\r[%s%s] %3.0f %%  %.2f of %.2f GB  %.2f GB/s  %.0f s left ",
                            std::string(static_cast<size_t>(filled), '='),
                            std::string(static_cast<size_t>(kWidth - filled), ' '), 100 * part,
                            static_cast<double>(done) / 1e9, static_cast<double>(total) / 1e9,
                            rate / 1e9, static_cast<double>(total - done) / rate);
    if (done == total) err_ << "\n";
    err_.flush();
  }

 private:
  static constexpr int kWidth = 30;
  std::ostream& err_;
  const absl::Time start_ = absl::Now();
  absl::Time next_ = absl::InfinitePast();
};

int Usage(std::ostream& err, const std::string& reason) {
  err << "baton dequantize: " << reason << "\ntry `baton dequantize --help`\n";
  return 2;
}

}  // namespace

int RunDequantize(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  DequantizeOptions options;
  std::vector<std::string> folders;
  for (const std::string& word : words) {
    if (word == "--help" || word == "-h") {
      out << kHelp;
      return 0;
    }
    if (word == "--follow-links" || word == "--follow_links") {
      options.follow_links = true;
    } else if (absl::StartsWith(word, "-")) {
      return Usage(err, "unknown flag " + word);
    } else {
      folders.push_back(word);
    }
  }
  if (folders.size() != 2) return Usage(err, "wanted IN_DIR and OUT_DIR");
  options.input = folders[0];
  options.output = folders[1];
  ProgressBar bar(err);
  if (&err == &std::cerr && isatty(STDERR_FILENO) == 1) {
    options.progress = [&bar](uint64_t done, uint64_t total) { bar.Show(done, total); };
  }
  const absl::Status status = DequantizeCheckpoint(options);
  if (!status.ok()) {
    err << "baton dequantize: " << status.message() << "\n";
    return 1;
  }
  out << options.output << ": the BF16 form of " << options.input << "\n";
  return 0;
}

}  // namespace baton
