#include "services/model_loader/shard/read_plan.h"

#include <algorithm>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "common/model/weight_inventory.h"

namespace baton::loader {
namespace {

using Targets = std::vector<std::vector<CheckedSlice>>;

// Files of tensors with pseudo-random bytes.
struct World {
  std::vector<std::string> files;
  std::vector<StoredTensor> tensors;
};

World MakeWorld(std::mt19937& random) {
  World world;
  const size_t num_files = 1 + random() % 3;
  for (size_t file = 0; file < num_files; ++file) {
    std::string bytes(random() % 100, 'h');
    const size_t num_tensors = 1 + random() % 6;
    for (size_t i = 0; i < num_tensors; ++i) {
      const uint64_t element = uint64_t{1} << (random() % 3);
      const uint64_t rows = 1 + random() % 40;
      const uint64_t columns = 1 + random() % (random() % 4 == 0 ? 3000 : 60);
      const std::string type = element == 1 ? "F8_E4M3" : element == 2 ? "BF16" : "F32";
      const uint64_t size = rows * columns * element;
      world.tensors.push_back({"t", type, {rows, columns}, file, bytes.size(), size});
      for (uint64_t b = 0; b < size; ++b) bytes.push_back(static_cast<char>(random()));
    }
    world.files.push_back(std::move(bytes));
  }
  return world;
}

uint64_t ElementBytesOf(const StoredTensor& tensor) {
  return tensor.bytes / (tensor.shape[0] * tensor.shape[1]);
}

CheckedSlice RandomSlice(const StoredTensor& tensor, std::mt19937& random) {
  const uint64_t rows = tensor.shape[0];
  const uint64_t columns = tensor.shape[1];
  CheckedSlice slice = {&tensor, columns, ElementBytesOf(tensor), 0, rows, 0, columns};
  if (random() % 2 == 0) {
    slice.row_begin = random() % rows;
    slice.row_end = slice.row_begin + 1 + random() % (rows - slice.row_begin);
  }
  if (random() % 2 == 0) {
    slice.column_begin = random() % columns;
    slice.column_end = slice.column_begin + 1 + random() % (columns - slice.column_begin);
  }
  return slice;
}

std::string Expected(const World& world, const CheckedSlice& slice) {
  const std::string& file = world.files[slice.tensor->file];
  std::string bytes;
  for (uint64_t row = slice.row_begin; row < slice.row_end; ++row) {
    const uint64_t at = slice.tensor->begin +
                        (row * slice.tensor_columns + slice.column_begin) * slice.element_bytes;
    bytes += file.substr(at, slice.row_bytes());
  }
  return bytes;
}

void ReadInto(std::string& buffer, const FileRange& range, const std::string& file) {
  if (range.parts.empty()) {
    ASSERT_LE(range.buffer_offset + range.length, buffer.size());
    std::memcpy(&buffer[range.buffer_offset], &file[range.file_offset], range.length);
    return;
  }
  uint64_t at = range.file_offset;
  for (uint64_t row = 0; at < range.file_offset + range.length; ++row) {
    for (const RowPart& part : range.parts) {
      ASSERT_LE(part.buffer_offset + (row + 1) * part.bytes, buffer.size());
      std::memcpy(&buffer[part.buffer_offset + row * part.bytes], &file[at], part.bytes);
      at += part.bytes;
    }
  }
  ASSERT_EQ(at, range.file_offset + range.length) << "not whole rows";
}

// Carries out the plan and checks that it reads no byte twice and fills every slice exactly once.
void ExpectPlanServes(const World& world, const Targets& targets, const ReadPlanOptions& options) {
  const ReadPlan plan = BuildReadPlan(targets, options);
  std::vector<std::string> read;
  for (const std::string& file : world.files) read.emplace_back(file.size(), '\0');
  std::vector<std::vector<std::string>> got(targets.size());
  std::vector<std::vector<std::string>> hits(targets.size());
  for (size_t t = 0; t < targets.size(); ++t) {
    for (const CheckedSlice& slice : targets[t]) {
      got[t].emplace_back(slice.bytes(), '\0');
      hits[t].emplace_back(slice.bytes(), '\0');
    }
  }
  uint64_t read_bytes = 0;
  for (const ReadJob& job : plan.jobs) {
    ASSERT_LE(job.buffer_bytes, std::max<uint64_t>(options.job_bytes + options.page_bytes, 8));
    std::string buffer(job.buffer_bytes, '\0');
    for (const FileRange& range : job.ranges) {
      ASSERT_LE(range.file_offset + range.length, world.files[job.file].size());
      ReadInto(buffer, range, world.files[job.file]);
      for (uint64_t i = 0; i < range.length; ++i) {
        ASSERT_EQ(read[job.file][range.file_offset + i]++, 0) << "read twice";
      }
      read_bytes += range.length;
    }
    for (const Delivery& delivery : job.deliveries) {
      for (uint64_t run = 0; run < delivery.num_runs; ++run) {
        const uint64_t from = delivery.buffer_offset + run * delivery.stride;
        const uint64_t to = delivery.slice_offset + run * delivery.run_bytes;
        ASSERT_LE(from + delivery.run_bytes, buffer.size());
        ASSERT_LE(to + delivery.run_bytes, got[delivery.target][delivery.slice].size());
        for (uint64_t i = 0; i < delivery.run_bytes; ++i) {
          got[delivery.target][delivery.slice][to + i] = buffer[from + i];
          ASSERT_EQ(hits[delivery.target][delivery.slice][to + i]++, 0) << "delivered twice";
        }
      }
    }
  }
  uint64_t slice_bytes = 0;
  for (size_t t = 0; t < targets.size(); ++t) {
    for (size_t s = 0; s < targets[t].size(); ++s) {
      ASSERT_EQ(got[t][s], Expected(world, targets[t][s])) << "target " << t << " slice " << s;
      slice_bytes += got[t][s].size();
    }
  }
  EXPECT_EQ(plan.read_bytes, read_bytes);
  EXPECT_EQ(plan.slice_bytes, slice_bytes);
  EXPECT_LE(plan.needed_bytes, read_bytes);
  if (options.page_bytes == 1) {
    EXPECT_EQ(plan.needed_bytes, read_bytes);
  }
}

TEST(ReadPlan, ServesRandomWantsReadingEachByteOnce) {
  std::mt19937 random(1234);
  for (int round = 0; round < 400; ++round) {
    const World world = MakeWorld(random);
    Targets targets(1 + random() % 4);
    for (auto& slices : targets) {
      const size_t count = 1 + random() % 10;
      for (size_t i = 0; i < count; ++i) {
        slices.push_back(RandomSlice(world.tensors[random() % world.tensors.size()], random));
      }
    }
    ReadPlanOptions options;
    options.job_bytes = 8 * (1 + random() % (random() % 2 == 0 ? 20 : 5000));
    options.chunk_bytes = 1 + random() % 5000;
    options.page_bytes = random() % 2 == 0 ? 1 : 1 + random() % 200;
    ASSERT_NO_FATAL_FAILURE(ExpectPlanServes(world, targets, options)) << "round " << round;
  }
}

// Every tensor is shared out by columns, as by the ranks of a stage.
TEST(ReadPlan, ServesRandomSharesOfColumns) {
  std::mt19937 random(4321);
  size_t num_dealt = 0;
  for (int round = 0; round < 100; ++round) {
    const World world = MakeWorld(random);
    Targets targets(2 + random() % 3);
    for (const StoredTensor& tensor : world.tensors) {
      const uint64_t columns = tensor.shape[1];
      const uint64_t row_begin = random() % tensor.shape[0];
      uint64_t begin = 0;
      for (size_t t = 0; t < targets.size() && begin < columns; ++t) {
        const bool is_last = t + 1 == targets.size();
        const uint64_t end = is_last ? columns : begin + 1 + random() % (columns - begin);
        targets[t].push_back(
            {&tensor, columns, ElementBytesOf(tensor), row_begin, tensor.shape[0], begin, end});
        begin = end;
      }
    }
    ReadPlanOptions options;
    options.job_bytes = 8 * (1 + random() % 5000);
    options.page_bytes = 1 + random() % 200;
    options.min_part_bytes = 1 + random() % 20;
    ASSERT_NO_FATAL_FAILURE(ExpectPlanServes(world, targets, options)) << "round " << round;
    for (const ReadJob& job : BuildReadPlan(targets, options).jobs) {
      for (const FileRange& range : job.ranges) num_dealt += range.parts.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(num_dealt, 100u);
}

TEST(ReadPlan, ReadsReplicatedTensorsOnce) {
  const StoredTensor tensor = {"t", "BF16", {64, 64}, 0, 100, 8192};
  const CheckedSlice all = {&tensor, 64, 2, 0, 64, 0, 64};
  const ReadPlan plan = BuildReadPlan(Targets(8, {all}), {});
  EXPECT_EQ(plan.read_bytes, 8192u);
  EXPECT_EQ(plan.needed_bytes, 8192u);
  EXPECT_EQ(plan.slice_bytes, 8u * 8192);
  EXPECT_EQ(plan.jobs.size(), 1u);
}

TEST(ReadPlan, JoinsNeighboursIntoOneRead) {
  std::vector<StoredTensor> tensors;
  for (uint64_t i = 0; i < 10; ++i) {
    tensors.push_back({"t", "BF16", {1, 100}, 0, 64 + i * 200, 200});
  }
  Targets targets(1);
  for (const StoredTensor& tensor : tensors) targets[0].push_back({&tensor, 100, 2, 0, 1, 0, 100});
  const ReadPlan plan = BuildReadPlan(targets, {});
  ASSERT_EQ(plan.jobs.size(), 1u);
  ASSERT_EQ(plan.jobs[0].ranges.size(), 1u);
  EXPECT_EQ(plan.jobs[0].ranges[0].length, 2000u);
}

TEST(ReadPlan, FollowsTheWorkersOrder) {
  std::vector<StoredTensor> tensors;
  for (uint64_t i = 0; i < 4; ++i) {
    tensors.push_back({"t", "U8", {1, 1000}, 0, i * 1000, 1000});
  }
  Targets targets(1);
  for (const size_t i : {2, 0, 3, 1}) targets[0].push_back({&tensors[i], 1000, 1, 0, 1, 0, 1000});
  ReadPlanOptions options;
  options.job_bytes = 1000;
  const ReadPlan plan = BuildReadPlan(targets, options);
  ASSERT_EQ(plan.jobs.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(plan.jobs[i].deliveries[0].slice, i);
}

TEST(ReadPlan, CountsChunks) {
  const StoredTensor tensor = {"t", "U8", {10, 1000}, 0, 0, 10000};
  const CheckedSlice all = {&tensor, 1000, 1, 0, 10, 0, 1000};
  ReadPlanOptions options;
  options.chunk_bytes = 3000;
  EXPECT_EQ(BuildReadPlan({{all}}, options).num_chunks, 4u);
}

TEST(ReadPlan, OfTheDemoModelReadsWhatItNeeds) {
  const std::string folder = std::string(BATON_SOURCE_DIR) + "/tests/data/tiny-r1";
  const ModelConfig config = ParseModelConfig(ReadModelConfigText(folder).value()).value();
  const auto checkpoint = Checkpoint::Open({folder}, {}).value();
  const std::vector<StageShape> split = SplitLayers(config, 2).value();
  for (const int num_ranks : {1, 2, 8}) {
    for (const StageShape& stage : split) {
      Targets targets(static_cast<size_t>(num_ranks));
      for (int rank = 0; rank < num_ranks; ++rank) {
        for (const WeightSpec& spec : StageInventory(config, stage)) {
          const WeightSlice part = SliceOfRank(config, spec, rank, num_ranks);
          targets[static_cast<size_t>(rank)].push_back(
              {checkpoint->Find(spec.name), static_cast<uint64_t>(spec.columns), SizeOf(spec.type),
               static_cast<uint64_t>(part.row_begin), static_cast<uint64_t>(part.row_end),
               static_cast<uint64_t>(part.column_begin), static_cast<uint64_t>(part.column_end)});
        }
      }
      const ReadPlan plan = BuildReadPlan(targets, {});
      // All ranks together want every byte of the stage's tensors.
      uint64_t stage_bytes = 0;
      for (const WeightSpec& spec : StageInventory(config, stage)) {
        stage_bytes += checkpoint->Find(spec.name)->bytes;
      }
      EXPECT_EQ(plan.needed_bytes, stage_bytes);
      EXPECT_LT(static_cast<double>(plan.read_bytes), 1.005 * static_cast<double>(stage_bytes));
    }
  }
}

}  // namespace
}  // namespace baton::loader
