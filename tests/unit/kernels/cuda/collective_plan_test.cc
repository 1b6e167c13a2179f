#include "kernels/cuda/plan/collective_plan.h"

#include <algorithm>
#include <vector>

#include "gtest/gtest.h"

#include "tests/unit/kernels/cuda/walked_launches.h"

namespace baton::kernels::cuda {
namespace {

TEST(CollectivePlan, LaunchesOfEveryModelFitTheDevice) {
  for (const ModelShape& model : kModelShapes) {
    for (const int64_t tokens : kStepTokens) {
      // Sums of rows of the stream; gathers of logits, in elements and in fours of them.
      for (const int64_t columns : {model.hidden, model.vocabulary / model.ranks}) {
        ExpectFits(model.name, UnitsLaunch(tokens * columns));
        ExpectFits(model.name, UnitsLaunch(tokens * columns / 4));
      }
    }
  }
  ExpectFits("NCCL", UnitsLaunch(kNcclChunkFloats));
  ExpectFits("exchange", ExchangeLaunch());
  EXPECT_EQ(ExchangeLaunch().grid_x, kExchangeBlocks);
  EXPECT_TRUE(UnitsLaunch(0).empty());
  EXPECT_FALSE(CheckLaunch("sum", UnitsLaunch(int64_t{1} << 40), kAnyDevice).ok());
}

TEST(CollectivePlan, EveryUnitHasAThread) {
  for (const int64_t units : {1, 255, 256, 257, 7168, 100000}) {
    Visits visits(units);
    ForEachThread(UnitsLaunch(units), [&](const LaunchThread& thread) {
      if (UnitOf(thread) < units) visits.Add(UnitOf(thread));
    });
    visits.ExpectOnceEach("units");
  }
}

TEST(CollectivePlan, CallsAndChunksCutEveryElementOnce) {
  for (const int64_t count : {int64_t{0}, int64_t{1}, kExchangeFloats - 1, kExchangeFloats,
                              kExchangeFloats + 1, kNcclChunkFloats + 5, int64_t{8192} * 7168}) {
    int64_t next = 0;
    for (const int64_t first : ExchangeCalls(count)) {
      EXPECT_EQ(first, next);
      EXPECT_EQ(first % kExchangeFloats, 0);
      EXPECT_LE(ExchangeCallLength(first, count), kExchangeFloats);
      next += ExchangeCallLength(first, count);
    }
    EXPECT_EQ(next, count);
    next = 0;
    for (const int64_t first : NcclChunks(count)) {
      EXPECT_EQ(first, next);
      next += NcclChunkLength(first, count);
    }
    EXPECT_EQ(next, count);
  }
}

TEST(CollectivePlan, SharesOfAChunkFitTheRoomOfItsParts) {
  for (int devices = 1; devices <= kMostDevices; ++devices) {
    for (const int64_t length :
         {int64_t{1}, kOneShotFloats + 1, int64_t{7168} * 37, kNcclChunkFloats}) {
      const int64_t share = NcclShare(length, devices);
      EXPECT_EQ(share * devices, NcclPitch(length, devices));
      EXPECT_GE(NcclPitch(length, devices), length);
      EXPECT_LT(NcclPitch(length, devices) - length, devices);
      EXPECT_LE(NcclPitch(length, devices), NcclRowRoom(devices));
      EXPECT_LE(share, NcclShare(kNcclChunkFloats, devices));
    }
  }
}

// Values whose sums depend on their order.
std::vector<float> PartOf(int rank, int64_t rows, int64_t stride) {
  std::vector<float> part;
  for (int64_t e = 0; e < rows * stride; ++e) {
    const auto mixed = static_cast<uint32_t>(e * 2654435761u + rank * 40503u);
    part.push_back(static_cast<float>(mixed % 8191) / 7.0f - 500.0f);
  }
  return part;
}

struct Ranks {
  Ranks(int count, int64_t row_count, int64_t column_count)
      : rows(row_count), columns(column_count), stride(column_count + 4) {
    for (int r = 0; r < count; ++r) parts.push_back(PartOf(r, rows, stride));
  }

  template <typename Unit>
  LocalParts<Unit> Local(int begin, int end) const {
    LocalParts<Unit> local;
    for (int r = begin; r < end; ++r) {
      local.rank[r - begin] = {reinterpret_cast<const Unit*>(parts[r].data()),
                               columns / kUnitElements<Unit>, stride / kUnitElements<Unit>};
    }
    return local;
  }
  int count() const { return static_cast<int>(parts.size()); }
  int64_t elements() const { return rows * columns; }

  // [rows, columns] in rank order, and [rows, count * columns].
  std::vector<float> Sum() const {
    std::vector<float> sum;
    for (int64_t e = 0; e < elements(); ++e) {
      const int64_t at = e / columns * stride + e % columns;
      float value = parts[0][at];
      for (int r = 1; r < count(); ++r) value += parts[r][at];
      sum.push_back(value);
    }
    return sum;
  }
  std::vector<float> Gathered() const {
    std::vector<float> all;
    for (int64_t row = 0; row < rows; ++row) {
      for (const std::vector<float>& part : parts) {
        const auto begin = part.begin() + row * stride;
        all.insert(all.end(), begin, begin + columns);
      }
    }
    return all;
  }

