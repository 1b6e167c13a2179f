#pragma once

#include <string>

#include "common/model/model_config.h"

namespace baton {

// The config.json of a folder of tests/data.
inline ModelConfig ReadConfig(const std::string& model) {
  const std::string folder = std::string(BATON_SOURCE_DIR) + "/tests/data/" + model;
  return ParseModelConfig(ReadModelConfigText(folder).value()).value();
}

}  // namespace baton
