#include <algorithm>

#include "common/log/check.h"
#include "kernels/cuda/launches/planned_launch.cuh"
#include "kernels/cuda/launches/router.h"
#include "kernels/cuda/plain/experts.h"
#include "kernels/cuda/plain/product_tile.cuh"
#include "kernels/cuda/plan/row_plan.h"

namespace baton::kernels::cuda {
namespace {

// Which rows a block multiplies with which network. Without a table: tile blockIdx.y of `rows` rows
// with `only`. With one: all rows of expert blockIdx.y, those of its slots.
struct RowGroups {
  const GatedImage* table = nullptr;
  GatedImage only;
  const int32_t* offsets = nullptr;  // [experts + 1] into `sorted`
  const int32_t* sorted = nullptr;   // slots by expert
  int64_t rows = 0;

  __device__ const GatedImage& weights() const {
    return table != nullptr ? table[blockIdx.y] : only;
  }
  __device__ int64_t begin() const {
    return table != nullptr ? offsets[blockIdx.y] : FirstTileRow(ThisThread());
  }
  __device__ int64_t end() const {
    if (table != nullptr) return offsets[blockIdx.y + 1];
    return begin() + kTileRows < rows ? begin() + kTileRows : rows;
  }
  // The slot at a place; without a table, the row itself.
  __device__ int64_t slot(int64_t place) const { return table != nullptr ? sorted[place] : place; }
};

// hidden[place] = silu(gate(x)) * up(x), x being row slot / top_k; rounded to `hidden_type`.
__global__ void __launch_bounds__(kProductThreads)
    GateUpKernel(PlainRows x, int64_t top_k, RowGroups groups, void* hidden, DataType hidden_type,
                 int64_t hidden_stride) {
  __shared__ ProductTile tile;
  const LaunchThread thread = ThisThread();
  const GatedImage& weights = groups.weights();
  const int64_t first_column = FirstTileColumn(thread);
  const int64_t column = first_column + TileColumn(thread.index);
  const int64_t end = groups.end();
  for (const int64_t begin : RowTiles(groups.begin(), end)) {
    const auto x_row = [&](int r) {
      return begin + r < end ? groups.slot(begin + r) / top_k : int64_t{-1};
    };
    float gate[kRowsPerThread];
    float up[kRowsPerThread];
    MultiplyTile(weights.gate, first_column, x, x_row, tile, gate);
    MultiplyTile(weights.up, first_column, x, x_row, tile, up);
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int64_t place = begin + TileRow(thread.index, i);
      if (place >= end || column >= weights.gate.n) continue;
      const float silu = gate[i] / (1.0f + expf(-gate[i]));
      StoreElement(silu * up[i], hidden, hidden_type, place * hidden_stride + column);
    }
  }
}

// out[slot] = down(hidden[place]) in float32.
__global__ void __launch_bounds__(kProductThreads)
    DownKernel(PlainRows hidden, RowGroups groups, float* out, int64_t out_stride) {
  __shared__ ProductTile tile;
  const LaunchThread thread = ThisThread();
  const WeightImage& weight = groups.weights().down;
  const int64_t first_column = FirstTileColumn(thread);
  const int64_t column = first_column + TileColumn(thread.index);
  const int64_t end = groups.end();
  for (const int64_t begin : RowTiles(groups.begin(), end)) {
    float results[kRowsPerThread];
    MultiplyTile(
        weight, first_column, hidden,
        [&](int r) { return begin + r < end ? begin + r : int64_t{-1}; }, tile, results);
    for (int i = 0; i < kRowsPerThread; ++i) {
      const int64_t place = begin + TileRow(thread.index, i);
      if (place >= end || column >= weight.n) continue;
      out[groups.slot(place) * out_stride + column] = results[i];
    }
  }
}

// out[token] = sum over slots in order of weight * slot's result, then + shared.
__global__ void __launch_bounds__(kElementThreads)
    CombineKernel(const float* slots, const int32_t* experts, const float* weights, int64_t top_k,
                  const float* shared, int64_t columns, float* out, int64_t out_stride) {
  const auto [token, column] = ElementOf(ThisThread());
  if (column >= columns) return;
  float sum = 0.0f;
  for (int64_t slot = token * top_k; slot < (token + 1) * top_k; ++slot) {
    if (experts[slot] >= 0) sum += weights[slot] * slots[slot * columns + column];
  }
  if (shared != nullptr) sum += shared[token * columns + column];
  out[token * out_stride + column] = sum;
}

PlainRows RowsIn(const TensorView& view) { return {view.data, view.type, view.row_stride}; }

void RunNetworks(const TensorView& x, int64_t top_k, const RowGroups& groups,
                 const GatedImage& shape, int64_t num_groups, void* hidden, float* out,
                 int64_t out_stride, cudaStream_t stream) {
  // A shard may have nothing of the inner width: then the first launch is empty, and it adds zeros.
  LaunchPlanned("gate and up", GateUpKernel, PlainNetworkLaunch(shape.gate.n, num_groups), stream,
                RowsIn(x), top_k, groups, hidden, x.type, shape.gate.n);
  LaunchPlanned("down", DownKernel, PlainNetworkLaunch(shape.down.n, num_groups), stream,
                PlainRows{hidden, x.type, shape.gate.n}, groups, out, out_stride);
}

void RunOne(const TensorView& x, const GatedImage& weights, void* hidden, float* out,
            int64_t out_stride, cudaStream_t stream) {
  RowGroups groups;
  groups.only = weights;
  groups.rows = x.rows;
  RunNetworks(x, 1, groups, weights, NumBlocks(x.rows, kTileRows), hidden, out, out_stride, stream);
}

void CheckShapes(const TensorView& x, const GatedImage& weights, const TensorView& out) {
  BATON_CHECK(weights.gate.k == x.columns && weights.up.k == x.columns &&
              weights.gate.n == weights.up.n && weights.down.k == weights.gate.n &&
              weights.down.n == out.columns && out.rows == x.rows &&
              out.type == DataType::kFloat32);
}

}  // namespace

