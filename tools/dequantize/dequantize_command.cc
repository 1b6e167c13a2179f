#include "tools/dequantize/dequantize_command.h"

#include <iostream>
#include <unistd.h>

#include "absl/strings/match.h"

#include "tools/dequantize/byte_progress.h"
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
  ByteProgress bar(err);
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
