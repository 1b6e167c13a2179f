#include "services/gateway/text/stop_strings.h"

#include <deque>
#include <utility>

namespace baton::gateway {
namespace {

constexpr uint32_t kRoot = 0;
constexpr uint32_t kAbsent = UINT32_MAX;

}  // namespace

StopStringMatcher::StopStringMatcher(const Options& options) : include_stop_(options.include_stop) {
  for (const std::string& stop : options.stops) {
    if (!stop.empty()) stops_.push_back(stop);
  }
  if (stops_.empty()) return;
  AddTrie();
  LinkStates();
}

void StopStringMatcher::AddTrie() {
  states_.push_back({std::vector<uint32_t>(256, kAbsent), 0, -1});
  for (size_t stop = 0; stop < stops_.size(); ++stop) {
    uint32_t state = kRoot;
    for (const char c : stops_[stop]) {
      const auto byte = static_cast<unsigned char>(c);
      if (states_[state].next[byte] == kAbsent) {
        const auto added = static_cast<uint32_t>(states_.size());
        const uint32_t depth = states_[state].depth + 1;
        states_[state].next[byte] = added;
        states_.push_back({std::vector<uint32_t>(256, kAbsent), depth, -1});
      }
      state = states_[state].next[byte];
    }
    if (states_[state].matched < 0) states_[state].matched = static_cast<int>(stop);
  }
}

// Breadth first, so that a state's shorter ends are complete before it: a missing transition is the
// one of the longest shorter end, and a state without a stop of its own takes that end's.
void StopStringMatcher::LinkStates() {
  std::deque<std::pair<uint32_t, uint32_t>> queue = {{kRoot, kRoot}};  // state, its shorter end
  while (!queue.empty()) {
    const auto [state, shorter] = queue.front();
    queue.pop_front();
    if (states_[state].matched < 0) states_[state].matched = states_[shorter].matched;
    for (size_t byte = 0; byte < 256; ++byte) {
      uint32_t& next = states_[state].next[byte];
      const uint32_t fallback = state == kRoot ? kRoot : states_[shorter].next[byte];
      if (next == kAbsent) {
        next = fallback;
      } else {
        queue.emplace_back(next, fallback);
      }
    }
  }
}

std::string StopStringMatcher::Push(absl::string_view piece) {
  if (stopped()) return "";
  if (states_.empty()) return std::string(piece);
  held_.reserve(held_.size() + piece.size());
  for (const char c : piece) {
    held_.push_back(c);
    state_ = states_[state_].next[static_cast<unsigned char>(c)];
    if (states_[state_].matched < 0) continue;
    matched_ = states_[state_].matched;
    if (!include_stop_) held_.resize(held_.size() - stops_[matched_].size());
    return std::exchange(held_, "");
  }
  const size_t certain = held_.size() - states_[state_].depth;
  std::string out = held_.substr(0, certain);
  held_.erase(0, certain);
  return out;
}

std::string StopStringMatcher::Flush() {
  state_ = kRoot;
  return std::exchange(held_, "");
}

absl::string_view StopStringMatcher::matched_stop() const {
  return stopped() ? absl::string_view(stops_[matched_]) : absl::string_view();
}

}  // namespace baton::gateway
