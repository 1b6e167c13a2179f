// Damaged templates, with a fixed seed: an error or a text, within the limits, no crash.
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

#include "common/chat_template/chat_template.h"
#include "common/utf8/utf8.h"

namespace baton {
namespace {

constexpr int kRounds = 3000;

std::vector<std::string> Templates() {
  std::vector<std::string> sources;
  for (const char* path : {"deepseek-r1/chat_template.jinja", "chat_templates/language.jinja",
                           "chat_templates/deepseek-v3.1.jinja"}) {
    std::ifstream file(std::string(BATON_SOURCE_DIR "/tests/data/") + path, std::ios::binary);
    std::stringstream content;
    content << file.rdbuf();
    sources.push_back(content.str());
  }
  return sources;
}

std::string Damage(std::string text, std::mt19937& random) {
  const std::vector<std::string> parts = {"{%", "%}", "{{",  "}}",   "{#",    "#}",     "-",  "'",
                                          "\"", "(",  ")",   "[",    "]",     "{",      "}",  "|",
                                          ".",  ",",  "for", " in ", " not ", "if",     "is", "\\",
                                          ":",  "=",  "1",   "\n",   "\xE4",  "endfor", "set"};
  const int edits = 1 + static_cast<int>(random() % 5);
  for (int i = 0; i < edits && !text.empty(); ++i) {
    const size_t place = random() % text.size();
    const size_t length = 1 + random() % 30;
    switch (random() % 4) {
      case 0:
        text.insert(place, parts[random() % parts.size()]);
        break;
      case 1:
        text.erase(place, length);
        break;
      case 2:
        text.insert(place, text.substr(random() % text.size(), length));
        break;
      default:
        text.replace(place, 1, parts[random() % parts.size()]);
        break;
    }
  }
  return text;
}

TEST(ChatTemplateFuzz, BearsDamagedTemplates) {
  std::mt19937 random(44);
  const std::vector<std::string> sources = Templates();
  const nlohmann::ordered_json context = {
      {"bos_token", "<s>"},
      {"add_generation_prompt", true},
      {"messages",
       {{{"role", "user"}, {"content", "数据 hi"}},
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls",
          {{{"type", "function"}, {"function", {{"name", "f_g"}, {"arguments", "{}"}}}}}}},
        {{"role", "tool"}, {"content", "42"}}}}};
  int rendered = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto chat_template = ChatTemplate::Create(Damage(sources[round % sources.size()], random),
                                                    {.steps = 100'000, .output_bytes = 100'000});
    if (!chat_template.ok()) {
      ASSERT_EQ(chat_template.status().code(), absl::StatusCode::kInvalidArgument);
      continue;
    }
    const auto text = (*chat_template)->Render(context);
    if (!text.ok()) continue;
    ++rendered;
    ASSERT_TRUE(IsValidUtf8(*text));
  }
  EXPECT_GT(rendered, kRounds / 100);
}

}  // namespace
}  // namespace baton
