#include "tests/unit/common/model/test_configs.h"

namespace baton {

ModelConfig ReadConfig(const std::string& model) {
  const std::string folder = std::string(BATON_SOURCE_DIR) + "/tests/data/" + model;
  return ParseModelConfig(ReadModelConfigText(folder).value()).value();
}

}  // namespace baton
