#include "services/gateway/text/stop_strings.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "common/log/check.h"

namespace baton::gateway {
namespace {

constexpr uint32_t kRoot = 0;

}  // namespace

StopAutomaton::StopAutomaton(const Options& options) : include_stop_(options.include_stop) {
  for (const std::string& stop : options.stops) {
    if (!stop.empty()) stops_.push_back(stop);
  }
  BATON_CHECK(stops_.size() <= size_t{std::numeric_limits<int8_t>::max()}) << stops_.size();
  states_.emplace_back();
  for (size_t index = 0; index < stops_.size(); ++index) AddStop(index);
  LinkStates();
}

void StopAutomaton::AddStop(size_t index) {
  BATON_CHECK(stops_[index].size() <= std::numeric_limits<uint16_t>::max());
  uint32_t state = kRoot;
  for (const char c : stops_[index]) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t child = Child(state, byte);
    if (child == kRoot) {
      child = static_cast<uint32_t>(states_.size());
      State added;
      added.next_sibling = states_[state].first_child;
      added.depth = static_cast<uint16_t>(states_[state].depth + 1);
      added.byte = byte;
      states_.push_back(added);
      states_[state].first_child = child;
    }
    state = child;
  }
  if (states_[state].matched < 0) states_[state].matched = static_cast<int8_t>(index);
}

// Breadth first, so that a state's shorter ends are complete before it. A state without a stop of
// its own takes that of its shorter end.
void StopAutomaton::LinkStates() {
  std::vector<uint32_t> queue = {kRoot};
  for (size_t i = 0; i < queue.size(); ++i) {
    const uint32_t parent = queue[i];
    for (uint32_t state = states_[parent].first_child; state != 0;
         state = states_[state].next_sibling) {
      State& linked = states_[state];
      linked.shorter = parent == kRoot ? kRoot : Next(states_[parent].shorter, linked.byte);
      if (linked.matched < 0) linked.matched = states_[linked.shorter].matched;
      queue.push_back(state);
    }
  }
}

uint32_t StopAutomaton::Child(uint32_t state, uint8_t byte) const {
  uint32_t child = states_[state].first_child;
  while (child != 0 && states_[child].byte != byte) child = states_[child].next_sibling;
  return child;
}

uint32_t StopAutomaton::Next(uint32_t state, uint8_t byte) const {
  for (;; state = states_[state].shorter) {
    const uint32_t child = Child(state, byte);
    if (child != 0 || state == kRoot) return child;
  }
}

StopStringMatcher::StopStringMatcher(std::shared_ptr<const StopAutomaton> automaton)
    : automaton_(std::move(automaton)) {
  if (automaton_ != nullptr && automaton_->stops_.empty()) automaton_ = nullptr;
}

std::string StopStringMatcher::Push(absl::string_view piece, bool may_stop) {
  if (stopped()) return "";
  if (automaton_ == nullptr) return std::string(piece);
  held_.reserve(held_.size() + piece.size());
  for (const char c : piece) {
    held_.push_back(c);
    state_ = automaton_->Next(state_, static_cast<uint8_t>(c));
    const int matched = automaton_->states_[state_].matched;
    if (matched < 0 || !may_stop) continue;
    matched_ = matched;
    if (!automaton_->include_stop_) held_.resize(held_.size() - matched_stop().size());
    return std::exchange(held_, "");
  }
  const size_t certain = held_.size() - automaton_->states_[state_].depth;
  std::string out = held_.substr(0, certain);
  held_.erase(0, certain);
  return out;
}

std::string StopStringMatcher::Flush() {
  state_ = kRoot;
  return std::exchange(held_, "");
}

absl::string_view StopStringMatcher::matched_stop() const {
  return stopped() ? absl::string_view(automaton_->stops_[matched_]) : absl::string_view();
}

}  // namespace baton::gateway
