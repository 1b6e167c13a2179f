#include "common/model/model_config.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace baton {
namespace {

using nlohmann::json;

std::string DataFolder(absl::string_view model) {
  return absl::StrCat(BATON_SOURCE_DIR, "/tests/data/", model);
}

std::string ConfigText(absl::string_view model) {
  return ReadModelConfigText(DataFolder(model)).value();
}

json R1() { return json::parse(ConfigText("deepseek-r1")); }

// Expects a refusal that names `field`.
void ExpectRefused(const json& config, absl::string_view field) {
  const auto parsed = ParseModelConfig(config.dump());
  ASSERT_FALSE(parsed.ok()) << field << " was accepted";
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(parsed.status().message(), field)) << parsed.status();
}

TEST(ModelConfig, ReadsDeepSeekR1) {
  const auto config = ParseModelConfig(ConfigText("deepseek-r1"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "deepseek_v3");
  EXPECT_EQ(config->hidden_size, 7168);
  EXPECT_EQ(config->num_layers, 61);
  EXPECT_EQ(config->num_mtp_layers, 1);
  EXPECT_EQ(config->num_dense_layers, 3);
  EXPECT_EQ(config->intermediate_size, 18432);
  EXPECT_EQ(config->moe_intermediate_size, 2048);
  EXPECT_EQ(config->num_experts, 256);
  EXPECT_EQ(config->num_shared_experts, 1);
  EXPECT_EQ(config->experts_per_token, 8);
  EXPECT_EQ(config->num_expert_groups, 8);
  EXPECT_EQ(config->num_kept_groups, 4);
  EXPECT_TRUE(config->normalize_expert_weights);
  EXPECT_EQ(config->routed_scaling_factor, 2.5);
  EXPECT_EQ(config->num_heads, 128);
  EXPECT_EQ(config->q_lora_rank, 1536);
  EXPECT_EQ(config->kv_width(), 576);
  EXPECT_EQ(config->qk_head_dim(), 192);
  EXPECT_EQ(config->v_head_dim, 128);
  EXPECT_TRUE(config->has_yarn);
  EXPECT_EQ(config->yarn.factor, 40.0);
  EXPECT_EQ(config->max_positions, 163840);
  EXPECT_EQ(config->vocab_size, 129280);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_TRUE(config->fp8_weights);
  EXPECT_EQ(config->bos_token_id, 0);
  EXPECT_EQ(config->eos_token_ids, std::vector<int64_t>{1});
}

TEST(ModelConfig, ReadsTheDemoModel) {
  const auto config = ParseModelConfig(ConfigText("tiny-r1"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 256);
  EXPECT_EQ(config->num_layers, 8);
  EXPECT_EQ(config->num_kept_groups, 2);
}

TEST(ModelConfig, AttentionScaleHasYarnAmplitudeSquared) {
  const auto r1 = ParseModelConfig(ConfigText("deepseek-r1"));
  EXPECT_NEAR(r1->attention_scale(), 0.1352338, 1e-7);
  json plain = R1();
  plain.erase("rope_scaling");
  EXPECT_NEAR(ParseModelConfig(plain.dump())->attention_scale(), 1.0 / std::sqrt(192.0), 1e-12);
}

TEST(ModelConfig, AcceptsWhatOptionalFieldsMayBe) {
  json config = R1();
  config["q_lora_rank"] = nullptr;
  config["quantization_config"] = nullptr;
  config["rope_scaling"] = nullptr;
  config["eos_token_id"] = {1, 2, 3};
  config.erase("bos_token_id");
  config.erase("num_nextn_predict_layers");
  const auto parsed = ParseModelConfig(config.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->q_lora_rank, 0);
  EXPECT_FALSE(parsed->fp8_weights);
  EXPECT_FALSE(parsed->has_yarn);
  EXPECT_EQ(parsed->eos_token_ids.size(), 3u);
  EXPECT_EQ(parsed->bos_token_id, -1);
  EXPECT_EQ(parsed->num_mtp_layers, 0);
}

TEST(ModelConfig, RefusesWhatItDoesNotKnow) {
  const std::vector<std::pair<std::string, json>> changes = {
      {"model_type", "deepseek_v32"},
      {"architectures", json::array({"LlamaForCausalLM"})},
      {"scoring_func", "softmax"},
      {"topk_method", "group_limited_greedy"},
      {"hidden_act", "gelu"},
      {"torch_dtype", "float16"},
      {"attention_bias", true},
      {"moe_layer_freq", 2},
      {"num_key_value_heads", 8},
      {"rope_parameters", json::object()},
      {"rope_interleave", false},
      {"rope_interleave", 1},
      {"pretraining_tp", 2},
      {"compression_config", json::object()},
      {"head_dim", 128},
      {"qk_head_dim", 128},
  };
  for (const auto& [field, value] : changes) {
    json config = R1();
    config[field] = value;
    ExpectRefused(config, field);
  }
}

TEST(ModelConfig, AcceptsFieldsThatSayWhatItDoes) {
  json config = R1();
  config["rope_interleave"] = true;
  config["head_dim"] = 64;
  config["qk_head_dim"] = 192;
  config["rope_scaling"]["attention_factor"] = 1.0;
  config["rope_scaling"]["truncate"] = true;
  config["rope_scaling"]["rope_type"] = "yarn";
  config["quantization_config"]["modules_to_not_convert"] = {"lm_head"};
  config["quantization_config"]["dequantize"] = false;
  config["quantization_config"]["scale_fmt"] = "ue8m0";
  const auto parsed = ParseModelConfig(config.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->has_yarn);
}

TEST(ModelConfig, MissesWhatOthersWouldTakeForSomethingElse) {
  for (const std::string field : {"first_k_dense_replace", "n_shared_experts", "n_group",
                                  "topk_group", "routed_scaling_factor"}) {
    json config = R1();
    config.erase(field);
    ExpectRefused(config, field + " is missing");
  }
}

// R1's positions as transformers 5 writes them.
json R1WithRopeParameters() {
  json config = R1();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"].erase("type");
  config["rope_parameters"]["rope_type"] = "yarn";
  config["rope_parameters"]["rope_theta"] = 50000.0;
  config.erase("rope_scaling");
  config.erase("rope_theta");
  return config;
}

TEST(ModelConfig, ReadsRopeParameters) {
  const auto parsed = ParseModelConfig(R1WithRopeParameters().dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->rope_theta, 50000.0);
  EXPECT_TRUE(parsed->has_yarn);
  EXPECT_EQ(parsed->yarn.factor, 40.0);
  EXPECT_EQ(parsed->yarn.original_max_positions, 4096);
  json plain = R1WithRopeParameters();
  plain["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000}};
  ASSERT_TRUE(ParseModelConfig(plain.dump()).ok());
  EXPECT_FALSE(ParseModelConfig(plain.dump())->has_yarn);
}

TEST(ModelConfig, RefusesRopeParametersThatAreNotWhole) {
  json config = R1WithRopeParameters();
  config["rope_theta"] = 10000;
  ExpectRefused(config, "rope_theta is 10000; rope_parameters is there too");
  config = R1WithRopeParameters();
  config["rope_parameters"].erase("rope_theta");
  ExpectRefused(config, "rope_parameters.rope_theta is missing");
  config = R1WithRopeParameters();
  config["rope_parameters"] = "yarn";
  ExpectRefused(config, "rope_parameters is");
  config = R1WithRopeParameters();
  config["rope_parameters"]["partial_rotary_factor"] = 0.5;
  ExpectRefused(config, "rope_parameters.partial_rotary_factor is 0.5");
}

TEST(ModelConfig, RefusesScalingThatItDoesNotCompute) {
  const std::vector<std::pair<std::string, json>> changes = {
      {"attention_factor", 1.2}, {"truncate", false},       {"rope_type", "linear"},
      {"long_factor", {1, 2}},   {"mscale", 0.0},           {"rope_theta", 10000},
      {"factor", "40"},          {"attention_factor", "1"},
  };
  for (const auto& [field, value] : changes) {
    json config = R1();
    config["rope_scaling"][field] = value;
    ExpectRefused(config, absl::StrCat("rope_scaling.", field, " is "));
  }
  // The amplitude is not 1 here, and given as it is.
  json config = R1();
  config["rope_scaling"]["mscale_all_dim"] = 0.0;
  config["rope_scaling"]["attention_factor"] = 1.368888;  // 0.1 ln(40) + 1
  EXPECT_TRUE(ParseModelConfig(config.dump()).ok()) << ParseModelConfig(config.dump()).status();
  config["rope_scaling"]["attention_factor"] = 1.0;
  ExpectRefused(config, "rope_scaling.attention_factor is 1.0; supported: 1.3688");
  config["rope_scaling"]["mscale"] = 0.7;
  ExpectRefused(config, "rope_scaling.mscale is 0.7");
}

TEST(ModelConfig, RefusesUnknownRopeAndQuantisation) {
  json config = R1();
  config["rope_scaling"]["type"] = "linear";
  ExpectRefused(config, "rope_scaling.type");
  config = R1();
  config["rope_scaling"].erase("factor");
  ExpectRefused(config, "rope_scaling.factor");
  config = R1();
  config["quantization_config"]["quant_method"] = "gptq";
  ExpectRefused(config, "quantization_config.quant_method");
  config = R1();
  config["quantization_config"]["weight_block_size"] = {64, 64};
  ExpectRefused(config, "quantization_config.weight_block_size");
  const std::vector<std::pair<std::string, json>> changes = {
      {"modules_to_not_convert", {"model.layers.0"}},
      {"activation_scheme", "static"},
      {"dequantize", true},
      {"kv_cache_scheme", {{"type", "float"}}},
  };
  for (const auto& [field, value] : changes) {
    config = R1();
    config["quantization_config"][field] = value;
    ExpectRefused(config, "quantization_config." + field);
  }
  config = R1();
  config["quantization_config"] = "fp8";
  ExpectRefused(config, "quantization_config");
}

TEST(ModelConfig, RefusesSizesOutOfReason) {
  const std::vector<std::string> sizes = {"hidden_size",
                                          "num_hidden_layers",
                                          "intermediate_size",
                                          "moe_intermediate_size",
                                          "n_routed_experts",
                                          "num_experts_per_tok",
                                          "kv_lora_rank",
                                          "num_attention_heads",
                                          "qk_nope_head_dim",
                                          "qk_rope_head_dim",
                                          "v_head_dim",
                                          "vocab_size",
                                          "max_position_embeddings"};
  const std::vector<json> values = {0,
                                    -1,
                                    1e30,
                                    1.5,
                                    "7168",
                                    true,
                                    nullptr,
                                    json::parse("18446744073709551615"),
                                    int64_t{1} << 40};
  for (const std::string& field : sizes) {
    for (const json& value : values) {
      json config = R1();
      config[field] = value;
      ExpectRefused(config, field);
    }
  }
}

TEST(ModelConfig, RefusesGroupsThatDoNotFit) {
  json config = R1();
  config["n_group"] = 7;
  ExpectRefused(config, "n_group");
  config = R1();
  config["topk_group"] = 9;
  ExpectRefused(config, "topk_group");
  config = R1();
  config["n_group"] = 256;
  ExpectRefused(config, "n_group");
  config = R1();
  config["qk_rope_head_dim"] = 63;
  ExpectRefused(config, "qk_rope_head_dim");
}

TEST(ModelConfig, RefusesProductsOfLargeSizes) {
  json config = R1();
  config["num_hidden_layers"] = 1024;
  config["n_routed_experts"] = 4096;
  ExpectRefused(config, "n_routed_experts");
  config = R1();
  config["hidden_size"] = 1 << 20;
  config["moe_intermediate_size"] = 1 << 20;
  ExpectRefused(config, "parameters");
}

TEST(ModelConfig, RefusesTextThatIsNoConfig) {
  const std::vector<std::string> texts = {
      "", "{", "[]", "null", "{\"a\":}", "\xff\xfe", std::string(2 << 20, ' ')};
  for (const std::string& text : texts) {
    EXPECT_EQ(ParseModelConfig(text).status().code(), absl::StatusCode::kInvalidArgument);
  }
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  EXPECT_FALSE(ParseModelConfig(absl::StrCat("{\"a\":", deep, "}")).ok());
}

TEST(ModelConfig, FileMustExistAndBeRegular) {
  const std::string folder = absl::StrCat(testing::TempDir(), "/model_config_test");
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  EXPECT_EQ(ReadModelConfigText(folder).status().code(), absl::StatusCode::kNotFound);
  std::filesystem::create_directories(absl::StrCat(folder, "/config.json"));
  EXPECT_EQ(ReadModelConfigText(folder).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ModelFingerprint, IsHexSha256) {
  EXPECT_EQ(ModelFingerprint("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace baton
