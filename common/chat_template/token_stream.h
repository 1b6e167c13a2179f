// The tokens of a template, one after another, and how deep the parser is in them.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

#include "common/chat_template/template_lexer.h"

namespace baton {

class TokenStream {
 public:
  // `tokens` ends with kEnd.
  TokenStream(std::vector<Token> tokens, size_t max_depth)
      : tokens_(std::move(tokens)), max_depth_(max_depth) {}

  const Token& current() const { return tokens_[place_]; }
  const Token& next() const { return tokens_[place_ + 1 < tokens_.size() ? place_ + 1 : place_]; }
  size_t max_depth() const { return max_depth_; }

  // Passes the current token.
  Token Take() {
    Token token = tokens_[place_];
    if (place_ + 1 < tokens_.size()) ++place_;
    return token;
  }

  bool Is(TokenKind kind) const { return current().kind == kind; }
  bool IsOperator(absl::string_view text) const {
    return Is(TokenKind::kOperator) && current().text == text;
  }
  bool IsName(absl::string_view text) const {
    return Is(TokenKind::kName) && current().text == text;
  }

  // Passes the current token if it is that one.
  bool TakeOperator(absl::string_view text) { return IsOperator(text) && Pass(); }
  bool TakeName(absl::string_view text) { return IsName(text) && Pass(); }
  absl::Status Expect(TokenKind kind, absl::string_view what) {
    return Is(kind) && Pass() ? absl::OkStatus() : Unexpected(what);
  }
  absl::Status ExpectOperator(absl::string_view text) {
    return TakeOperator(text) ? absl::OkStatus() : Unexpected(absl::StrCat("'", text, "'"));
  }

  // That the current token stands where `expected` should.
  absl::Status Unexpected(absl::string_view expected) const;

  // One level of nesting while it lives.
  class Level {
   public:
    explicit Level(TokenStream& stream) : stream_(stream) { ++stream_.depth_; }
    ~Level() { --stream_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

    absl::Status Check() const;

   private:
    TokenStream& stream_;
  };

 private:
  bool Pass() {
    Take();
    return true;
  }

  std::vector<Token> tokens_;
  size_t place_ = 0;
  size_t depth_ = 0;
  size_t max_depth_;
};

}  // namespace baton
