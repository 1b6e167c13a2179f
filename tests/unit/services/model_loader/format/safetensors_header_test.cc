#include "services/model_loader/format/safetensors_header.h"

#include <random>
#include <set>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

#include "tests/fakes/checkpoint_writer.h"

namespace baton::loader {
namespace {

using nlohmann::json;

std::span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string LengthBytes(uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(length >> (8 * i)));
  return bytes;
}

std::string Entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\":{\"dtype\":\"", type, "\",\"shape\":", shape,
                      ",\"data_offsets\":", offsets, "}");
}

TEST(HeaderLength, IsLittleEndian) {
  EXPECT_EQ(ParseHeaderLength(Bytes(LengthBytes(0x1234)), 0x2000).value(), 0x1234u);
}

TEST(HeaderLength, IsHeldAgainstTheFile) {
  EXPECT_TRUE(ParseHeaderLength(Bytes(LengthBytes(92)), 100).ok());
  EXPECT_EQ(ParseHeaderLength(Bytes(LengthBytes(93)), 100).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ParseHeaderLength(Bytes("1234"), 4).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(ParseHeaderLength(Bytes(LengthBytes(0)), 100).ok());
  for (const uint64_t huge : {uint64_t{100'000'001}, uint64_t{1} << 63, ~uint64_t{0}}) {
    EXPECT_EQ(ParseHeaderLength(Bytes(LengthBytes(huge)), ~uint64_t{0}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(HeaderLength, NamesTheFormatThatItFinds) {
  const std::vector<std::pair<std::string, std::string>> starts = {
      {std::string("GGUF\3\0\0\0", 8), "GGUF"},
      {std::string("PK\3\4\0\0\0\7", 8), "PyTorch"},
      {"version https://git-lfs", "Git LFS"},
      {"<!DOCTYPE html>", "web page"}};
  for (const auto& [start, name] : starts) {
    const absl::Status status = ParseHeaderLength(Bytes(start), 1 << 20).status();
    EXPECT_TRUE(absl::StrContains(status.message(), name)) << status;
  }
}

TEST(Header, ReadsEntriesInOrderOfOffsets) {
  const std::string text =
      absl::StrCat("{", Entry("b", "F32", "[2,2]", "[6,22]"), ",\"__metadata__\":{\"a\":\"b\"},",
                   Entry("a", "BF16", "[3]", "[0,6]"), ",", Entry("s", "U8", "[]", "[22,23]"), ",",
                   Entry("none", "F64", "[0,5]", "[23,23]"), "}   ");
  const auto entries = ParseHeader(text, 23);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 4u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_EQ((*entries)[0].type, "BF16");
  EXPECT_EQ((*entries)[1].shape, (std::vector<uint64_t>{2, 2}));
  EXPECT_EQ((*entries)[1].begin, 6u);
  EXPECT_EQ((*entries)[1].end, 22u);
  EXPECT_TRUE((*entries)[2].shape.empty());
}

TEST(Header, MayBeEmpty) { EXPECT_TRUE(ParseHeader("{}", 0).value().empty()); }

struct Hostile {
  std::string text;
  std::string word;  // that the message must hold
};

std::vector<Hostile> HostileHeaders() {
  const std::string good = Entry("t", "BF16", "[3]", "[0,6]");
  std::vector<Hostile> all = {
      {"", "begin"},
      {"[]", "begin"},
      {" {}", "begin"},
      {"\xef\xbb\xbf{}", "begin"},
      {"{", "JSON"},
      {"{}{}", "JSON"},
      {"{} x", "JSON"},
      {"{\"t\":}", "JSON"},
      {"{\"t\":{\"dtype\":\"BF16\"", "JSON"},
      {"{\"\xff\":1}", "JSON"},
      {"{\"t\":null}", "t"},
      {"{\"t\":1}", "t"},
      {"{\"t\":\"x\"}", "t"},
      {"{\"t\":[]}", "t"},
      {"{\"t\":{}}", "lacks"},
      {"{\"__metadata__\":\"x\"}", "__metadata__"},
      {"{\"__metadata__\":{\"a\":1}}", "__metadata__"},
      {"{\"__metadata__\":{\"a\":{}}}", "__metadata__"},
      {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", "twice"},
      {absl::StrCat("{", good, ",", good, "}"), "twice"},
      {absl::StrCat("{", Entry("", "BF16", "[3]", "[0,6]"), "}"), "empty"},
      {absl::StrCat("{", Entry(std::string(1025, 'x'), "BF16", "[3]", "[0,6]"), "}"), "too long"},
  };
  const std::vector<std::pair<std::string, std::string>> shapes = {
      {"[-3]", "negative"},
      {"[3.0]", "integer"},
      {"[3e0]", "integer"},
      {"[\"3\"]", "string"},
      {"[null]", "null"},
      {"[[3]]", "array"},
      {"{}", "object"},
      {"3", "number"},
      {"[1,1,1,1,1,1,1,1,3]", "dimensions"},
      {"[4294967296,4294967296,4294967296]", "overflows"},
      {"[9223372036854775808,2]", "overflows"},
      {"[99999999999999999999]", "integer"},
      {"[1e999]", "JSON"},
      {"[4]", "needs 8 bytes"},
      {"[]", "needs 2 bytes"}};
  for (const auto& [shape, word] : shapes) {
    all.push_back({absl::StrCat("{", Entry("t", "BF16", shape, "[0,6]"), "}"), word});
  }
  const std::vector<std::pair<std::string, std::string>> offsets = {
      {"[]", "two"},          {"[0]", "two"},
      {"[0,6,7]", "two"},     {"[6,0]", "before it begins"},
      {"[0,8]", "truncated"}, {"[18446744073709551610,18446744073709551615]", "truncated"},
      {"[1,7]", "truncated"}, {"[-1,5]", "negative"},
      {"\"0,6\"", "string"},  {"{\"a\":0}", "object"},
      {"[0,5]", "needs 6"}};
  for (const auto& [offset, word] : offsets) {
    all.push_back({absl::StrCat("{", Entry("t", "BF16", "[3]", offset), "}"), word});
  }
  for (const std::string type : {"", "bf16", "F8", "F128", "BF16 "}) {
    all.push_back({absl::StrCat("{", Entry("t", type, "[3]", "[0,6]"), "}"), "dtype"});
  }
  all.push_back({"{\"t\":{\"dtype\":1,\"shape\":[3],\"data_offsets\":[0,6]}}", "number"});
  all.push_back({"{\"t\":{\"dtype\":[],\"shape\":[3],\"data_offsets\":[0,6]}}", "array"});
  all.push_back({"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}}", "twice"});
  all.push_back({"{\"t\":{\"dtype\":\"U8\",\"color\":\"red\"}}", "unknown field"});
  all.push_back({"{\"t\":{\"dtype\":\"BF16\",\"shape\":[3]}}", "lacks"});
  return all;
}

TEST(Header, RefusesHostileOnesByName) {
  const std::vector<Hostile> all = HostileHeaders();
  EXPECT_GT(all.size(), 50u);
  for (const Hostile& hostile : all) {
    const auto entries = ParseHeader(hostile.text, 6);
    ASSERT_FALSE(entries.ok()) << hostile.text;
    EXPECT_TRUE(absl::StrContains(entries.status().message(), hostile.word)) << hostile.text << "\n"
                                                                             << entries.status();
  }
}

TEST(Header, RefusesOverlapsHolesAndRests) {
  const std::string first = Entry("a", "U8", "[4]", "[0,4]");
  const auto with = [&](const std::string& offsets, uint64_t data_bytes) {
    return ParseHeader(absl::StrCat("{", first, ",", Entry("b", "U8", "[4]", offsets), "}"),
                       data_bytes)
        .status();
  };
  EXPECT_TRUE(with("[4,8]", 8).ok());
  EXPECT_TRUE(absl::StrContains(with("[3,7]", 7).message(), "inside the tensor before"));
  EXPECT_TRUE(absl::StrContains(with("[0,4]", 4).message(), "inside the tensor before"));
  EXPECT_TRUE(absl::StrContains(with("[5,9]", 9).message(), "hole"));
  EXPECT_TRUE(absl::StrContains(with("[4,8]", 9).message(), "behind its last tensor"));
  EXPECT_EQ(with("[4,8]", 7).code(), absl::StatusCode::kDataLoss);
}

TEST(Header, DeepNestingCostsNothing) {
  for (const std::string& open : {std::string("["), std::string("{\"a\":")}) {
    std::string text = "{\"t\":";
    for (int i = 0; i < 200000; ++i) text += open;
    EXPECT_FALSE(ParseHeader(text, 0).ok());
  }
}

// Whatever the bytes are, the answer is an error or entries that lie inside the data.
TEST(Header, FuzzedBytesNeverLieOutsideTheFile) {
  std::mt19937 random(20240601);
  std::string base = "{\"__metadata__\":{\"format\":\"pt\"}";
  uint64_t offset = 0;
  for (int i = 0; i < 12; ++i) {
    base += absl::StrCat(",", Entry(absl::StrCat("model.layers.", i, ".weight"), "BF16", "[2,4]",
                                    absl::StrCat("[", offset, ",", offset + 16, "]")));
    offset += 16;
  }
  base += "}";
  ASSERT_TRUE(ParseHeader(base, offset).ok());
  const std::string alphabet = "{}[]\",:0123456789-.eEtruefalsn\\ \xff";
  int accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = base;
    const int num_edits = 1 + static_cast<int>(random() % 4);
    for (int edit = 0; edit < num_edits; ++edit) {
      const size_t at = random() % text.size();
      const char c = alphabet[random() % alphabet.size()];
      switch (random() % 4) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.erase(at, 1 + random() % 8);
          break;
        case 2:
          text.insert(at, 1, c);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 40));
      }
      if (text.empty()) text = "{";
    }
    const auto entries = ParseHeader(text, offset);
    if (!entries.ok()) continue;
    ++accepted;
    std::set<std::string> names;
    uint64_t next = 0;
    for (const HeaderEntry& entry : *entries) {
      ASSERT_EQ(entry.begin, next) << text;
      ASSERT_LE(entry.end, offset) << text;
      ASSERT_TRUE(names.insert(entry.name).second) << text;
      next = entry.end;
    }
    ASSERT_EQ(next, offset) << text;
  }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, 10000);
}

TEST(Header, AgreesWithAWriterOnRandomFiles) {
  std::mt19937 random(5);
  for (int round = 0; round < 200; ++round) {
    std::vector<testing::WrittenTensor> tensors;
    const size_t count = random() % 20;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t rows = random() % 5;
      const uint64_t columns = random() % 9;
      tensors.push_back(
          {absl::StrCat("t", i), "F32", {rows, columns}, std::string(rows * columns * 4, 'x')});
    }
    const std::string file = testing::SafetensorsFile(tensors);
    const uint64_t length = ParseHeaderLength(Bytes(file), file.size()).value();
    const auto entries =
        ParseHeader(absl::string_view(file).substr(8, length), file.size() - 8 - length);
    ASSERT_TRUE(entries.ok()) << entries.status();
    EXPECT_EQ(entries->size(), tensors.size());
  }
}

}  // namespace
}  // namespace baton::loader
