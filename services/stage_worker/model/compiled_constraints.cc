#include "services/stage_worker/model/compiled_constraints.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "common/log/check.h"
#include "common/status/status_macros.h"

namespace baton::stage {
namespace {

// Of an entry beside its automaton, refusal and states: objects and tables; an estimate.
constexpr size_t kEntryBytes = 4096;
// Keeps walks over the entries short.
constexpr size_t kMostUnused = 1024;
// Of one constraint's states.
constexpr size_t kMostStateBytes = size_t{32} << 20;

}  // namespace

// A digest: the texts of all that wait would take as much as a compiled constraint, and whoever
// could find two texts with one digest would have another's.
Sha256Digest CompiledConstraints::KeyOf(const StructuredSettings& settings) {
  const structured::Constraint& constraint = settings.constraint;
  std::string key = absl::StrCat(static_cast<int>(constraint.kind), constraint.compact ? "c" : "b");
  const auto add = [&key](const std::string& text) {
    absl::StrAppend(&key, text.size(), ":", text);
  };
  add(constraint.text);
  if (constraint.whitespace_pattern) add(*constraint.whitespace_pattern);
  absl::StrAppend(&key, "/");
  for (const std::string& choice : constraint.choices) add(choice);
  for (const uint32_t token : settings.end_token_ids) absl::StrAppend(&key, ",", token);
  return Sha256(key);
}

CompiledConstraints::CompiledConstraints(ConstraintOptions options)
    : options_(std::move(options)),
      capacity_bytes_(options_.capacity_bytes - options_.capacity_bytes / 2),
      masks_(std::make_shared<structured::MaskCache>(options_.capacity_bytes / 2)),
      thread_([this] { Loop(); }) {}

CompiledConstraints::~CompiledConstraints() {
  {
    const absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void CompiledConstraints::SetVocabulary(
    std::shared_ptr<const structured::VocabularyTrie> vocabulary) {
  const absl::MutexLock lock(&mutex_);
  masks_->CountShared(vocabulary == nullptr ? 0 : vocabulary->plain_tokens().bytes());
  mask_bytes_ = masks_->bytes();
  vocabulary_ = std::move(vocabulary);
  ++vocabulary_count_;
  queue_.clear();
  by_key_.clear();
  by_constraint_.clear();
  entries_.clear();
  fixed_bytes_ = state_bytes_ = 0;
}

CompiledConstraints::Made CompiledConstraints::Make(
    const StructuredSettings& settings,
    std::shared_ptr<const structured::VocabularyTrie> vocabulary) const {
  ASSIGN_OR_RETURN(structured::Automaton automaton, options_.compile(settings.constraint));
  return std::make_shared<structured::TokenConstraint>(
      std::move(automaton), std::move(vocabulary), settings.end_token_ids, masks_,
      std::min(kMostStateBytes, capacity_bytes_ / 4));
}

CompiledConstraints::Made CompiledConstraints::TryGet(
    const Sha256Digest& key, const std::shared_ptr<const StructuredSettings>& settings,
    bool has_drawn) {
  const absl::MutexLock lock(&mutex_);
  if (vocabulary_ == nullptr) return nullptr;
  bool is_new = false;
  const Place place = PlaceOf(key, settings, has_drawn, &is_new);
  const bool has_room_now =
      place->phase == Phase::kTooLarge && HasRoom(place->wanted_bytes, HasDrawn(*place));
  if (!is_new && !has_room_now) return Known(*place);
  if (queue_.size() < kMostQueued) {
    place->phase = Phase::kQueued;
    queue_.push_back(place);
  } else if (is_new) {
    Erase(place);
  }
  return nullptr;
}

void CompiledConstraints::Loop() {
  while (true) {
    std::shared_ptr<const StructuredSettings> settings;
    std::shared_ptr<const structured::VocabularyTrie> vocabulary;
    uint64_t vocabulary_count = 0;
    Place place;
    {
      const absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &CompiledConstraints::HasWork));
      if (stopping_) return;
      place = queue_.front();
      queue_.pop_front();
      for (const User& user : place->users) {
        if (settings == nullptr) settings = user.settings.lock();
      }
      if (settings == nullptr) {  // its sequences have ended
        Erase(place);
        continue;
      }
      if (place->wanted_bytes > 0 && !HasRoom(place->wanted_bytes, HasDrawn(*place))) {
        place->phase = Phase::kTooLarge;  // another one that waited has the room
        continue;
      }
      place->phase = Phase::kCompiling;
      vocabulary = vocabulary_;
      vocabulary_count = vocabulary_count_;
    }
    Made made = Make(*settings, std::move(vocabulary));
    const absl::MutexLock lock(&mutex_);
    if (vocabulary_count == vocabulary_count_) Finish(place, std::move(made));
  }
}

CompiledConstraints::Made CompiledConstraints::Get(
    const std::shared_ptr<const StructuredSettings>& settings, bool has_drawn) {
  const Sha256Digest key = KeyOf(*settings);
  const std::chrono::steady_clock::time_point begin = options_.now();
  Place place;
  std::shared_ptr<const structured::VocabularyTrie> vocabulary;
  Made known = nullptr;
  {
    const absl::MutexLock lock(&mutex_);
    bool is_new = false;
    place = PlaceOf(key, settings, has_drawn, &is_new);
    if (!has_drawn && step_wait_ >= kMostStepWait && IsOpen(*place)) {
      if (is_new) Erase(place);
      return absl::ResourceExhaustedError(
          "the constraints of other requests are being compiled; try again later");
    }
    if (TakeOver(place)) {
      vocabulary = vocabulary_;
    } else {
      known = Known(*place);
    }
  }
  if (vocabulary != nullptr) {
    Made made = Make(*settings, std::move(vocabulary));
    const absl::MutexLock lock(&mutex_);
    Finish(place, std::move(made));
    known = Known(*place);
  }
  step_wait_ += options_.now() - begin;
  BATON_CHECK(!known.ok() || *known != nullptr) << "neither compiled nor refused";
  return known;
}

CompiledConstraints::Made CompiledConstraints::Known(const Entry& entry) const {
  switch (entry.phase) {
    case Phase::kCompiled:
      return entry.constraint;
    case Phase::kRefused:
      return entry.refusal;
    case Phase::kTooLarge:
      return NoRoomFor(entry);
    case Phase::kQueued:
    case Phase::kCompiling:
      break;
  }
  return nullptr;
}

absl::Status CompiledConstraints::NoRoomFor(const Entry& entry) const {
  const bool has_drawn = HasDrawn(entry);
  constexpr absl::string_view kOf = " of the stage's --constraint-memory-bytes";
  const std::string wanted = absl::StrCat("the constraint takes ", entry.wanted_bytes, " bytes");
  if (!FitsAlone(entry.wanted_bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat(wanted, "; it may take ", MostInUse(false), ", a quarter", kOf));
  }
  if (BytesInUse() + entry.wanted_bytes <= MostInUse(has_drawn)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        wanted, ", those of other requests under way or just ended ", BytesKept(),
        "; together they may take ", capacity_bytes_, ", half", kOf, "; try again later"));
  }
  return absl::ResourceExhaustedError(
      absl::StrCat(wanted, ", those of other requests under way ", BytesInUse(),
                   "; together they may take ", MostInUse(has_drawn),
                   has_drawn ? ", three eighths" : ", a quarter", kOf, "; try again later"));
}

