#include "tools/top/frame.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

#include "tools/top/interval.h"

namespace baton::top {
namespace {

enum class Role { kGateway, kScheduler, kStage, kLoader, kUnknown };

struct Member {
  const Scrape* now;
  Interval interval;
  bool answers() const { return !now->samples.empty(); }
};

constexpr struct {
  Role role;
  const char* prefix;  // of its metrics
  const char* name;
} kRoles[] = {{Role::kGateway, "baton_gateway_", "gateway"},
              {Role::kScheduler, "baton_scheduler_", "scheduler"},
              {Role::kStage, "baton_stage_", "stage-worker"},
              {Role::kLoader, "baton_loader_", "model-loader"}};

Role RoleOf(const Scrape& scrape) {
  for (const auto& role : kRoles) {
    if (scrape.samples.HasPrefix(role.prefix)) return role.role;
  }
  for (const auto& role : kRoles) {
    if (absl::StartsWith(scrape.target.name, role.name)) return role.role;
  }
  return Role::kUnknown;
}

const Scrape* Find(const std::vector<Scrape>& scrapes, const std::string& name) {
  for (const Scrape& scrape : scrapes) {
    if (scrape.target.name == name) return &scrape;
  }
  return nullptr;
}

std::vector<Member> Members(const std::vector<Scrape>& now, const std::vector<Scrape>& before,
                            Role role) {
  std::vector<Member> members;
  for (const Scrape& scrape : now) {
    if (RoleOf(scrape) != role) continue;
    members.push_back({&scrape, Interval(scrape, Find(before, scrape.target.name))});
  }
  std::stable_sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
    return a.answers() && b.answers() &&
           a.interval.Now("baton_stage_index") < b.interval.Now("baton_stage_index");
  });
  return members;
}

std::string Missing(const Member& member) { return absl::StrCat("missing: ", member.now->error); }

std::string Rate(double rate) { return absl::StrFormat(rate >= 100 ? "%.0f/s" : "%.1f/s", rate); }

std::string Bar(double part) {
  constexpr size_t kWidth = 20;
  const auto filled = static_cast<size_t>(std::clamp(part, 0.0, 1.0) * kWidth);
  return absl::StrCat("[", std::string(filled, '#'), std::string(kWidth - filled, '.'), "] ",
                      absl::StrFormat("%.0f %%", part * 100));
}

// What the process itself uses.
std::string Usage(const Interval& process) {
  return absl::StrFormat("%s, %.0f %% cpu", BytesText(process.Now("process_resident_memory_bytes")),
                         process.Rate("process_cpu_seconds_total") * 100);
}

void DrawGateway(const Member& gateway, std::vector<std::string>& lines) {
  const Interval& at = gateway.interval;
  lines.push_back(
      absl::StrCat("group      ", at.Now("baton_gateway_group_ready") > 0 ? "ready" : "NOT READY",
                   "   epoch ", at.Now("baton_gateway_group_epoch"), "   model ",
                   gateway.now->samples.Label("vllm:num_requests_running", "model_name"),
                   "   gateway ", Usage(at)));
  lines.push_back(absl::StrFormat(
      "requests   running %.0f   waiting %.0f (%.0f tokens)   live %.0f   finished %s   refused %s"
      "   disconnected %s",
      at.Now("vllm:num_requests_running"), at.Now("vllm:num_requests_waiting"),
      at.Now("baton_gateway_waiting_tokens"), at.Now("baton_gateway_live_requests"),
      Rate(at.Rate("vllm:request_success_total")), Rate(at.Rate("baton_gateway_refusals_total")),
      Rate(at.Rate("baton_gateway_client_disconnects_total"))));
  lines.push_back(absl::StrFormat("tokens     prompt %s (cached %s)   generated %s",
                                  Rate(at.Rate("vllm:prompt_tokens_total")),
                                  Rate(at.Rate("vllm:prompt_tokens_cached_total")),
                                  Rate(at.Rate("vllm:generation_tokens_total"))));
  lines.push_back(
      absl::StrCat("latency    ttft ", SecondsText(at.Mean("vllm:time_to_first_token_seconds")),
                   "   inter-token ", SecondsText(at.Mean("vllm:inter_token_latency_seconds")),
                   "   queue ", SecondsText(at.Mean("vllm:request_queue_time_seconds")),
                   "   end to end ", SecondsText(at.Mean("vllm:e2e_request_latency_seconds"))));
}

void DrawScheduler(const Member& scheduler, std::vector<std::string>& lines) {
  const Interval& at = scheduler.interval;
  const double total = at.Now("baton_scheduler_kv_blocks_total");
  const double used = at.Now("baton_scheduler_kv_blocks_used");
  lines.push_back(absl::StrFormat("kv cache   %s   %.0f of %.0f blocks   preemptions %s",
                                  Bar(total > 0 ? used / total : 0), used, total,
                                  Rate(at.Rate("baton_scheduler_preemptions_total"))));
  const double steps = at.Growth("baton_scheduler_steps_total");
  const double tokens = at.Growth("baton_scheduler_computed_tokens_total");
  lines.push_back(absl::StrFormat(
      "scheduler  epoch %.0f   steps %s   step %s   a step: %.1f sequences, %.1f tokens   %s",
      at.Now("baton_scheduler_epoch"), Rate(at.Rate("baton_scheduler_steps_total")),
      SecondsText(at.Mean("baton_scheduler_step_seconds")),
      at.Mean("baton_scheduler_step_sequences").value_or(0), steps > 0 ? tokens / steps : 0,
      Usage(at)));
}

