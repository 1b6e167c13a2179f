// Attention in the expanded form: keys and values of all heads are made from cached latents, one
// split of one sequence at a time, and all rows behind its first position attend to it before the
// next split's take their place. So working memory is that of one split, and a partial sum per row
// and head where a sequence has several.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api/attention.h"
#include "kernels/cpu/device_context.h"
#include "kernels/cpu/scratch.h"

namespace baton::kernels::cpu {

// Threads: those of the device.
class PromptAttention {
 public:
  explicit PromptAttention(DeviceContext& device);

  void Attend(const MlaPromptAttentionArgs& args);

  uint64_t working_bytes() const { return kept_.bytes(); }
  // Between calls: brings its working memory into one piece.
  void Reset() { kept_.Reset(); }

 private:
  // Sizes of a call.
  struct Shape {
    explicit Shape(const MlaPromptAttentionArgs& args);

    int64_t heads;
    int64_t nope_dims;
    int64_t rope_dims;
    int64_t value_dims;
    int64_t width;      // of a key
    int64_t q_stride;   // of gathered queries, elements
    int64_t kv_stride;  // [key without rotation | rotary key | value] of a position, elements
    int64_t element;    // bytes
  };
  // Rows that one task takes for one head, all of one split.
  struct RowGroup {
    int64_t row = 0;
    int64_t count = 0;
  };

  // Rows of one sequence, positions ascending.
  void AttendSequence(const MlaPromptAttentionArgs& args, const Shape& shape, int64_t row_begin,
                      int64_t row_end);
  // Latents and rotary keys of positions [begin, begin + count), one behind the other.
  void GatherEntries(const MlaPromptAttentionArgs& args, int64_t row, int64_t begin, int64_t count,
                     const TensorView& entries);
  // Keys and values of these positions for every head, [heads][kSplitTokens][kv_stride].
  void ExpandEntries(const MlaPromptAttentionArgs& args, const Shape& shape,
                     const TensorView& entries, std::byte* expanded);
  void AttendSplit(const MlaPromptAttentionArgs& args, const Shape& shape, int64_t begin,
                   const std::byte* expanded);
  void CutRows(const MlaPromptAttentionArgs& args, const Shape& shape, int64_t row_begin,
               int64_t row_end);

  DeviceContext& device_;
  // What outlives the products of a split, which have the device's scratch memory to themselves.
  Scratch kept_;
  std::vector<int32_t> blocks_;  // 0, 1, ...: of a split, whose positions stand in order
  std::vector<RowGroup> groups_;
  // Of the sequence under way.
  int64_t first_row_ = 0;
  int64_t sequence_rows_ = 0;
  float* states_ = nullptr;  // [heads][rows][AttendStateFloats]; null: all lies in one split
  std::byte* queries_ = nullptr;
  float* working_ = nullptr;
};

}  // namespace baton::kernels::cpu
