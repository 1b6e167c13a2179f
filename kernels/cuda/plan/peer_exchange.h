// How the devices of a team hand each other their parts: the body of one kernel that all of them
// run at the same time. Plain C++ over a `Lane`, so that host threads can run the protocol too.
//
// Each device has an exchange buffer that all others read (two slots of one part per local rank,
// then two slots of sums) and flags that all others write. What blocks tell each other carries a
// ticket, counted by each block in device memory (a captured graph counts on). With ticket t:
//
//   block b copies its range of the local parts to slot t % 2
//   block b tells block b of every device: flags[b][me] = t      (release, system scope)
//   block b awaits flags[b][d] >= t of every device d            (acquire, system scope)
//   block b reads its range of every rank's part, ranks ascending
//
// A sum in two shots goes on with ticket t + 1: each device has added up its share of the block's
// range only, and puts it into slot (t + 1) % 2 of its sums; then all read all shares. Every
// element is added up by one rule in either way, so the bits are the same.
//
// Blocks depend on blocks of their own number alone, and a grid has at most kExchangeBlocks blocks,
// which every device holds at once: no wait is for a block that has not begun. All blocks take part
// in every call, with empty ranges too. A slot that ticket t filled is filled again with ticket
// t + 2 at the earliest, behind the wait for t + 1: whoever told of t + 1 has read what t filled.
#pragma once

#include <cstdint>

#include "kernels/cuda/plan/host_device.h"

// Before a template whose parameter says where it can run.
#ifdef __CUDACC__
#define BATON_RUNS_WHERE_ITS_LANE_DOES _Pragma("nv_exec_check_disable")
#else
#define BATON_RUNS_WHERE_ITS_LANE_DOES
#endif

namespace baton::kernels::cuda {

inline constexpr int kMostDevices = 8;
inline constexpr int kMostRanks = 64;
inline constexpr int kExchangeBlocks = 64;
inline constexpr int kExchangeThreads = 256;
inline constexpr int64_t kExchangeFloats = int64_t{1} << 20;  // of one part in one slot
// Sums of more elements go in two shots. Each of eight devices reads 7 parts in one shot, 7/4 in
// two; at 450 GB/s that saves the second wait, some 4 us, from about 340 KB on.
inline constexpr int64_t kOneShotFloats = int64_t{3} << 15;

struct ExchangeView {
  int num_devices = 1;
  int me = 0;
  int num_ranks = 1;
  int first_rank[kMostDevices + 1] = {};
  float* parts[kMostDevices] = {};     // [2][local ranks][kExchangeFloats]
  float* sums[kMostDevices] = {};      // [2][kExchangeFloats]
  uint32_t* flags[kMostDevices] = {};  // [kExchangeBlocks][kMostDevices]
  uint32_t* tickets = nullptr;         // [kExchangeBlocks], this device's own

  BATON_HOST_DEVICE int local_ranks(int device) const {
    return first_rank[device + 1] - first_rank[device];
  }
  BATON_HOST_DEVICE float* part(int device, int local_rank, uint32_t ticket) const {
    return parts[device] +
           (int64_t{ticket % 2} * local_ranks(device) + local_rank) * kExchangeFloats;
  }
  BATON_HOST_DEVICE float* sum(int device, uint32_t ticket) const {
    return sums[device] + int64_t{ticket % 2} * kExchangeFloats;
  }
};

// Bytes of one device's exchange buffer: parts, sums, flags, tickets, in this order.
BATON_HOST_DEVICE constexpr int64_t ExchangeFlagsOffset(int local_ranks) {
  return 2 * (int64_t{local_ranks} + 1) * kExchangeFloats * int64_t{sizeof(float)};
}
BATON_HOST_DEVICE constexpr int64_t ExchangeBytes(int local_ranks) {
  return ExchangeFlagsOffset(local_ranks) +
         int64_t{kExchangeBlocks} * (kMostDevices + 1) * int64_t{sizeof(uint32_t)};
}

// Four elements as one, for rows that divide by four and begin where four are aligned. What a call
// moves at a time is each device's own choice: ranges are cut in fours either way.
template <typename T>
struct alignas(4 * sizeof(T)) Quad {
  T v[4];
};

template <typename Unit>
inline constexpr int64_t kUnitElements = 1;
template <typename T>
inline constexpr int64_t kUnitElements<Quad<T>> = 4;

BATON_HOST_DEVICE inline float Plus(float a, float b) { return a + b; }
BATON_HOST_DEVICE inline Quad<float> Plus(const Quad<float>& a, const Quad<float>& b) {
  return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}

// Rows of a part in units of elements or fours: `stride` units between them.
template <typename T>
struct PartRows {
  T* data = nullptr;
  int64_t columns = 0;
  int64_t stride = 0;

  BATON_HOST_DEVICE T& at(int64_t element) const {
    return data[element / columns * stride + element % columns];
  }
};

template <typename T>
struct LocalParts {
  PartRows<const T> rank[kMostRanks];
};

// Part `index` of `count` even ones of [begin, end), in fours of elements but for the end.
struct ElementRange {
  int64_t begin;
  int64_t end;

