#pragma once

#include <string>

#include "common/model/model_config.h"

namespace baton {

// The config.json of a folder of tests/data, as it is and parsed.
std::string ReadConfigText(const std::string& model);
ModelConfig ReadConfig(const std::string& model);

}  // namespace baton
