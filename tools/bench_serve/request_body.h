// The JSON bodies of the requests.
#pragma once

#include <string>

#include "tools/bench_serve/bench_options.h"
#include "tools/bench_serve/prompts.h"

namespace baton::bench {

// `model`: name to send.
std::string RequestBody(const BenchOptions& options, const std::string& model,
                        const Prompt& prompt);

}  // namespace baton::bench
