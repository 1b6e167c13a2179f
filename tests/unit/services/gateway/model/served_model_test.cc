#include "services/gateway/model/served_model.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace baton::gateway {
namespace {

ServedModelOptions TinyModel() {
  return {.model_dir = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1"};
}

TEST(ServedModel, RefusesTemplateVariablesThatAreNoObjectAndNamesTheFlag) {
  for (const char* text : {"[1]", "{", "thinking"}) {
    ServedModelOptions options = TinyModel();
    options.default_chat_template_kwargs = text;
    const absl::Status status = ServedModel::Load(options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()),
                testing::HasSubstr("--default-chat-template-kwargs"));
  }
}

TEST(ServedModel, TraitsOfTheTemplateAreThoseWithItsVariables) {
  ServedModelOptions options = TinyModel();
  options.chat_template_path =
      std::string(BATON_SOURCE_DIR) + "/tests/data/chat_templates/deepseek-v3.1.jinja";
  EXPECT_FALSE((*ServedModel::Load(options))->template_traits.opens_reasoning);
  options.default_chat_template_kwargs = R"({"thinking": true})";
  EXPECT_TRUE((*ServedModel::Load(options))->template_traits.opens_reasoning);
}

}  // namespace
}  // namespace baton::gateway
