#include "services/scheduler/core/block_ledger.h"

#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>

#include "gtest/gtest.h"

#include "tests/unit/services/scheduler/core/sequences.h"

namespace baton::scheduler {
namespace {

TEST(BlockLedger, GivesWholeBlocksForTokens) {
  BlockLedger ledger(10, 64);
  EXPECT_EQ(ledger.Grow(1, 1)->size(), 1u);
  EXPECT_EQ(ledger.Grow(1, 64)->size(), 0u);
  EXPECT_EQ(ledger.Grow(1, 65)->size(), 1u);
  EXPECT_EQ(ledger.Grow(1, 640)->size(), 8u);
  EXPECT_EQ(ledger.num_free(), 0u);
  EXPECT_EQ(ledger.capacity_tokens(), 640u);
}

TEST(BlockLedger, RefusesWhenTooFewAreFreeAndChangesNothing) {
  BlockLedger ledger(3, 64);
  ASSERT_TRUE(ledger.Grow(1, 128).has_value());
  EXPECT_FALSE(ledger.Grow(2, 65).has_value());
  EXPECT_EQ(ledger.num_free(), 1u);
  EXPECT_EQ(ledger.num_tables(), 1u);
  EXPECT_TRUE(ledger.Grow(2, 64).has_value());
}

TEST(BlockLedger, ReleaseFreesAllOnce) {
  BlockLedger ledger(4, 16);
  ASSERT_TRUE(ledger.Grow(1, 40).has_value());
  ledger.Release(1);
  ledger.Release(1);
  EXPECT_EQ(ledger.num_used(), 0u);
  EXPECT_EQ(ledger.Table(1).size(), 0u);
}

TEST(BlockLedger, HandsOutTheLongestFreeFirst) {
  BlockLedger ledger(3, 1);
  ASSERT_EQ(ledger.Grow(1, 1)->front(), 0u);
  ledger.Release(1);
  EXPECT_EQ(ledger.Grow(2, 2), (std::vector<BlockId>{1, 2}));
}

TEST(BlockLedger, NeverGivesABlockTwice) {
  std::mt19937 random(7);
  BlockLedger ledger(50, 8);
  std::vector<uint64_t> wanted(20, 0);
  for (int i = 0; i < 5000; ++i) {
    const SequenceId id = random() % wanted.size();
    if (random() % 4 == 0) {
      ledger.Release(id);
      wanted[id] = 0;
    } else if (ledger.Grow(id, wanted[id] + random() % 20).has_value()) {
      wanted[id] = ledger.Table(id).size() * 8;
    }
    std::set<BlockId> seen;
    size_t held = 0;
    for (SequenceId each = 0; each < wanted.size(); ++each) {
      seen.insert(ledger.Table(each).begin(), ledger.Table(each).end());
      held += ledger.Table(each).size();
    }
    ASSERT_EQ(seen.size(), held);
    ASSERT_EQ(ledger.num_used(), held);
  }
}

constexpr uint32_t kBlockTokens = 4;

// A ledger that finds blocks, and sequences that are computed to their end at once.
class PrefixLedger : public testing::Test {
 protected:
  explicit PrefixLedger(uint32_t num_blocks = 8)
      : ledger_(num_blocks, kBlockTokens, BlockHasher(kBlockTokens, "secret")) {}

  Sequence& Make(SequenceId id, std::vector<TokenId> tokens, std::string salt = "") {
    SequenceRequest request;
    request.id = id;
    request.prompt = std::move(tokens);
    request.cache_salt = std::move(salt);
    sequences_[id] = std::make_unique<Sequence>(std::move(request), id);
    return *sequences_[id];
  }
  // Blocks for all of its tokens, which are computed; how many of the blocks were found.
  size_t Compute(Sequence* sequence) {
    const CachedPrefix prefix = ledger_.FindPrefix(sequence);
    if (!ledger_.Begin(sequence->id(), prefix, sequence->num_tokens()).has_value()) return 0;
    sequence->Begin(static_cast<uint32_t>(prefix.blocks.size()) * kBlockTokens);
    sequence->Advance(sequence->num_to_compute(), 1);
    ledger_.Record(sequence);
    return prefix.blocks.size();
  }
  static std::vector<TokenId> Tokens(uint32_t count, TokenId first = 10) {
    std::vector<TokenId> tokens;
    for (uint32_t i = 0; i < count; ++i) tokens.push_back(first + i);
    return tokens;
  }

