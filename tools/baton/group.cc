#include "tools/baton/group.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

#include "common/concurrency/steady_time.h"
#include "common/status/status_macros.h"
#include "tools/local_http/local_http.h"

namespace baton {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(10);  // while starting or stopping
constexpr absl::Duration kProbeTimeout = absl::Milliseconds(500);
constexpr absl::Duration kStopSlack = absl::Seconds(5);  // past the drain; then a child is killed
// EX_CONFIG: the process says that it would end the same way again.
constexpr int kBadConfiguration = 78;
constexpr absl::Duration kHurriedStopTimeout = absl::Seconds(3);
constexpr char kEndedAsAsked[] = "killed by SIGTERM";  // before it could take that for more

std::map<std::string, int> ReadPortsFile(const std::string& path) {
  std::ifstream file(path);
  const nlohmann::json parsed = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  std::map<std::string, int> ports;
  if (!parsed.is_object()) return ports;
  for (const auto& [name, port] : parsed.items())
    if (port.is_number_integer()) ports[name] = port.get<int>();
  return ports;
}

int PortOf(const std::map<std::string, int>& ports, const std::string& name) {
  const auto found = ports.find(name);
  return found == ports.end() ? 0 : found->second;
}

// Drops the ports that nobody was told: if they are taken, others do as well.
void KeepToldPorts(Role role, std::map<std::string, int>* ports) {
  for (auto entry = ports->begin(); entry != ports->end();) {
    const bool told = role == Role::kGateway       ? entry->first != "metrics"
                      : role == Role::kStageWorker ? false
                                                   : entry->first == "grpc";
    entry = told ? std::next(entry) : ports->erase(entry);
  }
}

}  // namespace

Group::Group(ServeOptions options, std::string programs, std::string scratch, int signal_fd)
    : options_(std::move(options)),
      programs_(std::move(programs)),
      scratch_(std::move(scratch)),
      signal_fd_(signal_fd),
      awake_(SteadyNow()),
      progress_(SteadyNow()),
      load_progress_(options_.num_stages) {}

absl::StatusOr<std::unique_ptr<Group>> Group::Create(ServeOptions options, std::string programs) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGCHLD}) {
    std::signal(number, SIG_DFL);  // a shell may have started us with SIGINT ignored
    sigaddset(&signals, number);
  }
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd < 0) return absl::InternalError("no descriptor for signals");
  std::string scratch = (std::filesystem::temp_directory_path() / "baton-XXXXXX").string();
  if (mkdtemp(scratch.data()) == nullptr) {
    close(signal_fd);
    return absl::InternalError(absl::StrCat("cannot make a folder like ", scratch));
  }
  return std::unique_ptr<Group>(
      new Group(std::move(options), std::move(programs), std::move(scratch), signal_fd));
}

Group::~Group() {
  members_.clear();
  std::error_code ignored;  // a folder that stays behind in /tmp harms nothing
  std::filesystem::remove_all(scratch_, ignored);
  if (!options_.state_file.empty()) std::filesystem::remove(options_.state_file, ignored);
  close(signal_fd_);
}

absl::Status Group::Run() {
  absl::Status status = StartMember(Role::kModelLoader, 0);
  if (status.ok()) status = StartMember(Role::kScheduler, 0);
  while (status.ok() && signals_ == 0) {
    status = Watch(settled_ ? NextDue() : std::min(NextDue(), SteadyNow() + kTick));
    if (status.ok() && signals_ == 0) status = StartDueMembers();
    if (status.ok() && !settled_ && signals_ == 0) status = Advance();
  }
  stopping_ = true;
  progress_.Clear();
  hurried_ = !status.ok();
  if (status.ok()) PrintLine("baton", "stopping");
  const absl::Status stopped = StopInOrder();
  return status.ok() && !hurried_ ? stopped : status;
}

