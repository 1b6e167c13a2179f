// The model-loader's flags, checked.
#pragma once

#include <string>

#include "absl/status/statusor.h"

#include "common/rpc/server_runtime.h"
#include "common/transport/transport.h"
#include "services/model_loader/calls/load_call.h"
#include "services/model_loader/source/checkpoint_folder.h"
#include "services/model_loader/source/range_reader.h"

namespace baton::loader {

struct LoaderConfig {
  ServerOptions server;
  FolderOptions folder;
  std::string storage;  // what the folder lies on, for the log
  RangeReaderOptions reader;
  TransportOptions transport;
  LoadOptions load;
  size_t max_concurrent_loads = 16;
};

// From the command line's flags, after ParseCommandLine. InvalidArgument naming the flag.
absl::StatusOr<LoaderConfig> ReadLoaderConfig();

}  // namespace baton::loader
