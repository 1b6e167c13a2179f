// The official test suite: for every schema that compiles, valid instances match and others do not.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

#include "common/structured_output/schema_compiler.h"
#include "tests/unit/common/structured_output/text_matching.h"

namespace baton::structured {
namespace {

constexpr size_t kMostOrders = 5000;

// The texts of `value` with its objects' keys in every order: ours is one of them.
std::vector<std::string> TextsInEveryOrder(const Json& value) {
  if (!value.is_structured() || value.empty()) return {value.dump()};
  std::vector<std::vector<std::string>> items;
  for (const auto& item : value.items()) {
    items.push_back(TextsInEveryOrder(item.value()));
    if (!value.is_object()) continue;
    for (std::string& text : items.back()) text = absl::StrCat(Json(item.key()).dump(), ": ", text);
  }
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::vector<std::string> out;
  do {
    std::vector<std::string> texts = {""};
    for (const size_t index : order) {
      std::vector<std::string> longer;
      for (const std::string& begin : texts) {
        for (const std::string& text : items[index]) {
          longer.push_back(absl::StrCat(begin, begin.empty() ? "" : ", ", text));
        }
      }
      texts = std::move(longer);
    }
    for (const std::string& text : texts) {
      out.push_back(value.is_object() ? absl::StrCat("{", text, "}")
                                      : absl::StrCat("[", text, "]"));
    }
  } while (value.is_object() && out.size() < kMostOrders &&
           std::next_permutation(order.begin(), order.end()));
  return out;
}

absl::StatusOr<Automaton> CompileLiterally(const Json& schema) {
  CompileBudget budget{CompileLimits{}};
  Grammar grammar(&budget);
  grammar.root = grammar.AddRule("root");
  absl::StatusOr<ExprId> body = CompileSchema(schema.dump(), {.literal = true}, &grammar);
  if (!body.ok()) return body.status();
  grammar.SetBody(grammar.root, *body);
  return CompileGrammar(grammar);
}

// Valid instances that we do not write, and why: a bounded number has no exponent and an integer no
// fraction.
bool IsWrittenOtherwise(const Json& value) {
  if (value.is_number_float()) return true;
  return value.is_structured() && std::any_of(value.begin(), value.end(), IsWrittenOtherwise);
}

struct Counts {
  int schemas = 0;
  int taken = 0;
  int instances = 0;
  int written_otherwise = 0;
};

void RunFile(const std::filesystem::path& path, Counts* counts) {
  std::ifstream file(path);
  for (const Json& suite : Json::parse(file)) {
    ++counts->schemas;
    const auto automaton = CompileLiterally(suite["schema"]);
    const bool nothing =
        !automaton.ok() && automaton.status().message().find("no text") != std::string::npos;
    if (!automaton.ok() && !nothing) continue;
    ++counts->taken;
    for (const Json& test : suite["tests"]) {
      const std::vector<std::string> texts = TextsInEveryOrder(test["data"]);
      const bool matches =
          !nothing && std::any_of(texts.begin(), texts.end(),
                                  [&](const auto& text) { return Matches(*automaton, text); });
      ++counts->instances;
      if (test["valid"] == true && !matches && IsWrittenOtherwise(test["data"])) {
        ++counts->written_otherwise;
        continue;
      }
      EXPECT_EQ(matches, test["valid"].get<bool>())
          << path.filename() << ": " << suite["description"] << ": " << test["description"] << "\n"
          << suite["schema"] << "\n"
          << texts.front();
    }
  }
}

TEST(SchemaSuite, TakenSchemasMatchTheirValidInstancesOnly) {
  Counts all;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(BATON_SOURCE_DIR "/tests/data/json_schema_suite")) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const std::filesystem::path& path : paths) {
    Counts counts;
    RunFile(path, &counts);
    std::cout << path.stem().string() << ": " << counts.taken << " of " << counts.schemas
              << " schemas, " << counts.instances << " instances, " << counts.written_otherwise
              << " of them written otherwise\n";
    all.schemas += counts.schemas;
    all.taken += counts.taken;
    all.instances += counts.instances;
    all.written_otherwise += counts.written_otherwise;
  }
  std::cout << "all: " << all.taken << " of " << all.schemas << " schemas, " << all.instances
            << " instances, " << all.written_otherwise << " of them written otherwise\n";
  // What was taken when this was written; more is better.
  EXPECT_GE(all.taken, 100);
  EXPECT_LE(all.written_otherwise, 20);
}

}  // namespace
}  // namespace baton::structured