absl::Status Group::StartMember(Role role, int index) {
  const std::string name = role == Role::kStageWorker ? absl::StrCat(NameOf(role), "-", index)
                                                      : std::string(NameOf(role));
  members_.push_back(
      {.role = role,
       .index = index,
       .name = name,
       .place = {.ports_file = absl::StrCat(scratch_, "/", name, ".json"), .ports = {}},
       .child = nullptr,
       .budget = RestartBudget(options_.restart_limits),
       .probe = LivenessProbe(options_.liveness_timeout)});
  absl::Status started = StartChild(&members_.back(), SteadyNow());
  if (!started.ok()) members_.pop_back();
  return started;
}

absl::Status Group::StartChild(Member* member, absl::Time now) {
  PeerAddresses peers;
  if (HavePorts(Role::kScheduler))
    peers.scheduler = absl::StrCat("127.0.0.1:", First(Role::kScheduler).place.ports.at("grpc"));
  if (HavePorts(Role::kModelLoader))
    peers.model_loader =
        absl::StrCat("127.0.0.1:", First(Role::kModelLoader).place.ports.at("grpc"));
  ASSIGN_OR_RETURN(
      member->child,
      Child::Start(member->name, absl::StrCat(programs_, "/baton-", NameOf(member->role)),
                   ArgumentsOf(member->role, member->index, options_, peers, member->place),
                   EnvironmentOf(member->role, options_),
                   member->role == Role::kStageWorker ? options_.stage_worker_nice : 0));
  member->start_at.reset();
  member->listens = false;
  member->budget.Started(now);
  return absl::OkStatus();
}

// One step of starting: reads new ports, starts who was waiting for them, asks whether all is
// ready.
absl::Status Group::Advance() {
  ReadPorts();
  const bool dependents_started = members_.size() > 2;
  if (!dependents_started && HavePorts(Role::kScheduler) && HavePorts(Role::kModelLoader)) {
    for (int stage = 0; stage < options_.num_stages; ++stage)
      RETURN_IF_ERROR(StartMember(Role::kStageWorker, stage));
    RETURN_IF_ERROR(StartMember(Role::kGateway, 0));
  }
  if (ready_) {  // a process was started again
    if (!HaveAllPorts()) return absl::OkStatus();
    settled_ = true;
    return WriteState();
  }
  RETURN_IF_ERROR(BecomeReadyIfSo());
  if (!ready_ && progress_.Due(SteadyNow())) progress_.Show(SteadyNow(), DescribeProgress());
  return absl::OkStatus();
}

// Waits until `until`, or until something happens, and takes it in.
absl::Status Group::Watch(absl::Time until) {
  std::vector<pollfd> watched{{signal_fd_, POLLIN, 0}};
  for (const Member& member : members_) {  // a descriptor of -1 is passed over
    watched.push_back({member.child->output_fd(), POLLIN, 0});
    watched.push_back({member.probe.fd(), member.probe.events(), 0});
  }
  int timeout_ms = -1;
  const absl::Time before = SteadyNow();
  const absl::Duration sleep = std::clamp(until - before, absl::Milliseconds(1), absl::Hours(1));
  if (until != absl::InfiniteFuture())
    timeout_ms = static_cast<int>(absl::ToInt64Milliseconds(sleep));
  if (poll(watched.data(), watched.size(), timeout_ms) < 0) return absl::OkStatus();
  for (Member& member : members_)
    member.child->ReadOutput(
        [&](const std::string& line) { PrintLine(member.child->name(), line); });
  signalfd_siginfo signal{};
  while (read(signal_fd_, &signal, sizeof signal) == sizeof signal)
    if (signal.ssi_signo != SIGCHLD) ++signals_;
  RETURN_IF_ERROR(CheckChildren());
  awake_.EndTurn(SteadyNow(), sleep + options_.liveness_timeout / 10);
  CheckLiveness();
  return absl::OkStatus();
}

// Takes in every child that has ended; the error is about the first whose death ends the group.
absl::Status Group::CheckChildren() {
  absl::Status status;
  for (Member& member : members_) {
    const bool ran = member.child->running();
    member.child->Reap();
    if (ran && !member.child->running()) status.Update(TakeDeath(&member));
  }
  return status;
}

