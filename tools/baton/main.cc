// The `baton` command: serve, plan, simulate, dequantize, mini-r1, bench, top, version, help.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

#include "common/config/nearest_name.h"
#include "common/config/release.h"
#include "tools/baton/group.h"
#include "tools/baton/serve_options.h"
#include "tools/bench_serve/bench_command.h"
#include "tools/dequantize/dequantize_command.h"
#include "tools/mini_r1/mini_command.h"
#include "tools/plan/plan_command.h"
#include "tools/simulate/simulate_command.h"
#include "tools/top/top_command.h"

namespace {

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

int Help(const std::vector<std::string>& words);

int Version(const std::vector<std::string>&) {
  std::cout << "baton " << baton::kRelease << "\n";
  return 0;
}

struct Command {
  absl::string_view name;
  absl::string_view arguments;
  absl::string_view help;
  std::function<int(const std::vector<std::string>& words)> run;
};

const std::vector<Command>& Commands() {
  using Words = std::vector<std::string>;
  static const auto* commands = new std::vector<Command>{
      {"serve", "MODEL_DIR [flags]", "a whole group on this machine; baton serve --help", Serve},
      {"plan", "MODEL_DIR [flags]", "layer split, bytes per rank, KV capacity; baton plan --help",
       [](const Words& words) { return baton::RunPlan(words, std::cout, std::cerr); }},
      {"simulate", "[MODEL_DIR] [flags]",
       "what the scheduler makes of a load; baton simulate --help",
       [](const Words& words) {
         return baton::simulate::RunSimulate(words, std::cout, std::cerr);
       }},
      {"dequantize", "IN_DIR OUT_DIR", "writes the BF16 form of an FP8 checkpoint",
       [](const Words& words) { return baton::RunDequantize(words, std::cout, std::cerr); }},
      {"mini-r1", "OUT_DIR [flags]", "writes random weights to measure with; baton mini-r1 --help",
       [](const Words& words) { return baton::RunMiniR1(words, std::cout, std::cerr); }},
      {"bench", "serve [flags]", "loads an OpenAI endpoint, as vllm bench serve does",
       [](const Words& words) { return baton::RunBench(words, std::cout, std::cerr); }},
      {"top", "[flags]", "a live view of a group; baton top --help",
       [](const Words& words) { return baton::RunTop(words, std::cout, std::cerr); }},
      {"version", "", "", Version},
      {"help", "", "", Help},
  };
  return *commands;
}

int Help(const std::vector<std::string>&) {
  std::cout << "baton: serves DeepSeek-R1 and models of its architecture\n\n";
  const auto usage = [](const Command& command) {
    return absl::StrCat("  baton ", command.name, " ", command.arguments);
  };
  size_t width = 0;
  for (const Command& command : Commands()) width = std::max(width, usage(command).size());
  for (const Command& command : Commands()) {
    const std::string line =
        absl::StrFormat("%-*s  %s", static_cast<int>(width), usage(command), command.help);
    std::cout << absl::StripTrailingAsciiWhitespace(line) << "\n";
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) return Usage("which command?");
  const std::vector<std::string> rest(words.begin() + 1, words.end());
  std::string name = words[0];
  if (name == "-h") name = "help";
  if (name == "--help" || name == "--version") name = name.substr(2);
  std::vector<std::string> names;
  for (const Command& command : Commands()) {
    if (command.name == name) return command.run(rest);
    names.emplace_back(command.name);
  }
  const std::string nearest = baton::NearestName(name, names);
  return Usage(absl::StrCat("unknown command ", words[0],
                            nearest.empty() ? "" : "; did you mean " + nearest + "?"));
}
