#pragma once

#include <string>

#include "common/model/model_config.h"

namespace baton {

// The config.json of a folder of tests/data.
ModelConfig ReadConfig(const std::string& model);

}  // namespace baton
