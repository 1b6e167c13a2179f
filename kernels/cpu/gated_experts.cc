#include "kernels/cpu/gated_experts.h"

#include <algorithm>
#include <limits>

#include "common/log/check.h"

namespace baton::kernels::cpu {
namespace {

// Bound of the memory for experts' outputs, in float32s: more are made in turns, some columns of
// all tokens at a time. Turns change no bits.
constexpr int64_t kLargestOutputs = int64_t{16} << 20;

// Tasks that a thread gets on average: enough to even out their lengths.
constexpr int64_t kTasksOfThread = 16;
// A multiple of four panels fills the widest tiles.
constexpr int64_t kPanelStep = 4;

TensorView TakeFloats(DeviceContext& device, int64_t rows, int64_t columns) {
  return View(device.scratch.Take<float>(rows * columns), rows, columns);
}

bool SameForm(const Segments* a, const Segments* b) {
  return a == b || (a != nullptr && b != nullptr && *a == *b);
}

}  // namespace

void GatedExperts::FeedForward(const FeedForwardArgs& args) {
  BATON_CHECK(args.x.rows == args.out.rows);
  if (args.out.empty()) return;
  device_.scratch.Reset();
  jobs_.clear();
  AddJob(args.weights, nullptr, args.x.rows);
  BATON_CHECK(args.weights.down->n() == args.out.columns);
  RunInner(args.x);
  jobs_.front().out = args.out;
  RunDown(0, Unpack(args.weights.down).num_panels());
}

void GatedExperts::Experts(const ExpertsArgs& args) {
  BATON_CHECK(args.x.rows == args.out.rows);
  BATON_CHECK(static_cast<int64_t>(args.experts.size()) == args.x.rows * args.top_k &&
              args.slot_weights.size() == args.experts.size());
  if (args.out.empty()) return;
  device_.scratch.Reset();
  jobs_.clear();
  if (device_.only_makes_room) {
    ShareAmongExperts(args);
  } else {
    GroupByExpert(args);
  }
  const int64_t num_experts = static_cast<int64_t>(args.expert_weights.size());
  for (int64_t e = 0; e < num_experts; ++e) {
    const int64_t count = begins_[e + 1] - begins_[e];
    if (count == 0) continue;
    AddJob(args.expert_weights[e], grouped_rows_.data() + begins_[e], count);
    BATON_CHECK(args.expert_weights[e].down->n() == args.out.columns) << "expert " << e;
  }
  const size_t num_routed = jobs_.size();
  const bool has_shared = args.shared.gate != nullptr;
  if (has_shared) {
    AddJob(args.shared, nullptr, args.x.rows);
    BATON_CHECK(args.shared.down->n() == args.out.columns);
  }
  RunInner(args.x);

  const int64_t slots = begins_[num_experts];
  const int64_t output_rows = slots + (has_shared ? args.x.rows : 0);
  constexpr int64_t kStep = kPanelStep * kPanelColumns;
  if (device_.only_makes_room) {
    // Fewer rows get wider turns.
    const int64_t most = std::max(kLargestOutputs, output_rows * kStep);
    TakeFloats(device_, std::min(output_rows * args.out.columns, most), 1);
    return;
  }
  const int64_t fitting = kLargestOutputs / std::max<int64_t>(output_rows, 1);
  const int64_t width = std::min(args.out.columns, std::max(fitting / kStep * kStep, kStep));
  const TensorView routed = TakeFloats(device_, slots, width);
  const TensorView shared = TakeFloats(device_, has_shared ? args.x.rows : 0, width);
  for (int64_t column = 0; column < args.out.columns; column += width) {
    const int64_t columns = std::min(width, args.out.columns - column);
    int64_t place = 0;
    for (size_t i = 0; i < num_routed; ++i) {
      jobs_[i].out = routed.Rows(place, jobs_[i].rows).Columns(0, columns);
      place += jobs_[i].rows;
    }
    if (has_shared) jobs_.back().out = shared.Columns(0, columns);
    const int64_t begin = column / kPanelColumns;
    RunDown(begin, begin + (columns + kPanelColumns - 1) / kPanelColumns);
    Combine(args, column, routed.Columns(0, columns), shared.Columns(0, columns));
  }
}

void GatedExperts::GroupByExpert(const ExpertsArgs& args) {
  const int32_t num_experts = static_cast<int32_t>(args.expert_weights.size());
  begins_.assign(num_experts + 2, 0);
  for (int32_t expert : args.experts) {
    BATON_CHECK(expert < num_experts) << "expert " << expert << " of " << num_experts;
    if (expert >= 0) ++begins_[expert + 2];
  }
  for (int32_t e = 2; e < num_experts + 2; ++e) begins_[e] += begins_[e - 1];
  // begins_[e + 1] is where the next row of expert e goes; in the end it is where e + 1 begins.
  grouped_rows_.resize(args.experts.size());
  places_.resize(args.experts.size());
  for (size_t slot = 0; slot < args.experts.size(); ++slot) {
    places_[slot] = -1;
    if (args.experts[slot] < 0) continue;
    const int32_t place = begins_[args.experts[slot] + 1]++;
    places_[slot] = place;
    grouped_rows_[place] = static_cast<int32_t>(slot / args.top_k);
  }
}

void GatedExperts::ShareAmongExperts(const ExpertsArgs& args) {
  const auto num_experts = static_cast<int64_t>(args.expert_weights.size());
  const auto slots = static_cast<int64_t>(args.experts.size());
  begins_.assign(num_experts + 2, 0);
  for (int64_t e = 0; e <= num_experts; ++e) {
    begins_[e] = static_cast<int32_t>(slots * e / std::max<int64_t>(num_experts, 1));
  }
  grouped_rows_.resize(args.experts.size());
  places_.resize(args.experts.size());
}

void GatedExperts::Combine(const ExpertsArgs& args, int64_t column, const TensorView& routed,
                           const TensorView& shared) {
  const int64_t columns = routed.columns;
  const int64_t work = args.out.rows * columns * (args.top_k + 1);
  device_.ForEach(args.out.rows, work, [&](int64_t row, int) {
    float* sum = args.out.Row<float>(row) + column;
    bool first = true;
    for (int64_t slot = row * args.top_k; slot < (row + 1) * args.top_k; ++slot) {
      if (places_[slot] < 0) continue;
      device_.kernels.accumulate(args.slot_weights[slot], routed.Row<float>(places_[slot]), columns,
                                 first, sum);
      first = false;
    }
    if (shared.rows > 0) {
      device_.kernels.accumulate(1.0f, shared.Row<float>(row), columns, first, sum);
      first = false;
    }
    if (first) std::fill(sum, sum + columns, 0.0f);
  });
}

void GatedExperts::AddJob(const FeedForwardWeights& weights, const int32_t* row_index,
                          int64_t rows) {
  BATON_CHECK(weights.gate != nullptr && weights.up != nullptr && weights.down != nullptr);
  BATON_CHECK(weights.up->n() == weights.gate->n() && weights.up->k() == weights.gate->k());
  BATON_CHECK(weights.down->k() == weights.gate->n());
  Job job;
  job.weights = weights;
  job.row_index = row_index;
  job.rows = rows;
  jobs_.push_back(job);
}

// Gives each job its inputs and working memory. Jobs mostly share one form of x.
void GatedExperts::PrepareInputs(const TensorView& x) {
  PreparedRows prepared;
  const Segments* form = nullptr;
  for (Job& job : jobs_) {
    const Segments* wanted = Unpack(job.weights.gate).row_form().segments;
    BATON_CHECK(job.weights.gate->k() == x.columns);
    if (prepared.data == nullptr || !SameForm(wanted, form)) {
      prepared = PrepareRows(device_, x, {wanted});
      form = wanted;
    }
    BATON_CHECK(SameForm(Unpack(job.weights.up).row_form().segments, form));
    job.x = prepared;
    const int64_t rows = job.rows;
    const int64_t width = job.weights.gate->n();
    job.inner = x.type == DataType::kBFloat16
                    ? View(device_.scratch.Take<BFloat16>(rows * width), rows, width)
                    : TakeFloats(device_, rows, width);
  }
}

int64_t GatedExperts::CutTasks(const PackedWeight* FeedForwardWeights::*weight, int64_t begin,
                               int64_t end) {
  tasks_.clear();
  const auto work_of = [&](const Job& job) {
    const int64_t panels = std::min(end, Unpack(job.weights.*weight).num_panels()) - begin;
    return std::max<int64_t>(panels * kPanelColumns * (job.weights.*weight)->k() * job.rows, 1);
  };
  int64_t work = 0;
  for (const Job& job : jobs_) work += work_of(job);
  // Jobs with many rows are cut, those with few stay whole: each task packs its rows once.
  const int64_t share = std::max<int64_t>(work / (device_.pool.num_threads() * kTasksOfThread), 1);
  for (const Job& job : jobs_) {
    const int64_t last = std::min(end, Unpack(job.weights.*weight).num_panels());
    const int64_t count = std::clamp<int64_t>((work_of(job) + share / 2) / share, 1, last - begin);
    const int64_t even = (last - begin + count - 1) / count;
    const int64_t per_task = (even + kPanelStep - 1) / kPanelStep * kPanelStep;
    for (int64_t panel = begin; panel < last; panel += per_task) {
      tasks_.push_back({&job, panel, std::min(panel + per_task, last)});
    }
  }
  return work;
}

// A task is a whole job of at most one and a half shares, or a part of at most that and what
// rounding up to kPanelStep adds.
int64_t GatedExperts::MostTaskElements(int64_t rows) const {
  int64_t all = 0;
  int64_t panels = 0;
  for (const Job& job : jobs_) {
    const int64_t own = Unpack(job.weights.gate).num_panels();
    all += own * job.rows;
    panels = std::max(panels, own);
  }
  const int64_t share = all / (device_.pool.num_threads() * kTasksOfThread) + 1;
  return std::min(share + share / 2 + kPanelStep * rows, panels * rows) * kPanelColumns;
}

// Gate and up of a task go through buffers of its thread, so that they are still in the cache when
// SiLU joins them.
void GatedExperts::RunInner(const TensorView& x) {
  PrepareInputs(x);
  const bool bfloat16 = x.type == DataType::kBFloat16;
  const int64_t work =
      2 * CutTasks(&FeedForwardWeights::gate, 0, std::numeric_limits<int64_t>::max());
  int64_t most = device_.only_makes_room ? MostTaskElements(x.rows) : 0;
  for (const Task& task : tasks_) {
    most = std::max(most, task.job->rows * (task.end - task.begin) * kPanelColumns);
  }
  float* buffers = device_.scratch.Take<float>(2 * most * device_.pool.num_threads());
  device_.ForEach(static_cast<int64_t>(tasks_.size()), work, [&](int64_t index, int thread) {
    const Task& task = tasks_[index];
    const Job& job = *task.job;
    const int64_t begin = task.begin * kPanelColumns;
    const int64_t columns = NumColumns(Unpack(job.weights.gate), task.begin, task.end);
    const TensorView gate = View(buffers + 2 * most * thread, job.rows, columns);
    const TensorView up = View(buffers + 2 * most * thread + most, job.rows, columns);
    MultiplyPanels(device_, thread,
                   {job.x, job.row_index, &Unpack(job.weights.gate), task.begin, task.end, gate});
    MultiplyPanels(device_, thread,
                   {job.x, job.row_index, &Unpack(job.weights.up), task.begin, task.end, up});
    for (int64_t row = 0; row < job.rows; ++row) {
      void* inner = bfloat16 ? static_cast<void*>(job.inner.Row<BFloat16>(row) + begin)
                             : static_cast<void*>(job.inner.Row<float>(row) + begin);
      device_.kernels.silu_multiply(gate.Row<float>(row), up.Row<float>(row), columns, bfloat16,
                                    bfloat16, inner);
    }
  });
  for (Job& job : jobs_) {
    job.down_x = PrepareRows(device_, job.inner, Unpack(job.weights.down).row_form());
  }
  // Pieces are rounded up: two of every job, and two of outputs.
  if (device_.only_makes_room) {
    device_.scratch.Take<std::byte>(64 * 2 * static_cast<int64_t>(jobs_.size() + 1));
  }
}

void GatedExperts::RunDown(int64_t begin, int64_t end) {
  const int64_t work = CutTasks(&FeedForwardWeights::down, begin, end);
  device_.ForEach(static_cast<int64_t>(tasks_.size()), work, [&](int64_t index, int thread) {
    const Task& task = tasks_[index];
    const Job& job = *task.job;
    const PanelWeight& down = Unpack(job.weights.down);
    const TensorView out = job.out.Columns((task.begin - begin) * kPanelColumns,
                                           NumColumns(down, task.begin, task.end));
    MultiplyPanels(device_, thread, {job.down_x, nullptr, &down, task.begin, task.end, out});
  });
}

}  // namespace baton::kernels::cpu