  BlockLedger ledger_;
  std::map<SequenceId, std::unique_ptr<Sequence>> sequences_;
};

TEST_F(PrefixLedger, SharesFullBlocksAndNeverTheLastToken) {
  EXPECT_EQ(Compute(&Make(1, Tokens(9))), 0u);  // blocks 0 and 1 are full
  EXPECT_EQ(Compute(&Make(2, Tokens(9))), 2u);
  EXPECT_EQ(Compute(&Make(3, Tokens(8))), 1u);  // its last token is to be computed
  EXPECT_EQ(Compute(&Make(4, Tokens(4))), 0u);
  EXPECT_EQ(ledger_.Table(2), (std::vector<BlockId>{0, 1, 3}));
  EXPECT_EQ(ledger_.Table(3), (std::vector<BlockId>{0, 4}));
  EXPECT_EQ(ledger_.num_holders(0), 3u);
  EXPECT_EQ(ledger_.num_used(), 6u);
}

TEST_F(PrefixLedger, FindsTheBlocksOfAPromptThatIsOrderedInPart) {
  Sequence& sequence = Make(1, Tokens(12));
  ASSERT_TRUE(ledger_.Begin(1, {}, 12).has_value());
  sequence.Begin(0);
  sequence.Advance(7, 1);
  ledger_.Record(&sequence);
  EXPECT_EQ(ledger_.FindPrefix(&Make(2, Tokens(12))).blocks, (std::vector<BlockId>{0}));
  sequence.Advance(5, 2);
  ledger_.Record(&sequence);
  EXPECT_EQ(ledger_.FindPrefix(sequences_[2].get()).blocks, (std::vector<BlockId>{0, 1}));
}

TEST_F(PrefixLedger, RecordsTheTokensOfAnAnswer) {
  Sequence& sequence = Make(1, Tokens(3));
  Compute(&sequence);
  sequence.AppendToken(13);
  ASSERT_TRUE(ledger_.Grow(1, 4).has_value());
  sequence.Advance(1, 2);
  ledger_.Record(&sequence);
  EXPECT_EQ(ledger_.FindPrefix(&Make(2, Tokens(6))).blocks, (std::vector<BlockId>{0}));
}

TEST_F(PrefixLedger, SeparatesSalts) {
  Compute(&Make(1, Tokens(9), "a"));
  EXPECT_EQ(Compute(&Make(2, Tokens(9), "b")), 0u);
  EXPECT_EQ(Compute(&Make(3, Tokens(9), "a")), 2u);
}

TEST_F(PrefixLedger, FindsNothingBehindAnotherBeginning) {
  Compute(&Make(1, Tokens(12)));
  std::vector<TokenId> tokens = Tokens(12);
  tokens[0] = 99;
  EXPECT_EQ(Compute(&Make(2, tokens)), 0u);
}

TEST_F(PrefixLedger, KeepsContentsUntilTheBlockIsNeeded) {
  Compute(&Make(1, Tokens(13)));
  ledger_.Release(1);
  EXPECT_EQ(ledger_.num_used(), 0u);
  EXPECT_EQ(ledger_.num_cached(), 3u);
  // The four that were never used and the one that was not full come first.
  ASSERT_TRUE(ledger_.Grow(9, 5 * kBlockTokens).has_value());
  EXPECT_EQ(ledger_.num_evicted(), 0u);
  // Then the tail of what was freed.
  EXPECT_EQ(ledger_.Grow(9, 6 * kBlockTokens), (std::vector<BlockId>{2}));
  EXPECT_EQ(ledger_.num_evicted(), 1u);
  const CachedPrefix prefix = ledger_.FindPrefix(&Make(2, Tokens(13)));
  EXPECT_EQ(prefix.blocks, (std::vector<BlockId>{0, 1}));
  EXPECT_EQ(prefix.num_free, 2u);
}

TEST_F(PrefixLedger, EvictsWhatWasFreedFirst) {
  Compute(&Make(1, Tokens(9, 100)));
  Compute(&Make(2, Tokens(9, 200)));
  ledger_.Release(2);
  ledger_.Release(1);
  EXPECT_EQ(Compute(&Make(3, Tokens(9, 200))), 2u);  // found again: used later than the others
  ledger_.Release(3);
  ASSERT_TRUE(ledger_.Grow(9, 6 * kBlockTokens).has_value());
  EXPECT_EQ(ledger_.num_evicted(), 2u);
  EXPECT_EQ(Compute(&Make(4, Tokens(9, 100))), 0u);
  ledger_.Release(9);
  EXPECT_EQ(ledger_.FindPrefix(&Make(5, Tokens(9, 200))).blocks.size(), 2u);
}

TEST_F(PrefixLedger, RefusesAPrefixOfFreeBlocksThatLeavesTooFew) {
  Compute(&Make(1, Tokens(9)));
  ledger_.Release(1);
  ASSERT_TRUE(ledger_.Grow(9, 6 * kBlockTokens).has_value());
  Sequence& sequence = Make(2, Tokens(9));
  const CachedPrefix prefix = ledger_.FindPrefix(&sequence);
  ASSERT_EQ(prefix.num_free, 2u);
  EXPECT_FALSE(ledger_.Begin(2, prefix, 9).has_value());
  EXPECT_EQ(ledger_.num_cached(), 2u);
  EXPECT_EQ(ledger_.num_tables(), 1u);
}

TEST_F(PrefixLedger, KeepsADuplicateWhenTheFirstIsGone) {
  Sequence& first = Make(1, Tokens(5));
  Sequence& second = Make(2, Tokens(5));
  for (Sequence* sequence : {&first, &second}) {  // both begin before either is ordered
    ASSERT_TRUE(ledger_.Begin(sequence->id(), {}, 5).has_value());
    sequence->Begin(0);
  }
  for (Sequence* sequence : {&first, &second}) {
    sequence->Advance(5, 1);
    ledger_.Record(sequence);
  }
  ledger_.Release(1);
  ASSERT_TRUE(ledger_.Grow(9, 6 * kBlockTokens).has_value());  // the block of the first too
  EXPECT_TRUE(ledger_.FindPrefix(&Make(3, Tokens(5))).blocks.empty());
  ledger_.Release(2);
  EXPECT_EQ(ledger_.FindPrefix(sequences_[3].get()).blocks, (std::vector<BlockId>{2}));
}

TEST_F(PrefixLedger, FindsNothingOfADistrustedSequence) {
  Sequence& sequence = Make(1, Tokens(9));
  Compute(&sequence);
  ledger_.Distrust(1);
  EXPECT_TRUE(ledger_.FindPrefix(&Make(2, Tokens(9))).blocks.empty());
  ledger_.Record(&sequence);
  ledger_.Release(1);
  EXPECT_TRUE(ledger_.FindPrefix(sequences_[2].get()).blocks.empty());
  EXPECT_EQ(ledger_.num_cached(), 0u);
}

TEST_F(PrefixLedger, LeavesOutWhoMustComputeEveryToken) {
  SequenceRequest request;
  request.id = 1;
  request.prompt = Tokens(9);
  request.reads_cache = false;
  Sequence sequence(std::move(request), 1);
  EXPECT_EQ(Compute(&sequence), 0u);
  EXPECT_EQ(Compute(&Make(2, Tokens(9))), 2u);  // but others find what it computed
  ledger_.Release(1);
  EXPECT_TRUE(ledger_.FindPrefix(&sequence).blocks.empty());
}

TEST(BlockLedger, FindsNothingWithoutAHasher) {
  BlockLedger ledger(8, kBlockTokens);
  Sequence sequence(MakeRequest(1, 9), 0);
  ASSERT_TRUE(ledger.Begin(1, {}, 9).has_value());
  sequence.Begin(0);
  sequence.Advance(9, 1);
  ledger.Record(&sequence);
  EXPECT_TRUE(ledger.FindPrefix(&sequence).blocks.empty());
  ledger.Release(1);
  EXPECT_EQ(ledger.num_cached(), 0u);
}

// What each block holds according to the sequences that wrote it, whatever the ledger says.
class PrefixLedgerStory : public PrefixLedger {
 protected:
  PrefixLedgerStory() : PrefixLedger(24) {}

