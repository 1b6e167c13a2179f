#include "tests/unit/common/model/test_configs.h"

namespace baton {

std::string ReadConfigText(const std::string& model) {
  return ReadModelConfigText(std::string(BATON_SOURCE_DIR) + "/tests/data/" + model).value();
}

ModelConfig ReadConfig(const std::string& model) {
  return ParseModelConfig(ReadConfigText(model)).value();
}

}  // namespace baton
