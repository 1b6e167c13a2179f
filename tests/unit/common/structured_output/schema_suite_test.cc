// The official test suite: for every schema that compiles, valid instances match and others do not.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "common/structured_output/constraint.h"
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

// The way of a request.
absl::StatusOr<Automaton> CompileAsServed(const Json& schema) {
  return CompileConstraint({.kind = ConstraintKind::kJsonSchema, .text = schema.dump()});
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
  int without_texts = 0;  // no text matches: refused, too
  int instances = 0;      // of schemas that are taken
  int written_otherwise = 0;
  int wrong = 0;  // an instance matches that is not valid
  // Valid instances that do not match: "file: schema", and how many.
  std::map<std::string, int> narrower;

  void Add(const Counts& other) {
    schemas += other.schemas;
    taken += other.taken;
    without_texts += other.without_texts;
    instances += other.instances;
    written_otherwise += other.written_otherwise;
    wrong += other.wrong;
    narrower.insert(other.narrower.begin(), other.narrower.end());
  }
  std::string Line() const {
    return absl::StrCat(taken, " of ", schemas, " schemas taken, ", without_texts,
                        " match no text, ", instances, " instances, ", written_otherwise,
                        " of them written otherwise, ", wrong, " wrong");
  }
};

using Compiler = absl::StatusOr<Automaton> (*)(const Json& schema);

Counts RunFile(const std::filesystem::path& path, Compiler compile) {
  Counts counts;
  std::ifstream file(path);
  for (const Json& suite : Json::parse(file)) {
    ++counts.schemas;
    const auto automaton = compile(suite["schema"]);
    if (!automaton.ok()) {
      EXPECT_EQ(automaton.status().code(), absl::StatusCode::kInvalidArgument) << suite["schema"];
      const bool nothing = automaton.status().message().find("no text") != std::string::npos;
      if (!nothing) continue;
      ++counts.without_texts;
      const auto& tests = suite["tests"];
      EXPECT_TRUE(std::none_of(tests.begin(), tests.end(),
                               [](const Json& test) { return test["valid"] == true; }))
          << path.filename() << ": " << suite["description"];
      continue;
    }
    ++counts.taken;
    for (const Json& test : suite["tests"]) {
      const std::vector<std::string> texts = TextsInEveryOrder(test["data"]);
      const bool matches = std::any_of(texts.begin(), texts.end(),
                                       [&](const auto& text) { return Matches(*automaton, text); });
      ++counts.instances;
      if (matches == test["valid"].get<bool>()) continue;
      if (!matches && IsWrittenOtherwise(test["data"])) {
        ++counts.written_otherwise;
      } else if (!matches) {
        ++counts.narrower[absl::StrCat(path.stem().string(), ": ",
                                       suite["description"].get<std::string>())];
      } else {
        ++counts.wrong;
        ADD_FAILURE() << path.filename() << ": " << suite["description"] << ": "
                      << test["description"] << " is not valid and matches\n"
                      << suite["schema"] << "\n"
                      << texts.front();
      }
    }
  }
  return counts;
}

Counts RunSuite(Compiler compile) {
  Counts all;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(BATON_SOURCE_DIR "/tests/data/json_schema_suite")) {
    if (entry.path().extension() == ".json") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const std::filesystem::path& path : paths) {
    const Counts counts = RunFile(path, compile);
    std::cout << path.stem().string() << ": " << counts.Line() << "\n";
    all.Add(counts);
  }
  std::cout << "all: " << all.Line() << "\n";
  return all;
}

TEST(SchemaSuite, LiterallyTakenSchemasMatchTheirValidInstancesOnly) {
  const Counts all = RunSuite(CompileLiterally);
  EXPECT_THAT(all.narrower, testing::IsEmpty());
  EXPECT_EQ(all.Line(),
            "130 of 237 schemas taken, 6 match no text, 438 instances, 8 of them written "
            "otherwise, 0 wrong");
}

// Where a request's schema means less than the standard says, and for how many instances: objects
// with `properties` have no others, lists with `prefixItems` end behind them, and keywords without
// a type are for the type that they are for, so that values of others do not match.
const std::map<std::string, int> kNarrowerAsServed = {
    {"additionalProperties: additionalProperties are allowed by default", 1},  // closed object
    {"anyOf: anyOf complex types", 1},                                         // closed object
    {"exclusiveMaximum: exclusiveMaximum validation", 1},
    {"exclusiveMinimum: exclusiveMinimum validation", 1},
    {"items: a schema given for items", 2},
    {"maxItems: maxItems validation", 1},
    {"maxLength: maxLength validation", 1},
    {"maxProperties: maxProperties validation", 3},
    {"maximum: maximum validation", 1},
    {"minItems: minItems validation", 1},
    {"minLength: minLength validation", 1},
    {"minProperties: minProperties validation", 3},
    {"minimum: minimum validation", 1},
    {"minimum: minimum validation with signed integer", 1},
    {"pattern: pattern validation", 5},
    {"prefixItems: a schema given for prefixItems", 2},
    {"prefixItems: additional items are allowed by default", 1},  // closed list
    {"properties: object properties validation", 3},              // one: closed object
    {"properties: properties whose names are Javascript object property names", 2},
    {"ref: root pointer ref", 2},
    {"required: required properties whose names are Javascript object property names", 2},
    {"required: required validation", 3},
};

// The folder's README.md says these numbers.
TEST(SchemaSuite, AsServedNoInvalidInstanceMatchesAndWhatElseDoesNotIsKnown) {
  const Counts all = RunSuite(CompileAsServed);
  EXPECT_EQ(all.narrower, kNarrowerAsServed);
  EXPECT_EQ(all.Line(),
            "130 of 237 schemas taken, 6 match no text, 438 instances, 9 of them written "
            "otherwise, 0 wrong");
}

}  // namespace
}  // namespace baton::structured
