#include "tools/bench_serve/spec_decode.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace baton::bench {
namespace {

// Of a server that goes on counting, because others ask it.
constexpr int kMostReadings = 10;
constexpr absl::string_view kPosition = "position=\"";

// Position of a sample's labels; false if it has none.
bool ReadPosition(absl::string_view labels, int64_t* position) {
  const size_t begin = labels.find(kPosition);
  if (begin == absl::string_view::npos) return false;
  absl::string_view rest = labels.substr(begin + kPosition.size());
  return absl::SimpleAtoi(rest.substr(0, rest.find('"')), position);
}

}  // namespace

std::optional<SpecDecodeCounts> ReadSpecDecodeCounts(absl::string_view metrics) {
  std::optional<SpecDecodeCounts> counts;
  for (const absl::string_view line : absl::StrSplit(metrics, '\n')) {
    absl::string_view name = line.substr(0, line.find_first_of("{ "));
    if (!absl::ConsumePrefix(&name, "vllm:spec_decode_")) continue;
    const absl::string_view trimmed = absl::StripSuffix(line, "\r");
    double value = 0;
    if (!absl::SimpleAtod(trimmed.substr(trimmed.rfind(' ') + 1), &value)) continue;
    if (!counts.has_value()) counts.emplace();
    const auto number = static_cast<int64_t>(value);
    int64_t position = 0;
    if (name == "num_drafts_total") counts->num_drafts += number;
    if (name == "num_draft_tokens_total") counts->num_draft_tokens += number;
    if (name == "num_accepted_tokens_total") counts->num_accepted_tokens += number;
    if (name == "num_accepted_tokens_per_pos_total" && ReadPosition(line, &position)) {
      counts->accepted_by_position[position] += number;
    }
  }
  return counts;
}

std::optional<SpecDecodeCounts> ReadSettledCounts(
    const std::function<std::optional<SpecDecodeCounts>()>& read,
    const std::function<void()>& pause) {
  std::optional<SpecDecodeCounts> counts = read();
  for (int i = 1; counts.has_value() && i < kMostReadings; ++i) {
    pause();
    const std::optional<SpecDecodeCounts> before = std::exchange(counts, read());
    if (counts == before) break;
  }
  return counts;
}

std::optional<SpecDecodeFigures> SpecDecodeBetween(const std::optional<SpecDecodeCounts>& before,
                                                   const std::optional<SpecDecodeCounts>& after) {
  if (!before.has_value() || !after.has_value()) return std::nullopt;
  SpecDecodeFigures figures{
      .num_drafts = after->num_drafts - before->num_drafts,
      .num_draft_tokens = after->num_draft_tokens - before->num_draft_tokens,
      .num_accepted_tokens = after->num_accepted_tokens - before->num_accepted_tokens};
  if (figures.num_draft_tokens <= 0 || figures.num_drafts <= 0) return std::nullopt;
  const auto drafts = static_cast<double>(figures.num_drafts);
  const auto accepted = static_cast<double>(figures.num_accepted_tokens);
  figures.acceptance_rate = accepted / static_cast<double>(figures.num_draft_tokens) * 100;
  figures.acceptance_length = 1 + accepted / drafts;
  for (const auto& [position, count] : after->accepted_by_position) {
    const auto earlier = before->accepted_by_position.find(position);
    const int64_t grown =
        count - (earlier == before->accepted_by_position.end() ? 0 : earlier->second);
    figures.rate_by_position.push_back(static_cast<double>(grown) / drafts);
  }
  return figures;
}

}  // namespace baton::bench