std::string Group::FinalBecause(const Child& child, bool unheard) const {
  if (stopping_) return "the group stops";
  if (!options_.restart) return "--no-restart";
  if (child.exit_status() == kBadConfiguration) return "it cannot run so";
  // What ends by itself while the group starts has said why; a signal comes from elsewhere. But who
  // has listened before, and does not now, may have found its ports taken: that passes.
  if (!ready_ && child.exit_status().has_value() && !unheard) return "the group was not ready yet";
  return "";
}

absl::Status Group::TakeDeath(Member* member) {
  Child& child = *member->child;
  child.ReadOutput([&](const std::string& line) { PrintLine(child.name(), line); });
  member->probe.Stop();
  member->listens = false;
  settled_ = false;
  const std::string death =
      absl::StrCat(child.name(), " (pid ", child.pid(), ") died: ", child.ending(),
                   "; its last lines:\n  ", absl::StrJoin(child.last_lines(), "\n  "));
  // It listened in an earlier life and ended by itself before it did so now.
  const bool unheard = child.exit_status().has_value() && !member->place.ports.empty() &&
                       ReadPortsFile(member->place.ports_file).empty();
  if (unheard) KeepToldPorts(member->role, &member->place.ports);
  std::string final_because = FinalBecause(child, unheard);
  if (final_because.empty()) {
    member->start_at = member->budget.Died(SteadyNow());
    if (!member->start_at.has_value())
      final_because =
          absl::StrCat("it died more than ", options_.restart_limits.max_deaths, " times within ",
                       absl::FormatDuration(options_.restart_limits.window));
  }
  if (!final_because.empty())
    return absl::InternalError(absl::StrCat(death, "\nnot started again: ", final_because));
  PrintLine("baton", absl::StrCat(death, "\n[baton] starting it again"));
  return absl::OkStatus();
}

absl::Status Group::StartDueMembers() {
  const absl::Time now = SteadyNow();
  bool started = false;
  for (Member& member : members_) {
    if (!member.start_at.has_value() || *member.start_at > now) continue;
    std::error_code ignored;
    std::filesystem::remove(member.place.ports_file, ignored);
    RETURN_IF_ERROR(StartChild(&member, now));
    started = true;
  }
  return started && ready_ ? WriteState() : absl::OkStatus();
}

void Group::ReadPorts() {
  for (Member& member : members_) {
    if (member.listens || !member.child->running()) continue;
    std::map<std::string, int> ports = ReadPortsFile(member.place.ports_file);
    if (!ports.contains("grpc")) continue;
    member.place.ports = std::move(ports);
    member.listens = true;
    if (options_.restart) member.probe.Start(PortOf(member.place.ports, "metrics"), awake_.now());
  }
}

bool Group::HavePorts(Role role) const {
  return std::any_of(members_.begin(), members_.end(), [role](const Member& member) {
    return member.role == role && member.place.ports.contains("grpc");
  });
}

bool Group::HaveAllPorts() const {
  return std::all_of(members_.begin(), members_.end(),
                     [](const Member& member) { return member.listens; });
}

const Group::Member& Group::First(Role role) const {
  return *std::find_if(members_.begin(), members_.end(),
                       [role](const Member& member) { return member.role == role; });
}

absl::Status Group::BecomeReadyIfSo() {
  if (!HavePorts(Role::kGateway) || !HaveAllPorts()) return absl::OkStatus();
  if (First(Role::kGateway).probe.late(awake_.now())) return absl::OkStatus();
  // Its port of figures says the same as that of the API, which may speak TLS.
  const int port = PortOf(First(Role::kGateway).place.ports, "metrics");
  if (!LocalHttpGet("127.0.0.1", port, "/health/ready", kProbeTimeout).ok()) {
    return absl::OkStatus();
  }
  ready_ = true;
  settled_ = true;
  progress_.Clear();
  std::printf("ready: %s\n", Endpoint().c_str());
  std::fflush(stdout);
  return WriteState();
}

