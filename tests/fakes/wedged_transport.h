// A transport that never gives memory back by itself: what a wedged network card does.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"

namespace baton::fakes {

// Keeps every send to itself, also after the connection was broken. One thread at a time.
class WedgedPeer final : public Peer {
 public:
  static constexpr uint64_t kSource = 77;

  void Send(FrameHeader, std::span<const std::byte>, std::function<void(const absl::Status&)> done,
            bool) override {
    done_.push_back(std::move(done));
  }
  void Fail(const absl::Status& reason) override {
    status_ = reason;
    if (when_failed) when_failed();
  }
  absl::Status status() const override { return status_; }
  uint64_t source() const override {
    if (when_asked) when_asked();
    return kSource;
  }
  const std::string& name() const override { return name_; }
  std::string DescribeTransport() const override { return "wedged"; }

  void FinishSends(const absl::Status& status = absl::UnavailableError("at last")) {
    for (const auto& done : std::exchange(done_, {})) done(status);
  }
  size_t num_sends() const { return done_.size(); }

  std::function<void()> when_asked;   // runs in source()
  std::function<void()> when_failed;  // runs in Fail()

 private:
  const std::string name_ = "stage-1";
  absl::Status status_;
  std::vector<std::function<void(const absl::Status&)>> done_;
};

// Has one partner.
class WedgedTransport final : public Transport {
 public:
  const std::string& address() const override { return address_; }
  uint64_t source() const override { return 1; }
  void SetReceiver(FrameKind kind, FrameReceiver* receiver) override { receivers[kind] = receiver; }
  void SetStreamReceiver(FrameKind, uint64_t, FrameReceiver*) override {}
  absl::StatusOr<std::shared_ptr<Peer>> Connect(absl::string_view, absl::Time) override {
    if (when_connecting) when_connecting();
    return peer;
  }
  std::shared_ptr<Peer> FindPeer(uint64_t) override { return peer; }
  TransportCounters counters() const override { return {}; }
  void CountCopied(uint64_t) override {}
  void Refuse(const absl::Status&) override {}
  absl::Time last_look() const override { return absl::InfinitePast(); }
  void AskToLook() override {}

  std::map<FrameKind, FrameReceiver*> receivers;
  std::shared_ptr<WedgedPeer> peer = std::make_shared<WedgedPeer>();
  std::function<void()> when_connecting;  // runs in Connect()

 private:
  const std::string address_ = "wedged";
};

}  // namespace baton::fakes
