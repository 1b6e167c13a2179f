#include "services/scheduler/core/admitted_order.h"

#include <tuple>

namespace baton::scheduler {

Sequence* AdmittedOrder::Front() {
  if (queue_.empty()) return nullptr;
  const auto turn = queue_.NextClass();
  const auto best = queue_.classes_.begin();
  Sequence* const found = FrontOf(*turn);
  return found != nullptr || turn == best ? found : FrontOf(*best);
}

Sequence* AdmittedOrder::FrontOf(const RequestQueue::Classes::value_type& line) {
  const auto& [priority, entry] = line;
  if (closed_.has_value() && priority >= *closed_) return nullptr;
  Progress& progress = progress_[priority];
  auto returned = progress.last_returned == nullptr
                      ? entry.returned.begin()
                      : entry.returned.upper_bound(progress.last_returned);
  for (; returned != entry.returned.end(); ++returned) {
    if (admitted_(queue_.KeyOf(**returned), priority)) return *returned;
    progress.last_returned = *returned;
  }
  while (true) {
    // A turn may be out of date, and then comes too early: nobody behind it comes before it.
    const auto turn = progress.last_turn.has_value() ? entry.turns.upper_bound(*progress.last_turn)
                                                     : entry.turns.begin();
    if (turn != entry.turns.end() && (progress.keys.empty() || *turn < *progress.keys.begin())) {
      progress.last_turn = *turn;
      KeyAccount* const key = std::get<KeyAccount*>(*turn);
      if (admitted_(*key, priority)) progress.keys.insert({key->served, key->activation, key});
      continue;
    }
    if (progress.keys.empty()) return nullptr;
    const auto [served, activation, key] = *progress.keys.begin();
    const auto own = key->lines.find(priority);
    const bool has_some = own != key->lines.end() && admitted_(*key, priority);
    if (has_some && served == key->served) return *own->second.sequences.begin();
    progress.keys.erase(progress.keys.begin());
    if (has_some) progress.keys.insert({key->served, activation, key});
  }
}

}  // namespace baton::scheduler
