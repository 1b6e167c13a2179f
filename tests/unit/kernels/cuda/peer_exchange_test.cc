#include "kernels/cuda/plan/peer_exchange.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

// One thread stands for all threads of a block; it runs the blocks of its device one by one, which
// the protocol allows: they wait for blocks of their own number alone.
struct HostLane {
  static int index() { return 0; }
  static int count() { return 1; }
  static void SyncBlock() {}
  static void TellPeer(uint32_t* flag, uint32_t ticket) {
    std::atomic_ref<uint32_t>(*flag).store(ticket, std::memory_order_release);
  }
  static void AwaitPeer(uint32_t* flag, uint32_t ticket) {
    const std::atomic_ref<uint32_t> word(*flag);
    while (static_cast<int32_t>(word.load(std::memory_order_acquire) - ticket) < 0) {
      std::this_thread::yield();
    }
  }
};

// A team whose devices are threads.
class HostTeam {
 public:
  explicit HostTeam(const std::vector<int>& ranks_of_devices, uint32_t first_ticket = 0) {
    ExchangeView view;
    view.num_devices = static_cast<int>(ranks_of_devices.size());
    for (int d = 0; d < view.num_devices; ++d) {
      view.first_rank[d] = view.num_ranks = d == 0 ? 0 : view.num_ranks;
      view.num_ranks += ranks_of_devices[d];
    }
    view.first_rank[view.num_devices] = view.num_ranks;
    for (int d = 0; d < view.num_devices; ++d) {
      const int ranks = view.local_ranks(d);
      memory_.push_back(std::make_unique<uint32_t[]>(ExchangeBytes(ranks) / sizeof(uint32_t)));
      view.parts[d] = reinterpret_cast<float*>(memory_[d].get());
      view.sums[d] = view.parts[d] + 2 * ranks * kExchangeFloats;
      view.flags[d] = memory_[d].get() + ExchangeFlagsOffset(ranks) / sizeof(uint32_t);
      uint32_t* words = view.flags[d];
      for (int i = 0; i < kExchangeBlocks * (kMostDevices + 1); ++i) words[i] = first_ticket;
    }
    for (int d = 0; d < view.num_devices; ++d) {
      view.me = d;
      view.tickets = view.flags[d] + kExchangeBlocks * kMostDevices;
      views_.push_back(view);
    }
  }

  int num_ranks() const { return views_[0].num_ranks; }
  const std::vector<ExchangeView>& views() const { return views_; }