  int64_t rows;
  int64_t columns;
  int64_t stride;
  std::vector<std::vector<float>> parts;
};

template <typename Unit>
void ExpectLocalSumsAndGathers(const Ranks& ranks) {
  const int64_t units = ranks.elements() / kUnitElements<Unit>;
  const int64_t columns = ranks.columns / kUnitElements<Unit>;
  const LocalParts<Unit> local = ranks.Local<Unit>(0, ranks.count());
  std::vector<float> sum(ranks.elements());
  std::vector<float> all(ranks.elements() * ranks.count());
  ForEachThread(UnitsLaunch(units), [&](const LaunchThread& thread) {
    const int64_t u = UnitOf(thread);
    if (u >= units) return;
    SumLocalUnit(local, ranks.count(),
                 PartRows<Unit>{reinterpret_cast<Unit*>(sum.data()), columns, columns}, u);
    GatherLocalUnit(local, ranks.count(), reinterpret_cast<Unit*>(all.data()),
                    ranks.count() * columns, columns, u);
  });
  EXPECT_EQ(sum, ranks.Sum());
  EXPECT_EQ(all, ranks.Gathered());
}

TEST(CollectivePlan, OneDeviceAddsAndGathersItsRanksInOrder) {
  ExpectLocalSumsAndGathers<float>(Ranks(8, 3, 37));
  ExpectLocalSumsAndGathers<float>(Ranks(1, 1, 1));
  ExpectLocalSumsAndGathers<Quad<float>>(Ranks(8, 5, 36));
  ExpectLocalSumsAndGathers<Quad<float>>(Ranks(64, 1, 4));
}

// What two shots through NCCL do to a chunk: devices hold ranks first_rank[d] to first_rank[d + 1],
// copies stand for what NCCL carries.
std::vector<float> SumInShares(const Ranks& ranks, const std::vector<int>& first_rank,
                               int64_t first, int64_t length) {
  const int devices = static_cast<int>(first_rank.size()) - 1;
  const int64_t share = NcclShare(length, devices);
  const int64_t pitch = NcclPitch(length, devices);
  std::vector<std::vector<float>> sent(devices);
  for (int d = 0; d < devices; ++d) {
    const int local = first_rank[d + 1] - first_rank[d];
    sent[d].assign(local * pitch, 1e30f);  // what an earlier step left
    const auto parts = ranks.Local<float>(first_rank[d], first_rank[d + 1]);
    for (int64_t e = 0; e < length; ++e) PackElement(parts, local, sent[d].data(), pitch, first, e);
  }
  std::vector<float> gathered;
  for (int d = 0; d < devices; ++d) {
    std::vector<float> arrived;  // [ranks][share]
    for (int peer = 0; peer < devices; ++peer) {
      for (int i = 0; i < first_rank[peer + 1] - first_rank[peer]; ++i) {
        const auto begin = sent[peer].begin() + i * pitch + d * share;
        arrived.insert(arrived.end(), begin, begin + share);
      }
    }
    std::vector<float> sums(share);
    const PartRows<float> out = {sums.data(), share, share};
    for (int64_t e = 0; e < share; ++e) SumElement(arrived.data(), ranks.count(), share, out, 0, e);
    gathered.insert(gathered.end(), sums.begin(), sums.end());
  }
  return gathered;
}

TEST(CollectivePlan, NcclAddsInRankOrderWhateverItsShares) {
  const Ranks ranks(8, 7, 31);
  const std::vector<std::vector<int>> teams = {{0, 8}, {0, 3, 8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}};
  for (const std::vector<int>& first_rank : teams) {
    std::vector<float> out(ranks.elements());
    for (int64_t first = 0; first < ranks.elements(); first += 50) {
      const int64_t length = std::min<int64_t>(50, ranks.elements() - first);
      const std::vector<float> gathered = SumInShares(ranks, first_rank, first, length);
      const PartRows<float> rows = {out.data(), ranks.columns, ranks.columns};
      for (int64_t e = 0; e < length; ++e) SumElement(gathered.data(), 1, 0, rows, first, e);
    }
    EXPECT_EQ(out, ranks.Sum());
  }
}

TEST(CollectivePlan, NcclSpreadsChunksOverTheColumnsOfTheirRanks) {
  const Ranks ranks(5, 6, 13);
  std::vector<float> out(ranks.elements() * ranks.count());
  for (int64_t first = 0; first < ranks.elements(); first += 17) {
    const int64_t length = std::min<int64_t>(17, ranks.elements() - first);
    std::vector<float> arrived(length * ranks.count());
    const auto parts = ranks.Local<float>(0, ranks.count());
    for (int64_t e = 0; e < length; ++e) {
      PackElement(parts, ranks.count(), arrived.data(), length, first, e);
    }
    for (int64_t e = 0; e < length; ++e) {
      SpreadElement(arrived.data(), ranks.count(), length, out.data(),
                    ranks.count() * ranks.columns, ranks.columns, first, e);
    }
  }
  EXPECT_EQ(out, ranks.Gathered());
}

}  // namespace
}  // namespace baton::kernels::cuda
