#include "tools/baton/starvation.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace baton {
namespace {

// The state stands behind the name, which is in brackets and may have brackets and blanks.
std::optional<char> StateIn(const std::string& stat) {
  const size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return std::nullopt;
  return stat[name_end + 2];
}

std::optional<ThreadUse> ReadThreadUse(const std::filesystem::path& folder) {
  std::ifstream stat_file(folder / "stat");
  const std::string stat{std::istreambuf_iterator<char>(stat_file), {}};
  const std::optional<char> state = StateIn(stat);
  std::ifstream schedstat(folder / "schedstat");
  int64_t ran = 0;
  int64_t waited = 0;
  ThreadUse use;
  if (!state.has_value() || !(schedstat >> ran >> waited >> use.num_turns)) return std::nullopt;
  use.state = *state;
  use.ran = absl::Nanoseconds(ran);
  use.waited = absl::Nanoseconds(waited);
  return use;
}

}  // namespace

ThreadUses ReadThreadUses(const std::string& tasks_folder) {
  ThreadUses uses;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(tasks_folder, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::optional<ThreadUse> use = ReadThreadUse(entry->path());
    if (use.has_value()) uses[entry->path().filename().string()] = *use;
  }
  return uses;
}

bool LackedProcessor(const ThreadUses& before, const ThreadUses& now, absl::Duration elapsed) {
  const auto is_stopped = [](const auto& entry) {
    return entry.second.state == 'T' || entry.second.state == 't';
  };
  if (std::any_of(now.begin(), now.end(), is_stopped)) return false;
  // One that has a processor for half of the time has enough: its threads wait for each other.
  absl::Duration ran;
  for (const auto& [thread, is] : now) {
    const auto found = before.find(thread);
    if (found != before.end()) ran += is.ran - found->second.ran;
  }
  if (ran >= elapsed / 2) return false;
  return std::any_of(now.begin(), now.end(), [&](const auto& entry) {
    const auto found = before.find(entry.first);
    if (found == before.end()) return false;
    const ThreadUse& was = found->second;
    const ThreadUse& is = entry.second;
    if (is.num_turns == 0) return false;  // a kernel that does not count
    // What it waits at this moment is not in its sum before it gets its turn.
    const bool waited_throughout =
        was.state == 'R' && is.state == 'R' && was.num_turns == is.num_turns && was.ran == is.ran;
    return waited_throughout || is.waited - was.waited >= elapsed / 2;
  });
}

std::string TasksFolder(pid_t pid) { return absl::StrCat("/proc/", pid, "/task"); }

}  // namespace baton