bool CompiledConstraints::IsOpen(const Entry& entry) const {
  return entry.phase == Phase::kQueued || entry.phase == Phase::kCompiling ||
         (entry.phase == Phase::kTooLarge && FitsAlone(entry.wanted_bytes));
}

bool CompiledConstraints::TakeOver(Place place) {
  const auto is_settled = [place] { return place->phase != Phase::kCompiling; };
  mutex_.Await(absl::Condition(&is_settled));
  if (place->phase == Phase::kQueued) {
    const auto queued = std::find(queue_.begin(), queue_.end(), place);
    if (queued != queue_.end()) queue_.erase(queued);
  } else if (place->phase != Phase::kTooLarge || !MakeRoom(place->wanted_bytes, HasDrawn(*place))) {
    return false;
  }
  place->phase = Phase::kCompiling;
  return true;
}

CompiledConstraints::Place CompiledConstraints::PlaceOf(
    const Sha256Digest& key, const std::shared_ptr<const StructuredSettings>& settings,
    bool has_drawn, bool* is_new) {
  const auto found = by_key_.find(key);
  *is_new = found == by_key_.end();
  if (*is_new) {
    Entry& entry = entries_.emplace_front();
    entry.key = key;
    entry.fixed_bytes = kEntryBytes;
    fixed_bytes_ += entry.fixed_bytes;
    by_key_.emplace(entry.key, entries_.begin());
  } else {
    entries_.splice(entries_.begin(), entries_, found->second);
  }
  std::vector<User>& users = entries_.front().users;
  std::erase_if(users, [&](const User& user) {
    const bool is_this = user.settings.lock() == settings;
    has_drawn |= is_this && user.has_drawn;
    return is_this || user.settings.expired();
  });
  users.push_back({settings, has_drawn});
  return entries_.begin();
}

