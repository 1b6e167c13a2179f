// One picture of the group, as lines of text.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/top/scrape.h"

namespace baton::top {

// `before`: of the moment to which rates reach back; may be empty. Processes are told apart by the
// metrics that they have, and by their names while they do not answer.
std::vector<std::string> DrawFrame(const std::vector<Scrape>& now,
                                   const std::vector<Scrape>& before);

// "1.5 ms", "-" for nothing.
std::string SecondsText(std::optional<double> seconds);
// "3.2 GiB".
std::string BytesText(double bytes);

}  // namespace baton::top