std::string Group::DescribeProgress() {
  std::vector<std::string> missing;
  for (const Member& member : members_)
    if (!member.listens) missing.push_back(member.child->name());
  if (!missing.empty()) return absl::StrCat("waiting for ", absl::StrJoin(missing, ", "));
  std::map<int, int> ports;  // of stages that answer at all
  std::vector<int> stages;
  for (const Member& member : members_) {
    if (member.role != Role::kStageWorker || member.probe.late(awake_.now())) continue;
    ports[member.index] = PortOf(member.place.ports, "metrics");
    stages.push_back(member.index);
  }
  load_progress_.Ask(
      stages,
      [&ports](int stage, absl::Duration timeout) {
        return LocalHttpGet("127.0.0.1", ports.at(stage), "/metrics", timeout);
      },
      SteadyNow());
  return load_progress_.Describe();
}

std::string Group::Endpoint() const {
  const std::string host =
      options_.host == "0.0.0.0" || options_.host.empty() ? "127.0.0.1" : options_.host;
  const char* const scheme = options_.passed_on.contains("ssl-certfile") ? "https://" : "http://";
  return absl::StrCat(scheme, host, ":", PortOf(First(Role::kGateway).place.ports, "http"), "/v1");
}

absl::Status Group::WriteState() const {
  if (options_.state_file.empty()) return absl::OkStatus();
  nlohmann::json state;
  state["endpoint"] = Endpoint();
  state["processes"] = nlohmann::json::array();
  for (const Member& member : members_)
    state["processes"].push_back({{"role", std::string(NameOf(member.role))},
                                  {"index", member.index},
                                  {"pid", member.child->pid()},
                                  {"listens", member.listens},
                                  {"ports", member.place.ports}});
  const std::string draft = absl::StrCat(options_.state_file, ".", getpid());
  std::ofstream file(draft);
  file << state.dump(2) << "\n";
  file.close();
  if (!file || std::rename(draft.c_str(), options_.state_file.c_str()) != 0)
    return absl::InternalError(absl::StrCat("cannot write ", options_.state_file));
  return absl::OkStatus();
}

absl::Status Group::StopInOrder() {
  std::vector<const Child*> asked;
  for (const Member& member : members_)
    if (member.child->running()) asked.push_back(member.child.get());
  for (const Role role : {Role::kGateway, Role::kScheduler, Role::kStageWorker, Role::kModelLoader})
    StopRole(role);
  std::vector<std::string> failures;
  for (const Child* child : asked)
    if (child->failed() && child->ending() != kEndedAsAsked)
      failures.push_back(absl::StrCat(child->name(), ": ", child->ending()));
  if (failures.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("did not stop well: ", absl::StrJoin(failures, ", ")));
}

// Asks every process of `role` to stop and waits until all have ended; then kills.
void Group::StopRole(Role role) {
  const auto any_runs = [&] {
    return std::any_of(members_.begin(), members_.end(), [&](const Member& member) {
      return member.role == role && member.child->running();
    });
  };
  const auto signal_all = [&](int number) {
    for (const Member& member : members_)
      if (member.role == role) member.child->Signal(number);
  };
  const int signals_before = signals_;
  signal_all(SIGTERM);
  if (hurried_) signal_all(SIGTERM);
  absl::Time deadline =
      SteadyNow() + (hurried_ ? kHurriedStopTimeout : options_.drain_timeout + kStopSlack);
  while (any_runs() && SteadyNow() < deadline) {
    // A death is what is wanted here; one of another role is seen when its turn comes.
    Watch(std::min(deadline, SteadyNow() + absl::Seconds(1))).IgnoreError();
    if (signals_ == signals_before || hurried_) continue;
    hurried_ = true;
    deadline = SteadyNow() + kHurriedStopTimeout;
    signal_all(SIGTERM);
  }
  if (!any_runs()) return;
  PrintLine("baton", absl::StrCat(NameOf(role), " does not stop; killing it"));
  signal_all(SIGKILL);
  while (any_runs()) Watch(SteadyNow() + kTick).IgnoreError();
}

void Group::PrintLine(const std::string& name, const std::string& line) {
  progress_.Clear();
  std::fputs(absl::StrCat("[", name, "] ", line, "\n").c_str(), stderr);
}

}  // namespace baton
