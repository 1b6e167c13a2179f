#include "services/scheduler/core/request_queue.h"

#include <algorithm>

#include "common/log/check.h"

namespace baton::scheduler {

bool RequestQueue::HasRoomFor(uint64_t num_tokens) const {
  if (empty()) return true;  // whatever its size
  return num_sequences_ < limits_.max_sequences &&
         num_tokens <= limits_.max_tokens - std::min(limits_.max_tokens, num_tokens_);
}

std::vector<Sequence*> RequestQueue::WhoMakesRoom(const std::string& key, uint32_t weight,
                                                  int32_t priority, const Work& work) const {
  if (backlogs_.empty()) return {};
  const KeyAccount* most = std::get<KeyAccount*>(*backlogs_.rbegin());
  const KeyAccount* own = shares_.Find(key);
  if (most == own) return {};
  const double own_tokens = (own != nullptr ? own->waiting_tokens : 0) + work.tokens();
  double left = most->waiting_tokens;
  uint64_t num_tokens = num_tokens_;
  size_t num_sequences = num_sequences_;
  std::vector<Sequence*> leaving;
  for (auto line = most->lines.rbegin(); line != most->lines.rend(); ++line) {
    if (line->first < priority) return {};
    const auto& sequences = line->second.sequences;
    for (auto last = sequences.rbegin(); last != sequences.rend(); ++last) {
      const Ticket& ticket = tickets_.at(*last);
      left -= ticket.work.tokens();
      if (left / most->weight < own_tokens / weight) return {};
      leaving.push_back(*last);
      num_tokens -= ticket.num_tokens;
      --num_sequences;
      if (num_sequences < limits_.max_sequences &&
          static_cast<double>(num_tokens) + work.prompt_tokens <=
              static_cast<double>(limits_.max_tokens)) {
        return leaving;
      }
    }
  }
  return {};
}

Work RequestQueue::WorkAhead(const std::string& key, uint32_t weight, int32_t priority) const {
  Work ahead;
  auto entry = classes_.begin();
  for (; entry != classes_.end() && entry->first < priority; ++entry) ahead += entry->second.work;
  if (entry == classes_.end() || entry->first != priority) return ahead;
  ahead += entry->second.returned_work;
  const KeyAccount* own = shares_.Find(key);
  double finish = shares_.floor();
  if (own != nullptr) {
    finish = std::max(finish, own->served);
    if (const auto line = own->lines.find(priority); line != own->lines.end()) {
      ahead += line->second.work;
      finish += line->second.work.tokens() / weight;
    }
  }
  for (const Ranked& turn : entry->second.turns) {
    const KeyAccount* other = std::get<KeyAccount*>(turn);
    if (other == own) continue;
    const Work& work = other->lines.at(priority).work;
    const double due = std::max(0.0, (finish - other->served) * other->weight);
    ahead += work * std::min(1.0, due / std::max(1.0, work.tokens()));
  }
  return ahead;
}

void RequestQueue::Push(Sequence* sequence, uint32_t expected_answer) {
  if (empty()) shares_.ForgiveAll();
  const auto [found, is_new] = tickets_.try_emplace(sequence);
  Ticket* ticket = &found->second;
  if (is_new) {
    ticket->key = shares_.Open(sequence->fairness_key());
    shares_.Enter(ticket->key, sequence->fairness_weight());
  }
  BATON_CHECK(!ticket->waits) << "sequence " << sequence->id() << " waits already";
  ticket->waits = true;
  SetPlace(ticket, false);
  SetHoldsBlocks(ticket, false);
  sequence->set_state(Sequence::State::kWaiting);
  ticket->returned = ticket->charged > 0 || sequence->num_generated() > 0;
  ticket->num_tokens = sequence->num_tokens();
  ticket->waits_since = now_;
  ticket->work = {static_cast<double>(sequence->num_to_compute()),
                  static_cast<double>(expected_answer)};
  Class* entry = &OpenClass(sequence->priority())->second;
  if (ticket->returned) {
    entry->returned.insert(sequence);
    entry->returned_work += ticket->work;
  } else {
    AddToLine(sequence, ticket, entry);
  }
  entry->work += ticket->work;
  work_ += ticket->work;
  num_tokens_ += ticket->num_tokens;
  ++num_sequences_;
}

RequestQueue::Classes::iterator RequestQueue::OpenClass(int32_t priority) {
  const auto [entry, is_new] = classes_.try_emplace(priority);
  if (is_new) {
    entry->second.waits_since = now_;
    waits_.insert({now_, priority});
  }
  return entry;
}

void RequestQueue::AddToLine(Sequence* sequence, Ticket* ticket, Class* entry) {
  KeyAccount* key = ticket->key;
  if (key->lines.empty()) {
    shares_.Activate(key);
  } else {
    backlogs_.erase({key->backlog, key->activation, key});
  }
  KeyLine& line = key->lines[sequence->priority()];
  if (line.sequences.empty()) {
    line.turn = key->served;
    entry->turns.insert({line.turn, key->activation, key});
  }
  line.sequences.insert(sequence);
  line.work += ticket->work;
  SetBacklog(key, key->waiting_tokens + ticket->work.tokens());
}

void RequestQueue::RemoveFromLine(Sequence* sequence, Ticket* ticket, Class* entry) {
  KeyAccount* key = ticket->key;
  backlogs_.erase({key->backlog, key->activation, key});
  const auto line = key->lines.find(sequence->priority());
  line->second.sequences.erase(sequence);
  line->second.work -= ticket->work;
  if (line->second.sequences.empty()) {
    entry->turns.erase({line->second.turn, key->activation, key});
    key->lines.erase(line);
  }
  SetBacklog(key, key->waiting_tokens - ticket->work.tokens());
}

void RequestQueue::SetBacklog(KeyAccount* key, double waiting_tokens) {
  key->waiting_tokens = waiting_tokens;
  key->backlog = waiting_tokens / key->weight;
  if (!key->lines.empty()) backlogs_.insert({key->backlog, key->activation, key});
}

RequestQueue::Classes::const_iterator RequestQueue::NextClass() const {
  const auto [since, priority] = *waits_.begin();
  return now_ - since >= limits_.aging ? classes_.find(priority) : classes_.begin();
}

void RequestQueue::SetWaitsSince(Classes::iterator entry, TimeUs time) {
  waits_.erase({entry->second.waits_since, entry->first});
  entry->second.waits_since = time;
  waits_.insert({time, entry->first});
}

Sequence* RequestQueue::Front() {
  if (empty()) return nullptr;
  const auto next = classes_.find(NextClass()->first);
  Class& entry = next->second;
  if (!entry.returned.empty()) return *entry.returned.begin();
  while (true) {
    const auto [served, activation, key] = *entry.turns.begin();
    KeyLine& line = key->lines.at(next->first);
    if (served == key->served) return *line.sequences.begin();
    entry.turns.erase(entry.turns.begin());
    line.turn = key->served;
    entry.turns.insert({line.turn, activation, key});
  }
}

void RequestQueue::SetPlace(Ticket* ticket, bool has_place) {
  if (ticket->has_place == has_place) return;
  ticket->has_place = has_place;
  ticket->key->num_places += has_place ? 1 : -1;
}

void RequestQueue::SetHoldsBlocks(Ticket* ticket, bool holds_blocks) {
  if (ticket->holds_blocks == holds_blocks) return;
  ticket->holds_blocks = holds_blocks;
  ticket->key->held_tokens += holds_blocks ? ticket->charged : -ticket->charged;
}

void RequestQueue::LeavePlace(Sequence* sequence) {
  Ticket* const ticket = &tickets_.at(sequence);
  SetPlace(ticket, false);
  ticket->waits_since = now_;
}

void RequestQueue::Suspend(Sequence* sequence) {
  Ticket* const ticket = &tickets_.at(sequence);
  SetPlace(ticket, false);
  ticket->is_suspended = true;
  shares_.Suspend(ticket->key);
}

void RequestQueue::Continue(Sequence* sequence) {
  Ticket* const ticket = &tickets_.at(sequence);
  ticket->is_suspended = false;
  ticket->waits_since = now_;
  shares_.Continue(ticket->key);
}

void RequestQueue::LoseBlocks(Sequence* sequence) {
  Ticket* const ticket = &tickets_.at(sequence);
  SetPlace(ticket, false);
  SetHoldsBlocks(ticket, false);
}

void RequestQueue::TakePlace(Sequence* sequence) { SetPlace(&tickets_.at(sequence), true); }

void RequestQueue::Remove(Sequence* sequence) {
  Ticket* ticket = &tickets_.at(sequence);
  BATON_CHECK(ticket->waits) << "sequence " << sequence->id() << " does not wait";
  const auto entry = classes_.find(sequence->priority());
  if (ticket->returned) {
    entry->second.returned.erase(sequence);
    entry->second.returned_work -= ticket->work;
  } else {
    RemoveFromLine(sequence, ticket, &entry->second);
  }
  entry->second.work -= ticket->work;
  work_ -= ticket->work;
  num_tokens_ -= ticket->num_tokens;
  --num_sequences_;
  ticket->waits = false;
  if (!entry->second.returned.empty() || !entry->second.turns.empty()) return;
  waits_.erase({entry->second.waits_since, entry->first});
  classes_.erase(entry);
}

void RequestQueue::Take(Sequence* sequence, uint32_t num_cached) {
  SetWaitsSince(classes_.find(sequence->priority()), now_);
  Remove(sequence);
  Ticket* ticket = &tickets_.at(sequence);
  SetPlace(ticket, true);
  if (ticket->charged == 0) {
    shares_.Serve(*ticket->key);
    ticket->cached = num_cached;
    ticket->charged = ticket->work.tokens() - ticket->cached;
    ticket->key->live_tokens += ticket->charged;
    shares_.Charge(ticket->key, ticket->charged);
  }
  SetHoldsBlocks(ticket, true);
}

void RequestQueue::ChargeGrowth(Sequence* sequence) {
  Ticket* ticket = &tickets_.at(sequence);
  const double growth = sequence->num_tokens() - ticket->cached - ticket->charged;
  if (growth <= 0) return;
  ticket->charged += growth;
  ticket->key->live_tokens += growth;
  if (ticket->holds_blocks) ticket->key->held_tokens += growth;
  shares_.Charge(ticket->key, growth);
}

void RequestQueue::Leave(Sequence* sequence) {
  const auto found = tickets_.find(sequence);
  BATON_CHECK(found != tickets_.end() && !found->second.waits)
      << "sequence " << sequence->id() << " cannot leave";
  SetPlace(&found->second, false);
  SetHoldsBlocks(&found->second, false);
  if (found->second.is_suspended) shares_.Continue(found->second.key);
  const Ticket ticket = found->second;
  tickets_.erase(found);
  ticket.key->live_tokens -= ticket.charged;
  const double excess = ticket.charged - (sequence->num_tokens() - ticket.cached);
  if (excess > 0) shares_.Refund(ticket.key, excess);
  if (excess < 0 && ticket.charged > 0) shares_.Charge(ticket.key, -excess);
  shares_.Leave(ticket.key);
}

Sequence* RequestQueue::FindReturned(const std::function<bool(const Sequence*)>& matches) const {
  Sequence* first = nullptr;
  for (const auto& [priority, entry] : classes_) {
    const auto found = std::find_if(entry.returned.begin(), entry.returned.end(), matches);
    if (found == entry.returned.end()) continue;
    if (first == nullptr || (*found)->arrival() < first->arrival()) first = *found;
  }
  return first;
}

}  // namespace baton::scheduler
