#include "tools/mini_r1/mini_command.h"

#include <algorithm>
#include <iostream>
#include <thread>
#include <unistd.h>

#include "absl/strings/str_cat.h"

#include "common/model/model_config.h"
#include "common/status/status_macros.h"
#include "tools/dequantize/byte_progress.h"
#include "tools/flags/flag_table.h"
#include "tools/mini_r1/mini_config.h"
#include "tools/mini_r1/random_checkpoint.h"

namespace baton {
namespace {

constexpr int64_t kLargestSize = int64_t{1} << 20;
constexpr int kMostWriters = 16;

const std::vector<FlagRow>& Flags() {
  static const auto* flags = new std::vector<FlagRow>{
      {"tokenizer", FlagKind::kValue, "",
       "folder of the tokenizer to copy, such as tests/data/deepseek-tokenizer"},
      {"dtype", FlagKind::kValue, "fp8", "fp8 (128x128 blocks, as DeepSeek-R1) or bfloat16"},
      {"seed", FlagKind::kValue, "1234", "the same bytes for the same seed, in each dtype"},
      {"config", FlagKind::kValue, "",
       "folder with another model's config.json to take instead of the sizes below"},
      {"hidden-size", FlagKind::kValue, "2048", ""},
      {"num-layers", FlagKind::kValue, "8", ""},
      {"num-dense-layers", FlagKind::kValue, "1", "the first ones"},
      {"intermediate-size", FlagKind::kValue, "5632", "of dense layers"},
      {"moe-intermediate-size", FlagKind::kValue, "512", "of an expert"},
      {"num-experts", FlagKind::kValue, "64", "routed; one shared expert comes on top"},
      {"experts-per-token", FlagKind::kValue, "8", ""},
      {"num-heads", FlagKind::kValue, "16", ""},
      {"q-lora-rank", FlagKind::kValue, "768", ""},
      {"kv-lora-rank", FlagKind::kValue, "512", ""},
      {"vocab-size", FlagKind::kValue, "129280", "at least the tokenizer's"},
      {"num-mtp-layers", FlagKind::kValue, "0", "multi-token-prediction modules"},
  };
  return *flags;
}

std::string Help() {
  return absl::StrCat(
      "baton mini-r1 OUT_DIR [flags]: writes a checkpoint of DeepSeek-R1's architecture with "
      "random\nweights to a new folder, for measurements: 2.09 billion parameters (2.6 GB in FP8) "
      "unless\ntold otherwise\n\n"
      "example:\n"
      "  baton mini-r1 /tmp/mini-r1 --tokenizer tests/data/deepseek-tokenizer\n"
      "  baton serve /tmp/mini-r1 --pipeline-parallel-size 1 --tensor-parallel-size 1\n\n"
      "flags:\n",
      FlagHelp(Flags()));
}

absl::Status ReadSizes(const GivenFlags& given, MiniSizes* sizes) {
  const std::pair<absl::string_view, int64_t*> rows[] = {
      {"hidden-size", &sizes->hidden_size},
      {"num-layers", &sizes->num_layers},
      {"intermediate-size", &sizes->intermediate_size},
      {"moe-intermediate-size", &sizes->moe_intermediate_size},
      {"num-experts", &sizes->num_experts},
      {"experts-per-token", &sizes->experts_per_token},
      {"num-heads", &sizes->num_heads},
      {"q-lora-rank", &sizes->q_lora_rank},
      {"kv-lora-rank", &sizes->kv_lora_rank},
      {"vocab-size", &sizes->vocab_size},
  };
  for (const auto& [name, size] : rows) {
    RETURN_IF_ERROR(given.Read(name, 1, kLargestSize, size));
  }
  RETURN_IF_ERROR(given.Read("num-dense-layers", 0, kLargestSize, &sizes->num_dense_layers));
  return given.Read("num-mtp-layers", 0, kLargestSize, &sizes->num_mtp_layers);
}

absl::StatusOr<RandomCheckpointOptions> ReadOptions(const GivenFlags& given) {
  RandomCheckpointOptions options;
  if (given.positional().size() != 1) return absl::InvalidArgumentError("wanted one OUT_DIR");
  options.output = given.positional()[0];
  RETURN_IF_ERROR(given.Read("tokenizer", &options.tokenizer));
  int64_t seed = static_cast<int64_t>(options.seed);
  RETURN_IF_ERROR(given.Read("seed", 0, INT64_MAX, &seed));
  options.seed = static_cast<uint64_t>(seed);
  std::string dtype = "fp8";
  RETURN_IF_ERROR(given.Read("dtype", &dtype));
  if (dtype != "fp8" && dtype != "bfloat16") {
    return absl::InvalidArgumentError(absl::StrCat("--dtype ", dtype, ": wanted fp8 or bfloat16"));
  }
  MiniSizes sizes;
  sizes.fp8 = dtype == "fp8";
  RETURN_IF_ERROR(ReadSizes(given, &sizes));
  options.config_json = MiniConfigJson(sizes);
  std::string config;
  RETURN_IF_ERROR(given.Read("config", &config));
  if (!config.empty()) {
    ASSIGN_OR_RETURN(options.config_json, ReadModelConfigText(config));
  }
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  options.num_threads = std::clamp(cores, 1, kMostWriters);
  return options;
}

int Usage(std::ostream& err, absl::string_view reason) {
  err << "baton mini-r1: " << reason << "\ntry `baton mini-r1 --help`\n";
  return 2;
}

}  // namespace

int RunMiniR1(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  if (std::ranges::any_of(words, [](const auto& w) { return w == "--help" || w == "-h"; })) {
    out << Help();
    return 0;
  }
  const absl::StatusOr<GivenFlags> given = ParseFlags(words, Flags());
  if (!given.ok()) return Usage(err, given.status().message());
  absl::StatusOr<RandomCheckpointOptions> options = ReadOptions(*given);
  if (!options.ok()) return Usage(err, options.status().message());
  ByteProgress bar(err);
  if (&err == &std::cerr && isatty(STDERR_FILENO) == 1) {
    options->progress = [&bar](uint64_t done, uint64_t total) { bar.Show(done, total); };
  }
  const absl::Status status = WriteRandomCheckpoint(*options);
  if (!status.ok()) {
    err << "baton mini-r1: " << status.message() << "\n";
    return 1;
  }
  out << options->output << ": random weights of DeepSeek-R1's architecture\n";
  return 0;
}

}  // namespace baton