  BATON_HOST_DEVICE ElementRange Cut(int index, int count) const {
    const int64_t share = (end - begin + 4 * count - 1) / (4 * count) * 4;
    const int64_t first = begin + index * share < end ? begin + index * share : end;
    return {first, first + share < end ? first + share : end};
  }
  template <typename Unit>
  BATON_HOST_DEVICE ElementRange In() const {
    return {begin / kUnitElements<Unit>, end / kUnitElements<Unit>};
  }
};

// A Lane is a thread of a block: index() of count(), SyncBlock(), and for lane d of a block
// TellPeer(flag, ticket) and AwaitPeer(flag, ticket), which release and acquire what the whole
// block has written and will read.
BATON_RUNS_WHERE_ITS_LANE_DOES
template <typename Lane>
BATON_HOST_DEVICE inline void AwaitPeers(const Lane& lane, const ExchangeView& view, int block,
                                         uint32_t ticket) {
  lane.SyncBlock();
  for (int peer = lane.index(); peer < view.num_devices; peer += lane.count()) {
    lane.TellPeer(&view.flags[peer][block * kMostDevices + view.me], ticket);
  }
  for (int peer = lane.index(); peer < view.num_devices; peer += lane.count()) {
    lane.AwaitPeer(&view.flags[view.me][block * kMostDevices + peer], ticket);
  }
  lane.SyncBlock();
}

// Copies the block's range of the local parts out and awaits the others'. Returns the ticket.
BATON_RUNS_WHERE_ITS_LANE_DOES
template <typename Lane, typename Unit>
BATON_HOST_DEVICE inline uint32_t PublishParts(const Lane& lane, const ExchangeView& view,
                                               const LocalParts<Unit>& local, int64_t first,
                                               const ElementRange& range, int block) {
  const uint32_t ticket = view.tickets[block] + 1;
  const ElementRange units = range.In<Unit>();
  const int64_t first_unit = first / kUnitElements<Unit>;
  for (int i = 0; i < view.local_ranks(view.me); ++i) {
    Unit* to = reinterpret_cast<Unit*>(view.part(view.me, i, ticket));
    for (int64_t u = units.begin + lane.index(); u < units.end; u += lane.count()) {
      to[u - first_unit] = local.rank[i].at(u);
    }
  }
  AwaitPeers(lane, view, block, ticket);
  return ticket;
}

// Unit `at` of all ranks' parts, ascending.
template <typename Unit>
BATON_HOST_DEVICE inline Unit SumOfParts(const ExchangeView& view, uint32_t ticket, int64_t at) {
  Unit sum = {};
  for (int device = 0; device < view.num_devices; ++device) {
    for (int i = 0; i < view.local_ranks(device); ++i) {
      const Unit value = reinterpret_cast<const Unit*>(view.part(device, i, ticket))[at];
      sum = device == 0 && i == 0 ? value : Plus(sum, value);
    }
  }
  return sum;
}

// out = sum over all ranks of the elements [first, first + count), at most kExchangeFloats, of
// which `first` is a multiple. Units are float or fours of them.
BATON_RUNS_WHERE_ITS_LANE_DOES
template <typename Lane, typename Unit>
BATON_HOST_DEVICE inline void SumPartsBody(const Lane& lane, const ExchangeView& view,
                                           const LocalParts<Unit>& local, const PartRows<Unit>& out,
                                           int64_t first, int64_t count, int block,
                                           bool two_shots) {
  const ElementRange range = ElementRange{first, first + count}.Cut(block, kExchangeBlocks);
  const int64_t first_unit = first / kUnitElements<Unit>;
  uint32_t ticket = PublishParts(lane, view, local, first, range, block);
  if (!two_shots) {
    const ElementRange units = range.In<Unit>();
    for (int64_t u = units.begin + lane.index(); u < units.end; u += lane.count()) {
      out.at(u) = SumOfParts<Unit>(view, ticket, u - first_unit);
    }
  } else {
    const ElementRange mine = range.Cut(view.me, view.num_devices).In<Unit>();
    Unit* sums = reinterpret_cast<Unit*>(view.sum(view.me, ticket + 1));
    for (int64_t u = mine.begin + lane.index(); u < mine.end; u += lane.count()) {
      sums[u - first_unit] = SumOfParts<Unit>(view, ticket, u - first_unit);
    }
    ++ticket;
    AwaitPeers(lane, view, block, ticket);
    for (int device = 0; device < view.num_devices; ++device) {
      const ElementRange share = range.Cut(device, view.num_devices).In<Unit>();
      const Unit* theirs = reinterpret_cast<const Unit*>(view.sum(device, ticket));
      for (int64_t u = share.begin + lane.index(); u < share.end; u += lane.count()) {
        out.at(u) = theirs[u - first_unit];
      }
    }
  }
  if (lane.index() == 0) view.tickets[block] = ticket;
}

// Rank r's elements to columns r * columns and on of `out`; `out`, its stride and `columns` in
// units, `first` and `count` in elements as above.
BATON_RUNS_WHERE_ITS_LANE_DOES
template <typename Lane, typename Unit>
BATON_HOST_DEVICE inline void GatherPartsBody(const Lane& lane, const ExchangeView& view,
                                              const LocalParts<Unit>& local, Unit* out,
                                              int64_t out_stride, int64_t columns, int64_t first,
                                              int64_t count, int block) {
  const ElementRange range = ElementRange{first, first + count}.Cut(block, kExchangeBlocks);
  const ElementRange units = range.In<Unit>();
  const int64_t first_unit = first / kUnitElements<Unit>;
  const uint32_t ticket = PublishParts(lane, view, local, first, range, block);
  for (int device = 0; device < view.num_devices; ++device) {
    for (int i = 0; i < view.local_ranks(device); ++i) {
      const Unit* part = reinterpret_cast<const Unit*>(view.part(device, i, ticket));
      const int64_t shift = (view.first_rank[device] + i) * columns;
      for (int64_t u = units.begin + lane.index(); u < units.end; u += lane.count()) {
        out[u / columns * out_stride + shift + u % columns] = part[u - first_unit];
      }
    }
  }
  if (lane.index() == 0) view.tickets[block] = ticket;
}

}  // namespace baton::kernels::cuda

#undef BATON_RUNS_WHERE_ITS_LANE_DOES
