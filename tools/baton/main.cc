// The `baton` command: serve, plan, version, help.

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

#include "common/config/nearest_name.h"
#include "common/config/release.h"
#include "tools/baton/group.h"
#include "tools/baton/serve_options.h"
#include "tools/dequantize/dequantize_command.h"
#include "tools/plan/plan_command.h"

namespace {

constexpr absl::string_view kHelp =
    "baton: serves DeepSeek-R1 and models of its architecture\n\n"
    "  baton serve MODEL_DIR [flags]   a whole group on this machine; baton serve --help\n"
    "  baton plan MODEL_DIR [flags]    layer split, bytes per rank, KV capacity; baton plan "
    "--help\n"
    "  baton dequantize IN_DIR OUT_DIR writes the BF16 form of an FP8 checkpoint\n"
    "  baton version\n"
    "  baton help\n";

int Usage(absl::string_view reason) {
  std::cerr << "baton: " << reason << "\ntry `baton help`\n";
  return 2;
}

bool AsksForHelp(const std::vector<std::string>& words) {
  for (const std::string& word : words)
    if (word == "--help" || word == "-h") return true;
  return false;
}

int Serve(const std::vector<std::string>& words) {
  if (AsksForHelp(words)) {
    std::cout << baton::ServeHelp();
    return 0;
  }
  const auto options = baton::ParseServeOptions(words);
  if (!options.ok()) return Usage(options.status().message());
  for (const std::string& warning : options->warnings) std::cerr << "baton: " << warning << "\n";
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  auto group = baton::Group::Create(*options, self.parent_path().string());
  absl::Status status = group.status();
  if (status.ok()) status = (*group)->Run();
  if (status.ok()) return 0;
  std::cerr << "baton: " << status.message() << "\n";
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return Usage("which command?");
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  if (words[0] == "serve") return Serve(rest);
  if (words[0] == "plan") return baton::RunPlan(rest, std::cout, std::cerr);
  if (words[0] == "dequantize") return baton::RunDequantize(rest, std::cout, std::cerr);
  if (words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    std::cout << kHelp;
    return 0;
  }
  if (words[0] == "version" || words[0] == "--version") {
    std::cout << "baton " << baton::kRelease << "\n";
    return 0;
  }
  const std::string nearest =
      baton::NearestName(words[0], {"serve", "plan", "bench", "version", "help"});
  return Usage("unknown command " + words[0] +
               (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
}
