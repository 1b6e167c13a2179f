// Scopes of a rendering; for renderer.cc and renderer_expressions.cc alone.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

#include "common/chat_template/renderer.h"

namespace baton {

// A frame of names while it lives.
class Renderer::FrameScope {
 public:
  explicit FrameScope(Renderer& renderer) : renderer_(renderer) {
    renderer_.frames_.emplace_back();
  }
  ~FrameScope() { renderer_.frames_.pop_back(); }
  FrameScope(const FrameScope&) = delete;
  FrameScope& operator=(const FrameScope&) = delete;

 private:
  Renderer& renderer_;
};

// One level of evaluation; bounds the machine stack, macros that call themselves included.
class Renderer::DepthScope {
 public:
  explicit DepthScope(Renderer& renderer) : renderer_(renderer) { ++renderer_.depth_; }
  ~DepthScope() { --renderer_.depth_; }
  DepthScope(const DepthScope&) = delete;
  DepthScope& operator=(const DepthScope&) = delete;

  absl::Status Check() const {
    if (renderer_.depth_ <= kMaxDepth) return renderer_.budget_.Spend(1);
    return absl::ResourceExhaustedError(
        absl::StrCat("more than ", kMaxDepth, " levels of evaluation"));
  }

 private:
  static constexpr size_t kMaxDepth = 1000;

  Renderer& renderer_;
};

}  // namespace baton
