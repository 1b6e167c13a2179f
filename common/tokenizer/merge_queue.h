// Merges of one long word that are possible, the most important first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace baton {

// By rank, then by place. Long words repeat few pairs, so places are kept per rank: mostly they
// come in ascending order and cost a step each, where one heap over all of them would cost log n
// and a cache miss (1 MiB of blanks: five times as fast).
class MergeQueue {
 public:
  struct Candidate {
    uint32_t rank = 0;
    uint32_t place = 0;
  };

  void Push(const Candidate& candidate);
  // Takes the first off; false when there is none.
  bool Pop(Candidate* candidate);

 private:
  template <typename T>
  using LeastFirst = std::priority_queue<T, std::vector<T>, std::greater<T>>;

  struct Places {
    std::vector<uint32_t> ascending;
    size_t taken = 0;             // of `ascending`
    LeastFirst<uint32_t> others;  // those that came after a larger one
    bool active = false;          // its rank is in ranks_

    bool empty() const { return taken == ascending.size() && others.empty(); }
  };

  absl::flat_hash_map<uint32_t, Places> places_;  // by rank
  LeastFirst<uint32_t> ranks_;                    // those that have places
};

}  // namespace baton