  // One call of body(view, block) on all devices at once.
  template <typename Body>
  void Run(const Body& body) const {
    std::vector<std::thread> threads;
    for (const ExchangeView& view : views_) {
      threads.emplace_back([&body, &view] {
        for (int block = 0; block < kExchangeBlocks; ++block) body(view, block);
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

 private:
  std::vector<std::unique_ptr<uint32_t[]>> memory_;
  std::vector<ExchangeView> views_;
};

// Parts whose sum depends on its order.
std::vector<std::vector<float>> PartsOf(int num_ranks, int64_t count, int call) {
  std::vector<std::vector<float>> parts(num_ranks);
  for (int rank = 0; rank < num_ranks; ++rank) {
    for (int64_t e = 0; e < count; ++e) {
      const auto mixed = static_cast<uint32_t>(e * 2654435761u + rank * 40503u + call * 977u);
      parts[rank].push_back(static_cast<float>(mixed % 8191) / 7.0f - 500.0f);
    }
  }
  return parts;
}

template <typename Unit>
LocalParts<Unit> LocalOf(const ExchangeView& view, const std::vector<std::vector<float>>& parts,
                         int64_t columns) {
  const int64_t units = columns / kUnitElements<Unit>;
  LocalParts<Unit> local;
  for (int i = 0; i < view.local_ranks(view.me); ++i) {
    const float* data = parts[view.first_rank[view.me] + i].data();
    local.rank[i] = {reinterpret_cast<const Unit*>(data), units, units};
  }
  return local;
}

enum class Width { kOnes, kFours, kEachItsOwn };

bool TakesFours(Width width, const ExchangeView& view) {
  return width == Width::kFours || (width == Width::kEachItsOwn && view.me % 2 == 1);
}

template <typename Unit>
void Sum(const ExchangeView& view, const std::vector<std::vector<float>>& parts, int64_t columns,
         std::vector<float>& out, int block, bool two_shots) {
  const int64_t units = columns / kUnitElements<Unit>;
  SumPartsBody(HostLane(), view, LocalOf<Unit>(view, parts, columns),
               PartRows<Unit>{reinterpret_cast<Unit*>(out.data()), units, units}, 0,
               static_cast<int64_t>(out.size()), block, two_shots);
}

// Calls of several sizes one after the other, in the order given; every device's result.
void ExpectSums(const HostTeam& team, const std::vector<int64_t>& counts,
                const std::vector<bool>& two_shots, Width width = Width::kOnes) {
  constexpr int64_t kColumns = 12;
  for (size_t call = 0; call < counts.size(); ++call) {
    const int64_t count = counts[call];
    const bool twice = two_shots[call % two_shots.size()];
    const auto parts = PartsOf(team.num_ranks(), count, static_cast<int>(call));
    std::vector<std::vector<float>> outs(kMostDevices, std::vector<float>(count));
    team.Run([&](const ExchangeView& view, int block) {
      if (TakesFours(width, view)) {
        Sum<Quad<float>>(view, parts, kColumns, outs[view.me], block, twice);
      } else {
        Sum<float>(view, parts, kColumns, outs[view.me], block, twice);
      }
    });
    std::vector<float> expected = parts[0];
    for (int rank = 1; rank < team.num_ranks(); ++rank) {
      for (int64_t e = 0; e < count; ++e) expected[e] += parts[rank][e];
    }
    team.Run([&](const ExchangeView& view, int block) {
      if (block == 0) {
        EXPECT_EQ(outs[view.me], expected) << "device " << view.me;
      }
    });
  }
}

TEST(PeerExchange, AddsInRankOrderInOneShot) {
  ExpectSums(HostTeam({1, 1, 1, 1}), {1200, 12, 60, 1200, 2400}, {false});
  ExpectSums(HostTeam({3, 2, 2, 1}), {1200, 12, 1200}, {false});
}

TEST(PeerExchange, AddsInTheSameOrderInTwoShots) {
  ExpectSums(HostTeam({1, 1, 1, 1}), {1200, 12, 60, 1200, 2400}, {true});
  ExpectSums(HostTeam({3, 2, 2, 1}), {1200, 12, 1200}, {true});
}

TEST(PeerExchange, AddsFoursInTheSameOrder) {
  for (const bool two_shots : {false, true}) {
    for (const Width width : {Width::kFours, Width::kEachItsOwn}) {
      ExpectSums(HostTeam({1, 1, 1, 1}), {1200, 12, 60, 1200, 2400}, {two_shots}, width);
      ExpectSums(HostTeam({3, 2, 2, 1}), {1200, 12, 1200}, {two_shots}, width);
    }
  }
}

TEST(PeerExchange, MixesBothWays) {
  ExpectSums(HostTeam({1, 2, 1}), std::vector<int64_t>(40, 360), {true, false, false, true, true});
}

TEST(PeerExchange, CountsOverTheEndOfItsTickets) {
  ExpectSums(HostTeam({1, 1}, 0xfffffffau), std::vector<int64_t>(12, 240), {false, true});
}

template <typename Unit>
void Gather(const ExchangeView& view, const std::vector<std::vector<float>>& parts, int64_t columns,
            std::vector<float>& out, int block) {
  const int64_t units = columns / kUnitElements<Unit>;
  GatherPartsBody(HostLane(), view, LocalOf<Unit>(view, parts, columns),
                  reinterpret_cast<Unit*>(out.data()), view.num_ranks * units, units, 0,
                  static_cast<int64_t>(parts[0].size()), block);
}

void ExpectGathers(int64_t columns, Width width) {
  const HostTeam team({2, 1, 2});
  constexpr int64_t kRows = 40;
  const auto parts = PartsOf(5, kRows * columns, 0);
  std::vector<std::vector<float>> outs(3, std::vector<float>(kRows * 5 * columns));
  for (int call = 0; call < 3; ++call) {
    team.Run([&](const ExchangeView& view, int block) {
      if (TakesFours(width, view)) {
        Gather<Quad<float>>(view, parts, columns, outs[view.me], block);
      } else {
        Gather<float>(view, parts, columns, outs[view.me], block);
      }
    });
  }
  for (const std::vector<float>& out : outs) {
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t column = 0; column < 5 * columns; ++column) {
        ASSERT_EQ(out[row * 5 * columns + column],
                  parts[column / columns][row * columns + column % columns]);
      }
    }
  }
}

TEST(PeerExchange, GathersColumnsOfUnevenDevices) { ExpectGathers(5, Width::kOnes); }

TEST(PeerExchange, GathersColumnsInFours) {
  ExpectGathers(8, Width::kFours);
  ExpectGathers(8, Width::kEachItsOwn);
}

// One block of one device as a thread of its own. It yields at random, and with `holds` it is late:
// before it reads what a ticket brought, it waits until all others have published their parts of
// the next one.
class LateLane {
 public:
  LateLane(const ExchangeView& view, int block, unsigned seed)
      : view_(view), block_(block), random_(seed) {}

  void Hold(bool holds) { holds_ = holds; }
  static int index() { return 0; }
  static int count() { return 1; }
  void SyncBlock() const {
    Yield();
    if (!awaited_) return;
    awaited_ = false;
    if (!holds_) return;
    for (int peer = 0; peer < view_.num_devices; ++peer) {
      if (peer == view_.me) continue;
      HostLane::AwaitPeer(&view_.flags[view_.me][block_ * kMostDevices + peer], ticket_ + 1);
    }
  }
  void TellPeer(uint32_t* flag, uint32_t ticket) const {
    Yield();
    HostLane::TellPeer(flag, ticket);
  }
  void AwaitPeer(uint32_t* flag, uint32_t ticket) const {
    HostLane::AwaitPeer(flag, ticket);
    awaited_ = true;
    ticket_ = ticket;
  }

 private:
  void Yield() const {
    for (unsigned i = random_() % 4; i > 0; --i) std::this_thread::yield();
  }

  const ExchangeView& view_;
  const int block_;
  bool holds_ = false;
  // The bodies take their lanes as constant.
  mutable std::minstd_rand random_;
  mutable bool awaited_ = false;
  mutable uint32_t ticket_ = 0;
};

enum class CallKind { kOneShot, kTwoShots, kGather };

struct ExchangeCall {
  CallKind kind = CallKind::kOneShot;
  int64_t count = 0;  // of a part
};

constexpr int64_t kCallColumns = 12;

template <typename Unit>
void RunCall(const LateLane& lane, const ExchangeView& view, int block, const ExchangeCall& call,
             const std::vector<std::vector<float>>& parts, std::vector<float>& out) {
  const auto local = LocalOf<Unit>(view, parts, kCallColumns);
  const int64_t columns = kCallColumns / kUnitElements<Unit>;
  Unit* data = reinterpret_cast<Unit*>(out.data());
  if (call.kind == CallKind::kGather) {
    GatherPartsBody(lane, view, local, data, view.num_ranks * columns, columns, 0, call.count,
                    block);
  } else {
    SumPartsBody(lane, view, local, PartRows<Unit>{data, columns, columns}, 0, call.count, block,
                 call.kind == CallKind::kTwoShots);
  }
}

std::vector<float> ResultOf(const ExchangeCall& call,
                            const std::vector<std::vector<float>>& parts) {
  std::vector<float> result;
  if (call.kind == CallKind::kGather) {
    for (int64_t first = 0; first < call.count; first += kCallColumns) {
      for (const std::vector<float>& part : parts) {
        result.insert(result.end(), part.begin() + first, part.begin() + first + kCallColumns);
      }
    }
    return result;
  }
  result = parts[0];
  for (size_t rank = 1; rank < parts.size(); ++rank) {
    for (int64_t e = 0; e < call.count; ++e) result[e] += parts[rank][e];
  }
  return result;
}

// All calls back to back on every device, each block a thread, nothing but the protocol between
// the devices. As in a stream, a device's call begins when its last one has ended in all blocks.
// Call by call another device is late. The results are compared at the end.
void ExpectCallsBackToBack(const std::vector<int>& ranks_of_devices,
                           const std::vector<ExchangeCall>& calls) {
  const HostTeam team(ranks_of_devices, 0xffffffe0u);
  const auto num_devices = static_cast<int>(ranks_of_devices.size());
  std::vector<std::vector<std::vector<float>>> parts;              // [call][rank]
  std::vector<std::vector<float>> expected;                        // [call]
  std::vector<std::vector<std::vector<float>>> outs(num_devices);  // [device][call]
  for (size_t call = 0; call < calls.size(); ++call) {
    parts.push_back(PartsOf(team.num_ranks(), calls[call].count, static_cast<int>(call)));
    expected.push_back(ResultOf(calls[call], parts.back()));
    for (auto& out : outs) out.emplace_back(expected.back().size());
  }
  std::vector<std::unique_ptr<std::barrier<>>> streams;
  for (int d = 0; d < num_devices; ++d) {
    streams.push_back(std::make_unique<std::barrier<>>(kExchangeBlocks));
  }
  std::vector<std::thread> blocks;
  for (const ExchangeView& view : team.views()) {
    for (int block = 0; block < kExchangeBlocks; ++block) {
      blocks.emplace_back([&, block] {
        LateLane lane(view, block, static_cast<unsigned>(view.me * kExchangeBlocks + block + 1));
        for (size_t call = 0; call < calls.size(); ++call) {
          // Nothing is published behind the last call.
          lane.Hold(static_cast<int>(call) % num_devices == view.me && call + 1 < calls.size());
          std::vector<float>& out = outs[view.me][call];
          if (view.me % 2 == 1) {
            RunCall<Quad<float>>(lane, view, block, calls[call], parts[call], out);
          } else {
            RunCall<float>(lane, view, block, calls[call], parts[call], out);
          }
          streams[view.me]->arrive_and_wait();
        }
      });
    }
  }
  for (std::thread& block : blocks) block.join();
  for (int d = 0; d < num_devices; ++d) {
    for (size_t call = 0; call < calls.size(); ++call) {
      EXPECT_EQ(outs[d][call], expected[call]) << "device " << d << ", call " << call;
    }
  }
}

// What a late device still reads stays as it is while the others go on to the next call.
TEST(PeerExchange, KeepsWhatALateDeviceHasYetToRead) {
  std::vector<ExchangeCall> calls;
  for (const int64_t count : {1200, 12, 3072, 240, 12, 1200, 768, 6144, 60, 768, 768}) {
    for (const CallKind kind : {CallKind::kOneShot, CallKind::kTwoShots, CallKind::kGather}) {
      calls.push_back({kind, count});
    }
  }
  ExpectCallsBackToBack({1, 1}, calls);
  // Neighbours of one kind, and other lengths for each kind.
  std::stable_sort(calls.begin() + 6, calls.end(),
                   [](const ExchangeCall& a, const ExchangeCall& b) { return a.kind < b.kind; });
  ExpectCallsBackToBack({2, 1, 1}, calls);
}

TEST(PeerExchange, CutsEveryElementOnce) {
  for (const int64_t count : {0, 1, 63, 64, 65, 1000}) {
    int64_t next = 7;
    for (int block = 0; block < kExchangeBlocks; ++block) {
      const ElementRange range = ElementRange{7, 7 + count}.Cut(block, kExchangeBlocks);
      EXPECT_TRUE((range.begin - 7) % 4 == 0 || range.begin == 7 + count);
      for (int device = 0; device < 3; ++device) {
        const ElementRange share = range.Cut(device, 3);
        if (share.begin == share.end) continue;
        EXPECT_EQ(share.begin, next);
        next = share.end;
      }
    }
    EXPECT_EQ(next, 7 + count);
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