  // Texts over few tokens, so that many begin alike.
  std::vector<TokenId> RandomTokens() {
    std::vector<TokenId> tokens;
    const uint32_t count = 1 + random_() % 30;
    while (tokens.size() < count) {
      tokens.insert(tokens.end(), kBlockTokens, static_cast<TokenId>(random_() % 2));
    }
    tokens.resize(count);
    return tokens;
  }
  void Begin(SequenceId id) {
    Sequence& sequence = Make(id, RandomTokens(), random_() % 4 == 0 ? "salt" : "");
    const CachedPrefix prefix = ledger_.FindPrefix(&sequence);
    const uint32_t num_free = ledger_.num_free();
    const auto table = ledger_.Begin(id, prefix, sequence.num_tokens());
    if (!table.has_value()) {
      ASSERT_EQ(ledger_.num_free(), num_free);
      sequences_.erase(id);
      return;
    }
    sequence.Begin(static_cast<uint32_t>(prefix.blocks.size()) * kBlockTokens);
    for (size_t i = 0; i < prefix.blocks.size(); ++i) {
      ASSERT_EQ(written_[prefix.blocks[i]], TextUpTo(sequence, i)) << "block " << i;
      ++num_found_;
    }
    for (size_t i = prefix.blocks.size(); i < table->size(); ++i) {
      ASSERT_EQ(ledger_.num_holders((*table)[i]), 1u);
      written_[(*table)[i]].clear();
    }
  }
  void Advance(Sequence* sequence) {
    if (sequence->num_to_compute() == 0) sequence->AppendToken(random_() % 2);
    if (!ledger_.Grow(sequence->id(), sequence->num_tokens()).has_value()) return;
    const uint32_t begin = sequence->num_scheduled();
    sequence->Advance(1 + random_() % sequence->num_to_compute(), 1);
    const std::vector<BlockId>& table = ledger_.Table(sequence->id());
    for (uint32_t i = begin / kBlockTokens; i * kBlockTokens < sequence->num_scheduled(); ++i) {
      ASSERT_EQ(ledger_.num_holders(table[i]), 1u) << "writes to a shared block";
      if ((i + 1) * kBlockTokens > sequence->num_scheduled()) break;
      written_[table[i]] = TextUpTo(*sequence, i);
    }
    ledger_.Record(sequence);
  }
  // Salt and tokens up to the end of block `index`.
  static std::string TextUpTo(const Sequence& sequence, size_t index) {
    std::string text = sequence.cache_salt() + ":";
    for (size_t i = 0; i < (index + 1) * kBlockTokens; ++i) {
      text.push_back(sequence.tokens()[i] == 0 ? '0' : '1');
    }
    return text;
  }
  void CheckHolders() {
    std::map<BlockId, uint32_t> holders;
    for (const auto& [id, sequence] : sequences_) {
      std::set<BlockId> own(ledger_.Table(id).begin(), ledger_.Table(id).end());
      ASSERT_EQ(own.size(), ledger_.Table(id).size());
      for (BlockId block : own) ++holders[block];
    }
    for (const auto& [block, count] : holders) ASSERT_EQ(ledger_.num_holders(block), count);
    ASSERT_EQ(ledger_.num_used(), holders.size());
    ASSERT_EQ(ledger_.num_tables(), sequences_.size());
  }

  std::mt19937 random_{11};
  std::map<BlockId, std::string> written_;
  uint64_t num_found_ = 0;
};

TEST_F(PrefixLedgerStory, LosesNoBlockAndSharesOnlyEqualTexts) {
  for (int i = 0; i < 20000; ++i) {
    const SequenceId id = 1 + random_() % 8;
    if (!sequences_.contains(id)) {
      Begin(id);
    } else if (random_() % 6 == 0) {
      ledger_.Release(id);
      sequences_.erase(id);
    } else {
      Advance(sequences_[id].get());
    }
    if (HasFatalFailure()) return;
    CheckHolders();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(num_found_, 1000u);
  EXPECT_GT(ledger_.num_evicted(), 1000u);
  while (!sequences_.empty()) {
    ledger_.Release(sequences_.begin()->first);
    sequences_.erase(sequences_.begin());
  }
  EXPECT_EQ(ledger_.num_free(), 24u);
}

}  // namespace
}  // namespace baton::scheduler
