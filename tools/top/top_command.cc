#include "tools/top/top_command.h"

#include <algorithm>
#include <csignal>
#include <ostream>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

#include "common/status/status_macros.h"
#include "tools/flags/flag_table.h"
#include "tools/top/frame.h"
#include "tools/top/terminal.h"

namespace baton {
namespace {

using top::Scrape;
using top::Target;

const std::vector<FlagRow>& Table() {
  static const auto* table = new std::vector<FlagRow>{
      {"state-file", FlagKind::kValue, "", "that `baton serve --state-file` writes"},
      {"metrics", FlagKind::kList, "127.0.0.1:9091 to 9094", "http://HOST:PORT/metrics of each"},
      {"interval", FlagKind::kValue, "1", "seconds between frames, over which rates are taken"},
      {"once", FlagKind::kSwitch, "", "prints one frame as text and ends"},
      {"help", FlagKind::kSwitch, "", ""},
  };
  return *table;
}

struct TopOptions {
  std::string state_file;
  std::vector<Target> targets;
  double interval = 1;
  bool once = false;
  bool help = false;
};

absl::StatusOr<TopOptions> Parse(const std::vector<std::string>& words) {
  ASSIGN_OR_RETURN(const GivenFlags flags, ParseFlags(words, Table()));
  if (!flags.positional().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", flags.positional().front(), "\" is no flag"));
  }
  TopOptions options;
  std::vector<std::string> urls;
  RETURN_IF_ERROR(flags.Read("help", &options.help));
  RETURN_IF_ERROR(flags.Read("state-file", &options.state_file));
  RETURN_IF_ERROR(flags.Read("metrics", &urls));
  RETURN_IF_ERROR(flags.Read("interval", 0.05, 3600.0, &options.interval));
  RETURN_IF_ERROR(flags.Read("once", &options.once));
  for (const std::string& url : urls) {
    ASSIGN_OR_RETURN(Target target, top::ParseTarget(url));
    options.targets.push_back(std::move(target));
  }
  if (urls.empty() && options.state_file.empty()) options.targets = top::DefaultTargets();
  return options;
}

// The state file is read again each time: a stage-worker that was started again has other ports.
absl::StatusOr<std::vector<Scrape>> ScrapeGroup(const TopOptions& options) {
  std::vector<Target> targets = options.targets;
  if (!options.state_file.empty()) {
    ASSIGN_OR_RETURN(const std::vector<Target> members, top::ReadStateFile(options.state_file));
    targets.insert(targets.begin(), members.begin(), members.end());
  }
  return top::ScrapeAll(targets);
}

absl::Status PrintOnce(const TopOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const std::vector<Scrape> before, ScrapeGroup(options));
  absl::SleepFor(absl::Seconds(options.interval));
  ASSIGN_OR_RETURN(const std::vector<Scrape> now, ScrapeGroup(options));
  for (const std::string& line : top::DrawFrame(now, before)) out << line << "\n";
  if (std::any_of(now.begin(), now.end(), [](const Scrape& s) { return !s.samples.empty(); })) {
    return absl::OkStatus();
  }
  return absl::UnavailableError("no process answers");
}

// Draws until SIGINT or SIGTERM, or "q" on the standard input; at once when the window changes.
class LiveView {
 public:
  explicit LiveView(const TopOptions& options) : options_(options) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int number : {SIGINT, SIGTERM, SIGWINCH}) sigaddset(&signals, number);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  ~LiveView() { close(signal_fd_); }
  LiveView(const LiveView&) = delete;
  LiveView& operator=(const LiveView&) = delete;

  void Run() {
    top::Terminal terminal;
    while (true) {
      auto scraped = ScrapeGroup(options_);
      lines_ = {absl::StrCat("baton top  ",
                             absl::FormatTime("%H:%M:%S", absl::Now(), absl::LocalTimeZone())),
                ""};
      if (scraped.ok()) {
        for (std::string& line : top::DrawFrame(*scraped, before_)) lines_.push_back(line);
        before_ = *std::move(scraped);
      } else {
        lines_.emplace_back(scraped.status().message());
      }
      const absl::Time next = absl::Now() + absl::Seconds(options_.interval);
      do {
        terminal.Draw(lines_);
        if (!Wait(next)) return;
      } while (absl::Now() < next);
    }
  }

 private:
  // False when the user wants to end; else the time has come or the window has changed.
  bool Wait(absl::Time until) const {
    pollfd watched[] = {{signal_fd_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    const nfds_t count = isatty(STDIN_FILENO) == 1 ? 2 : 1;
    const absl::Duration rest = std::max(until - absl::Now(), absl::ZeroDuration());
    if (poll(watched, count, static_cast<int>(absl::ToInt64Milliseconds(rest)) + 1) <= 0) {
      return true;
    }
    signalfd_siginfo signal{};
    while (read(signal_fd_, &signal, sizeof signal) == sizeof signal) {
      if (signal.ssi_signo != SIGWINCH) return false;
    }
    char key = 0;
    return (watched[1].revents & POLLIN) == 0 || (read(STDIN_FILENO, &key, 1) == 1 && key != 'q');
  }

  const TopOptions& options_;
  int signal_fd_ = -1;
  std::vector<Scrape> before_;
  std::vector<std::string> lines_;
};

}  // namespace

int RunTop(const std::vector<std::string>& words, std::ostream& out, std::ostream& err) {
  const auto options = Parse(words);
  if (!options.ok()) {
    err << "baton: " << options.status().message() << "\ntry `baton top --help`\n";
    return 2;
  }
  if (options->help) {
    out << "baton top [flags]: a live view of a group, from the metrics of its processes; q and "
           "Enter, or Ctrl-C, ends it\n\nexample:\n  baton top --state-file /tmp/group.json\n\n"
           "flags:\n"
        << FlagHelp(Table());
    return 0;
  }
  if (!options->once) {
    LiveView(*options).Run();
    return 0;
  }
  const absl::Status status = PrintOnce(*options, out);
  if (status.ok()) return 0;
  err << "baton: " << status.message() << "\n";
  return 1;
}

}  // namespace baton
