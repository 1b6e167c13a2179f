// A connection of a UcxTransport: one UCX endpoint and what is known of the partner.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "ucp/api/ucp.h"

#include "common/transport/transport.h"
#include "common/transport/ucx_worker.h"

namespace baton {

class UcxPeer;

// UCX's id of the one message type in use; FrameHeader::kind tells the rest.
inline constexpr unsigned kUcxMessageId = 1;
// The longest hello. Payloads up to this length travel with their header whatever UCX_RNDV_THRESH
// says: hellos are taken so alone, and receivers may have one place for all short payloads.
inline constexpr size_t kMaxHelloBytes = kMaxAddressBytes + 256;

// What a transport and its peers share; peers may outlive the transport.
struct UcxCore {
  // Guards the UCX worker, every endpoint and the fields below. Recursive because UCX calls back
  // into receivers and completions while it is held, and those may send.
  std::recursive_mutex mutex;
  std::unique_ptr<UcxWorker> worker;  // null once the transport is gone
  std::string name;
  uint64_t source = 0;
  // Peers whose endpoints the transport's thread has to close.
  std::vector<std::shared_ptr<UcxPeer>> failed;

  std::atomic<uint64_t> frames_sent{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> frames_received{0};
  std::atomic<uint64_t> bytes_received{0};
  std::atomic<uint64_t> frames_refused{0};
};

// Methods without "locked" in their comment take the core's lock themselves.
class UcxPeer final : public Peer, public std::enable_shared_from_this<UcxPeer> {
 public:
  // `connection` numbers the connections that this transport opens to `address`, from 1.
  UcxPeer(std::shared_ptr<UcxCore> core, std::string address, uint64_t connection)
      : core_(std::move(core)), address_(std::move(address)), connection_(connection) {}

  void Send(FrameHeader header, std::span<const std::byte> payload,
            std::function<void(const absl::Status&)> done, bool has_payload_crc) override;
  void Fail(const absl::Status& reason) override;
  absl::Status status() const override;
  uint64_t source() const override;
  const std::string& name() const override { return name_; }
  std::string DescribeTransport() const override;

  // The rest is for UcxTransport, called locked.
  const std::string& address() const { return address_; }
  uint64_t connection() const { return connection_; }
  // The partner's number of its newest connection to this transport; once established.
  uint64_t partner_connection() const { return partner_connection_; }
  // The newest call of this transport whose hello the partner has answered.
  uint64_t answered_call() const { return answered_call_; }
  void TakeAnswer(uint64_t call) { answered_call_ = std::max(answered_call_, call); }
  bool established() const { return established_; }
  bool failed() const { return !status_.ok(); }
  absl::Status Open();
  // The partner has said who it is; saying it again changes nothing.
  void Establish(uint64_t source, uint64_t partner_connection, absl::string_view name);
  // Gives the endpoint up, for closing.
  ucp_ep_h TakeEndpoint();

 private:
  struct Outgoing;

  static void OnSent(void* request, ucs_status_t status, void* user_data);
  static void OnEndpointError(void* arg, ucp_ep_h endpoint, ucs_status_t status);
  // OK: UCX has the frame, and OnSent will be called for it if `*pending`.
  absl::Status Post(Outgoing* outgoing, bool* pending);

  const std::shared_ptr<UcxCore> core_;
  const std::string address_;
  const uint64_t connection_;
  uint64_t partner_connection_ = 0;
  uint64_t answered_call_ = 0;
  ucp_ep_h endpoint_ = nullptr;
  bool established_ = false;
  absl::Status status_;
  uint64_t source_ = 0;
  std::string name_;  // set once, before the peer is handed out
  size_t num_pending_ = 0;
};

}  // namespace baton