void CompiledConstraints::Finish(Place place, Made made) {
  size_t added_bytes = 0;
  if (!made.ok()) {
    place->phase = Phase::kRefused;
    place->refusal = made.status();
    added_bytes = made.status().message().size();
  } else if (MakeRoom((*made)->automaton_bytes(), HasDrawn(*place))) {
    place->phase = Phase::kCompiled;
    place->constraint = *std::move(made);
    added_bytes = place->constraint->automaton_bytes();
    by_constraint_.emplace(place->constraint.get(), place);
    CountStates(&*place);
  } else {
    place->phase = Phase::kTooLarge;
    place->wanted_bytes = (*made)->automaton_bytes();
  }
  place->fixed_bytes += added_bytes;
  fixed_bytes_ += added_bytes;
  DropUnused(capacity_bytes_);
}

void CompiledConstraints::Erase(Place place) {
  fixed_bytes_ -= place->fixed_bytes;
  state_bytes_ -= place->state_bytes;
  by_key_.erase(place->key);
  by_constraint_.erase(place->constraint.get());
  entries_.erase(place);
}

bool CompiledConstraints::HasDrawn(const Entry& entry) {
  return std::any_of(entry.users.begin(), entry.users.end(),
                     [](const User& user) { return user.has_drawn && !user.settings.expired(); });
}

bool CompiledConstraints::InUse(const Entry& entry) {
  return entry.phase == Phase::kQueued || entry.phase == Phase::kCompiling ||
         std::any_of(entry.users.begin(), entry.users.end(),
                     [](const User& user) { return !user.settings.expired(); });
}

size_t CompiledConstraints::BytesInUse() const {
  size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += InUse(entry) ? entry.fixed_bytes : 0;
  return bytes;
}

size_t CompiledConstraints::BytesKept() const {
  size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += IsKept(entry) ? entry.fixed_bytes : 0;
  return bytes;
}

size_t CompiledConstraints::MostInUse(bool has_drawn) const {
  return has_drawn ? capacity_bytes_ - capacity_bytes_ / 4 : capacity_bytes_ / 2;
}

bool CompiledConstraints::FitsAlone(size_t automaton_bytes) const {
  return kEntryBytes + automaton_bytes <= MostInUse(false);
}

bool CompiledConstraints::HasRoom(size_t automaton_bytes, bool has_drawn) const {
  return FitsAlone(automaton_bytes) && BytesInUse() + automaton_bytes <= MostInUse(has_drawn) &&
         BytesKept() + automaton_bytes <= capacity_bytes_;
}

bool CompiledConstraints::MakeRoom(size_t automaton_bytes, bool has_drawn) {
  if (!HasRoom(automaton_bytes, has_drawn)) return false;
  DropUnused(capacity_bytes_ - automaton_bytes);
  return true;
}

void CompiledConstraints::DropUnused(size_t capacity) {
  for (Place place = entries_.end(); place != entries_.begin();) {
    if (fixed_bytes_ + state_bytes_ <= capacity && entries_.size() <= kMostUnused) return;
    --place;
    if (IsKept(*place)) continue;
    const Place unused = place++;
    Erase(unused);
  }
}

void CompiledConstraints::CountStates(Entry* entry) {
  const size_t bytes = entry->constraint->state_bytes();
  state_bytes_ += bytes - entry->state_bytes;
  entry->state_bytes = bytes;
}

void CompiledConstraints::ForgetStates(const structured::TokenConstraint& newest) {
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (state_bytes_ <= capacity_bytes_ / 2 && fixed_bytes_ + state_bytes_ <= capacity_bytes_) {
      return;
    }
    if (entry->constraint == nullptr || entry->constraint.get() == &newest) continue;
    entry->constraint->ForgetStates();
    CountStates(&*entry);
  }
}

void CompiledConstraints::NoteUse(const structured::TokenConstraint& constraint) {
  const absl::MutexLock lock(&mutex_);
  mask_bytes_ = masks_->bytes();
  const auto found = by_constraint_.find(&constraint);
  if (found == by_constraint_.end()) return;
  entries_.splice(entries_.begin(), entries_, found->second);
  CountStates(&*found->second);
  DropUnused(capacity_bytes_);
  ForgetStates(constraint);
}

size_t CompiledConstraints::bytes() const {
  const absl::MutexLock lock(&mutex_);
  return fixed_bytes_ + state_bytes_ + mask_bytes_;
}

size_t CompiledConstraints::num_kept() const {
  const absl::MutexLock lock(&mutex_);
  return entries_.size();
}

}  // namespace baton::stage
