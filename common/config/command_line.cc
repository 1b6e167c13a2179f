#include "common/config/command_line.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/flag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

#include "common/config/nearest_name.h"
#include "common/config/release.h"
#include "common/log/log.h"

ABSL_FLAG(std::string, log_level, "info",
          "least level that is logged: debug, info, warning, error");

namespace baton {
namespace {

using Flags = std::map<std::string, absl::CommandLineFlag*>;  // by dashed name

std::string Dashed(absl::string_view name) { return absl::StrReplaceAll(name, {{"_", "-"}}); }

// The flags of the program itself: those that Abseil defines for its own parser are not ours.
Flags OwnFlags() {
  Flags flags;
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    if (flag->IsRetired() || absl::StrContains(flag->Filename(), "absl/")) continue;
    flags[Dashed(name)] = flag;
  }
  return flags;
}

bool IsBool(const absl::CommandLineFlag& flag) { return flag.IsOfType<bool>(); }
bool IsList(const absl::CommandLineFlag& flag) { return flag.IsOfType<std::vector<std::string>>(); }

class Parser {
 public:
  Parser(const ProgramDescription& program, Flags flags)
      : program_(program), flags_(std::move(flags)) {}

  std::vector<std::string> Parse(std::vector<std::string> words) {
    ReadEnvironment();
    words_ = std::move(words);
    while (next_ < words_.size()) {
      const std::string& word = words_[next_++];
      if (word == "--") {
        positional_.insert(positional_.end(), words_.begin() + static_cast<ptrdiff_t>(next_),
                           words_.end());
        break;
      }
      if (word.size() > 1 && word[0] == '-')
        ParseFlag(word);
      else
        positional_.push_back(word);
    }
    for (const auto& [name, values] : lists_) Set(name, absl::StrJoin(values, ","));
    ApplyLogLevel();
    return std::move(positional_);
  }

 private:
  [[noreturn]] void Fail(absl::string_view reason) const {
    std::cerr << program_.name << ": " << reason << "\ntry `" << program_.name << " --help`\n";
    std::exit(2);
  }

  void Set(const std::string& name, absl::string_view value) {
    std::string error;
    if (flags_.at(name)->ParseFrom(value, &error)) return;
    if (error.empty()) error = absl::StrCat("not a value of this flag: \"", value, "\"");
    Fail(absl::StrCat("--", name, ": ", error));
  }

  void ReadEnvironment() {
    for (const auto& [name, flag] : flags_) {
      const std::string variable =
          absl::StrCat("BATON_", absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}})));
      const char* value = std::getenv(variable.c_str());
      // Kubernetes sets BATON_PORT=tcp://10.0.0.1:8000 in every pod if a service is named "baton".
      if (value == nullptr || absl::StartsWith(value, "tcp://")) continue;
      std::string error;
      if (!flag->ParseFrom(value, &error))
        Fail(absl::StrCat("environment variable ", variable, ": ",
                          error.empty() ? absl::StrCat("not a value: \"", value, "\"") : error));
    }
  }

  void ParseFlag(const std::string& word) {
    if (word == "--help" || word == "-h" || word == "-help") PrintHelp();
    if (word == "--version") {
      std::cout << program_.name << " " << kRelease << "\n";
      std::exit(0);
    }
    const size_t equals = word.find('=');
    const bool has_value = equals != std::string::npos;
    const std::string name =
        Dashed(absl::StripPrefix(absl::StripPrefix(word.substr(0, equals), "-"), "-"));
    const auto flag = absl::StartsWith(word, "--") ? flags_.find(name) : flags_.end();
    if (flag == flags_.end()) {
      if (!has_value && absl::StartsWith(name, "no-") && SetNegated(name.substr(3))) return;
      FailUnknown(word.substr(0, equals), name);
    }
    if (IsBool(*flag->second)) return Set(name, has_value ? word.substr(equals + 1) : "true");
    if (IsList(*flag->second)) {
      std::vector<std::string>& values = lists_[name];
      const size_t before = values.size();
      if (has_value) values.push_back(word.substr(equals + 1));
      while (!has_value && next_ < words_.size() && !absl::StartsWith(words_[next_], "-"))
        values.push_back(words_[next_++]);
      if (values.size() == before) Fail(absl::StrCat("--", name, " needs a value"));
      return;
    }
    if (has_value) return Set(name, word.substr(equals + 1));
    if (next_ == words_.size() || absl::StartsWith(words_[next_], "--"))
      Fail(absl::StrCat("--", name, " needs a value"));
    Set(name, words_[next_++]);
  }

  bool SetNegated(const std::string& name) {
    const auto flag = flags_.find(name);
    if (flag == flags_.end() || !IsBool(*flag->second)) return false;
    Set(name, "false");
    return true;
  }

  [[noreturn]] void FailUnknown(const std::string& word, const std::string& name) const {
    std::vector<std::string> names{"help", "version"};
    for (const auto& [known, flag] : flags_) names.push_back(known);
    const std::string nearest = NearestName(name, names);
    Fail(absl::StrCat("unknown flag ", word,
                      nearest.empty() ? "" : absl::StrCat("; did you mean --", nearest, "?")));
  }

  [[noreturn]] void PrintHelp() const {
    std::cout << program_.name << ": " << program_.summary << "\n\nexample:\n  " << program_.example
              << "\n\nflags (each also from the environment: --max-num-seqs is "
                 "BATON_MAX_NUM_SEQS):\n";
    for (const auto& [name, flag] : flags_) {
      std::cout << "  --" << name;
      if (IsBool(*flag))
        std::cout << (flag->DefaultValue() == "true" ? " | --no-" + name + " (default: on)"
                                                     : " (default: off)");
      else if (!flag->DefaultValue().empty())
        std::cout << " (default: " << flag->DefaultValue() << ")";
      std::cout << "\n      " << flag->Help() << "\n";
    }
    std::cout << "  --help\n  --version\n";
    std::exit(0);
  }

  void ApplyLogLevel() const {
    LogLevel level;
    const std::string name = absl::GetFlag(FLAGS_log_level);
    if (!ParseLogLevel(name, &level))
      Fail(absl::StrCat("--log-level: \"", name, "\" is not debug, info, warning or error"));
    SetMinLogLevel(level);
  }

  const ProgramDescription& program_;
  const Flags flags_;
  std::vector<std::string> words_;
  size_t next_ = 0;
  std::map<std::string, std::vector<std::string>> lists_;
  std::vector<std::string> positional_;
};

}  // namespace

std::vector<std::string> ParseCommandLine(const ProgramDescription& program, int argc,
                                          char** argv) {
  return Parser(program, OwnFlags()).Parse({argv + std::min(argc, 1), argv + argc});
}

}  // namespace baton
