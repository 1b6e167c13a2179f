#include "tools/bench_serve/sse_reader.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace baton::bench {

void SseReader::Feed(absl::string_view piece,
                     const std::function<void(absl::string_view data)>& on_data) {
  while (!piece.empty()) {
    const size_t end = piece.find('\n');
    absl::StrAppend(&line_, piece.substr(0, end));
    if (end == absl::string_view::npos) return;
    piece.remove_prefix(end + 1);
    absl::string_view line = absl::StripSuffix(line_, "\r");
    if (absl::ConsumePrefix(&line, "data:")) on_data(absl::StripPrefix(line, " "));
    line_.clear();
  }
}

}  // namespace baton::bench