constexpr char kStageRow[] = "%-6s %-9s %6s %5s %5s %8s %9s %9s %9s %9s %9s %5s %10s %10s %-s";

std::string StageState(const Interval& at) {
  if (at.Now("baton_stage_joined") > 0) return "ready";
  const double total = at.Now("baton_stage_load_total_bytes");
  const double loaded = at.Now("baton_stage_loaded_bytes");
  if (total > 0 && loaded < total) return absl::StrFormat("load %.0f%%", 100 * loaded / total);
  return "joining";
}

std::string Percent(double part, double all) {
  return all > 0 ? absl::StrFormat("%.0f%%", 100 * part / all) : "-";
}

std::string DrawStage(const Member& stage, size_t number) {
  if (!stage.answers()) return absl::StrFormat("%-6d %s", number, Missing(stage));
  const Interval& at = stage.interval;
  const auto part = [&at](const char* name) {
    return SecondsText(at.Mean(absl::StrCat("baton_stage_", name, "_seconds")));
  };
  const double index =
      stage.now->samples.Find("baton_stage_index").value_or(static_cast<double>(number));
  return absl::StrFormat(
      kStageRow, absl::StrCat(index), StageState(at), absl::StrCat(at.Now("baton_stage_epoch")),
      absl::StrCat(at.Now("baton_stage_sequences")),
      Percent(at.Now("baton_stage_kv_blocks_used"), at.Now("baton_stage_kv_blocks_total")),
      Rate(at.Rate("baton_stage_steps_total")), part("step_queue"), part("step_receive"),
      part("step_compute"), part("step_send"), part("gap"),
      absl::StrFormat("%.0f%%", 100 * at.Rate("baton_stage_step_compute_seconds_sum")),
      BytesText(at.Rate("baton_stage_frame_bytes_sent_total")) + "/s",
      BytesText(at.Rate("baton_stage_frame_bytes_received_total")) + "/s",
      absl::StrCat("weights ", BytesText(at.Now("baton_stage_weight_bytes")), ", ", Usage(at)));
}

void DrawLoader(const Member& loader, std::vector<std::string>& lines) {
  const Interval& at = loader.interval;
  lines.push_back(absl::StrCat("loader     active ", at.Now("baton_loader_active_loads"),
                               "   ended ", at.Now("baton_loader_loads_total"), "   read ",
                               BytesText(at.Rate("baton_loader_read_bytes_total")), "/s   sent ",
                               BytesText(at.Rate("baton_loader_sent_bytes_total")),
                               "/s   failed reads ", at.Now("baton_loader_failed_read_attempts"),
                               "   ", Usage(at)));
}

using Draw = void (*)(const Member&, std::vector<std::string>&);

}  // namespace

std::string SecondsText(std::optional<double> seconds) {
  if (!seconds) return "-";
  if (*seconds < 1e-3) return absl::StrFormat("%.0f us", *seconds * 1e6);
  if (*seconds < 1) return absl::StrFormat("%.1f ms", *seconds * 1e3);
  return absl::StrFormat("%.2f s", *seconds);
}

std::string BytesText(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return absl::StrFormat(unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

std::vector<std::string> DrawFrame(const std::vector<Scrape>& now,
                                   const std::vector<Scrape>& before) {
  std::vector<std::string> lines;
  const auto draw = [&](Role role, const char* name, Draw how) {
    for (const Member& member : Members(now, before, role)) {
      if (member.answers()) {
        how(member, lines);
      } else {
        lines.push_back(absl::StrFormat("%-10s %s", name, Missing(member)));
      }
    }
  };
  draw(Role::kGateway, "gateway", DrawGateway);
  draw(Role::kScheduler, "scheduler", DrawScheduler);
  lines.push_back("");
  lines.push_back(absl::StrFormat(kStageRow, "STAGE", "STATE", "EPOCH", "SEQS", "KV", "STEPS",
                                  "QUEUE", "RECEIVE", "COMPUTE", "SEND", "GAP", "BUSY", "SENT",
                                  "RECEIVED", ""));
  const std::vector<Member> stages = Members(now, before, Role::kStage);
  for (size_t i = 0; i < stages.size(); ++i) lines.push_back(DrawStage(stages[i], i));
  lines.push_back("");
  draw(Role::kLoader, "loader", DrawLoader);
  for (const Member& member : Members(now, before, Role::kUnknown)) {
    lines.push_back(absl::StrCat(member.now->target.name, " ",
                                 member.answers() ? "is no process of a group" : Missing(member)));
  }
  return lines;
}

}  // namespace baton::top
