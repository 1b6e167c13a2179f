// Transport over UCX. See transport.h for what it promises.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "ucp/api/ucp.h"

#include "common/transport/transport.h"
#include "common/transport/ucx_peer.h"
#include "common/transport/ucx_worker.h"

namespace baton {

// Longest TransportOptions::name; what a peer says beyond it is cut.
inline constexpr size_t kMaxNameBytes = 64;

// Threads: `thread_` alone progresses the UCX worker, with the core's lock held, and sleeps on its
// events without it. All members are guarded by that lock.
class UcxTransport final : public Transport {
 public:
  UcxTransport(TransportOptions options, std::unique_ptr<UcxWorker> worker);
  ~UcxTransport() override;
  absl::Status Start();

  const std::string& address() const override { return address_; }
  uint64_t source() const override { return core_->source; }
  void SetReceiver(FrameKind kind, FrameReceiver* receiver) override;
  void SetStreamReceiver(FrameKind kind, uint64_t stream_id, FrameReceiver* receiver) override;
  absl::StatusOr<std::shared_ptr<Peer>> Connect(absl::string_view address,
                                                absl::Time deadline) override;
  std::shared_ptr<Peer> FindPeer(uint64_t source) override;
  TransportCounters counters() const override;
  void CountCopied(uint64_t bytes) override;
  void Refuse(const absl::Status& reason) override;
  absl::Time last_look() const override { return absl::FromUnixNanos(last_look_ns_.load()); }
  void AskToLook() override { ucp_worker_signal(core_->worker->get()); }

 private:
  // A rendezvous payload that is being fetched.
  struct Landing {
    UcxTransport* transport;
    FrameReceiver* receiver;
    FrameHeader header;
    std::span<std::byte> destination;
  };
  struct Message {
    std::span<const std::byte> header;
    void* data;
    size_t length;
    bool is_rendezvous;
  };

  static ucs_status_t OnMessage(void* arg, const void* header, size_t header_length, void* data,
                                size_t length, const ucp_am_recv_param_t* param);
  static void OnLanded(void* request, ucs_status_t status, size_t length, void* user_data);

  FrameReceiver* FindReceiver(const FrameHeader& header) const;
  // All receivers, each once.
  std::set<FrameReceiver*> Receivers() const;
  // Waits until no payload is on its way to `former`; at most kMemoryReturnLimit after the
  // connections that bring them were broken.
  void WaitForLandings(std::unique_lock<std::recursive_mutex>& lock, const FrameReceiver* former);

  // Receiving. The first returns what UCX wants to hear.
  ucs_status_t Receive(const Message& message);
  ucs_status_t TakeRendezvous(FrameReceiver* receiver, const FrameHeader& header,
                              const Message& message, std::span<std::byte> destination);
  // Takes ownership.
  void FinishLanding(Landing* landing, ucs_status_t status);
  // Tells the receiver, or counts the frame as refused.
  void Deliver(FrameReceiver* receiver, const FrameHeader& header, const absl::Status& status);

  // Hellos: each carries the number of its sender's connection, and so does each answer. UCX pairs
  // the nth endpoint of one end with the nth of the other, so both go on with the larger number.
  // Who waits for an answer repeats the hello; an older number than the newest is of a connection
  // that the partner has given up, and one larger than our own says that it has given up what was
  // paired with ours.
  ucs_status_t TakeHello(const FrameHeader& header, const Message& message);
  // Whether `source` is that of another peer than `peer` (null: one that is not known yet).
  bool IsTaken(uint64_t source, const std::shared_ptr<UcxPeer>& peer) const;
  // Whether a hello comes from an older connection of the partner than the one that stands with
  // `peer`, which may be null.
  static bool IsOlder(const FrameHeader& header, const std::shared_ptr<UcxPeer>& peer);
  // The partner has given the connection up: what is sent over it may go nowhere.
  void GiveUp(const std::shared_ptr<UcxPeer>& peer, const FrameHeader& header,
              absl::string_view name);
  void OnHello(const FrameHeader& header, std::span<const std::byte> payload);
  void OnGoodbye(const FrameHeader& header);
  void OnHelloAnswer(const FrameHeader& header, std::span<const std::byte> payload);
  void Establish(const std::shared_ptr<UcxPeer>& peer, const FrameHeader& header,
                 absl::string_view name);
  std::shared_ptr<UcxPeer> FindByAddress(absl::string_view address);
  // Endpoints opened to a partner so far, and the number that its last answer gave.
  struct Numbers {
    uint64_t opened = 0;
    uint64_t answered = 0;
  };
  Numbers NumbersOf(absl::string_view address) const;
  // Opens the next endpoint to a partner, or the `number`th if that is a later one.
  absl::StatusOr<std::shared_ptr<UcxPeer>> OpenPeer(absl::string_view address, uint64_t number);
  void SendHello(const std::shared_ptr<UcxPeer>& peer, uint64_t call);
  // Says hello until this call's or a later one's is answered, the peer fails or `limit` passes.
  // Whether the peer stands.
  bool AwaitAnswer(std::unique_lock<std::recursive_mutex>& lock,
                   const std::shared_ptr<UcxPeer>& peer, uint64_t call, absl::Time limit);

  // The thread.
  void Run();
  bool ProgressSome();
  bool ArmOrRetry();
  void CloseFailedPeers();
  // Takes a failed peer out of what is known, and tells the receivers, once.
  void Forget(const std::shared_ptr<UcxPeer>& peer);
  void StartClosing(ucp_ep_h endpoint);
  void CloseEverything();

  const TransportOptions options_;
  const std::shared_ptr<UcxCore> core_;
  const std::string address_;
  std::array<FrameReceiver*, kNumFrameKinds> receivers_{};
  std::map<std::pair<FrameKind, uint64_t>, FrameReceiver*> stream_receivers_;
  std::vector<Landing*> landings_;  // rendezvous payloads under way
  std::vector<std::shared_ptr<UcxPeer>> peers_;
  std::unordered_map<uint64_t, std::shared_ptr<UcxPeer>> peers_by_source_;
  std::unordered_map<std::string, Numbers> numbers_;  // by address
  uint64_t next_call_ = 1;                            // of Connect
  std::vector<void*> closing_;  // UCX's requests of endpoints that are being closed
  std::condition_variable_any changed_;
  bool stopping_ = false;
  std::atomic<int64_t> last_look_ns_{0};  // of SteadyNow
  std::thread thread_;
};

}  // namespace baton