void LaunchPlainFeedForward(const TensorView& x, const GatedImage& weights, const TensorView& out,
                            DeviceScratch& scratch, cudaStream_t stream) {
  CheckShapes(x, weights, out);
  if (out.empty()) return;
  const int64_t hidden_bytes = x.rows * weights.gate.n * static_cast<int64_t>(SizeOf(x.type));
  scratch.Begin(DeviceScratch::Aligned(static_cast<size_t>(hidden_bytes)));
  RunOne(x, weights, scratch.Cut<char>(hidden_bytes), static_cast<float*>(out.data), out.row_stride,
         stream);
}

void LaunchPlainExperts(const PlainExpertsArgs& args, DeviceScratch& scratch, cudaStream_t stream) {
  CheckShapes(args.x, args.first, args.out);
  if (args.out.empty()) return;
  const bool has_shared = args.shared.gate.values != nullptr;
  const int64_t columns = args.out.columns;
  const int64_t most = std::min(args.x.rows, kPlainExpertTokens);
  const int64_t most_slots = most * args.top_k;
  const auto element = static_cast<int64_t>(SizeOf(args.x.type));
  const int64_t hidden_bytes =
      std::max(most_slots * args.first.gate.n, has_shared ? most * args.shared.gate.n : 0) *
      element;
  const auto aligned = [](int64_t bytes) {
    return DeviceScratch::Aligned(static_cast<size_t>(bytes));
  };
  scratch.Begin(aligned((args.num_experts + 1) * 4) + aligned(most_slots * 4) +
                aligned(hidden_bytes) + aligned(most_slots * columns * 4) +
                aligned(has_shared ? most * columns * 4 : 0));
  auto* offsets = scratch.Cut<int32_t>(args.num_experts + 1);
  auto* sorted = scratch.Cut<int32_t>(most_slots);
  char* hidden = scratch.Cut<char>(hidden_bytes);
  auto* results = scratch.Cut<float>(most_slots * columns);
  float* shared = has_shared ? scratch.Cut<float>(most * columns) : nullptr;
  for (const int64_t begin : PlainExpertPasses(args.x.rows)) {
    const int64_t tokens = std::min(kPlainExpertTokens, args.x.rows - begin);
    const TensorView x = args.x.Rows(begin, tokens);
    const auto experts = args.experts.subspan(static_cast<size_t>(begin * args.top_k),
                                              static_cast<size_t>(tokens * args.top_k));
    LaunchSortSlots(experts, args.num_experts, offsets, sorted, stream);
    RowGroups groups;
    groups.table = args.table;
    groups.offsets = offsets;
    groups.sorted = sorted;
    RunNetworks(x, args.top_k, groups, args.first, args.num_experts, hidden, results, columns,
                stream);
    if (has_shared) RunOne(x, args.shared, hidden, shared, columns, stream);
    LaunchPlanned(
        "combination of experts", CombineKernel, ElementsLaunch(tokens, columns), stream, results,
        experts.data(), args.slot_weights.data() + begin * args.top_k, args.top_k, shared, columns,
        static_cast<float*>(args.out.data) + begin * args.out.row_stride, args.out.row_stride);
  }
}

}  // namespace baton::kernels::cuda
