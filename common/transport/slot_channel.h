// The two ends of a stage-to-stage channel: steps into receiver-owned slots, on credit. A transport
// has one channel of each content: hidden states to the next stage, tokens back to the first.
//
// A step's object is cut into `num_ranks` parts of equal size. Objects are numbered from 1 within
// an epoch, by 1, in the same order at both ends (steps without tokens send none, so this is not
// the step's own number). Both ends own `num_slots` slots, one object long; object n uses slot n %
// num_slots. The sender may send objects 1..num_slots at once, and object n + num_slots when every
// part of object n has been released: the receiver's credits name the last one that may be sent.
// Parts of consecutive ranks that go to the same peer travel in one frame.
//
// Memory: num_slots objects at each end, allocated once; frames that no slot waits for are refused.
// Epochs: whoever has several channels over one transport ends the old epoch on all of them before
// it connects for the new one, because ending it may break the connection to a partner that hangs,
// and Connect gives the connection that stands.
// Threads: calls for different ranks may come from different threads; EndEpoch and BeginEpoch from
// one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

#include "common/transport/transport.h"

namespace baton {

// What a channel carries.
enum class SlotContent { kHiddenStates, kTokens };

struct SlotShape {
  size_t num_slots = 0;       // at least 1
  size_t num_ranks = 0;       // at least 1
  size_t max_part_bytes = 0;  // of one rank's part of one step
  SlotContent content = SlotContent::kHiddenStates;
  // Bytes a second that the link carries at least; 0: LeastRateOf the sender's transports.
  double least_rate = 0;
};

// The kinds of frames that carry it and its credits, and its name in messages.
struct SlotFrames {
  FrameKind object;
  FrameKind credit;
  const char* name;
};
SlotFrames FramesOf(SlotContent content);

// One rank's part of one step's object.
struct PartKey {
  uint64_t epoch = 0;
  uint64_t number = 0;   // of the object
  uint64_t step_id = 0;  // whose it is: must be the same at both ends
  size_t rank = 0;
};

// Bytes a second that a link over these transports (Peer::DescribeTransport) is taken to carry at
// least: UCX does not tell how much of a payload has landed. 25 MB/s if TCP is among them, a fifth
// of 1 Gbit/s, which others may use too; 1 GB/s over shared memory and RDMA.
double LeastRateOf(absl::string_view transports);

class SlotReceiver {
 public:
  // Becomes `transport`'s receiver of the content; it must outlive this object. Errors:
  // InvalidArgument (shape).
  static absl::StatusOr<std::unique_ptr<SlotReceiver>> Create(Transport* transport,
                                                              const SlotShape& shape);
  virtual ~SlotReceiver() = default;

  // Leaves the epoch, if there is one, and drops everything of it; every frame is refused from now
  // on. No part may be held by a caller. Waits until nothing is on its way into a slot, if need be
  // by breaking connections. Errors: DeadlineExceeded naming the senders; it may be called again.
  virtual absl::Status EndEpoch(absl::Time deadline) = 0;

  // Takes frames of this epoch alone, and of a rank only from the source that sent its first part.
  // Errors: InvalidArgument (epoch 0), FailedPrecondition (the old epoch has not ended: EndEpoch
  // has not said OK).
  virtual absl::Status BeginEpoch(uint64_t epoch) = 0;

  // Waits for a part, which must be `bytes` long. It stays valid until Release. Errors:
  // DeadlineExceeded; DataLoss (checksum, another length, another step); Unavailable (the sender is
  // gone); FailedPrecondition (another epoch, or an object that is no slot's); Abort's reason.
  virtual absl::StatusOr<std::span<std::byte>> Receive(const PartKey& key, size_t bytes,
                                                       absl::Time deadline) = 0;
  // The part has been read. The last rank's release of an object sends a credit.
  virtual void Release(const PartKey& key) = 0;

  // Ends all waits of this epoch with `reason`, present and later ones.
  virtual void Abort(const absl::Status& reason) = 0;

  // Since when nothing has come: when the last payload had landed; while some land, when a link of
  // the least rate would be done with them, which may be a time to come. InfinitePast: nothing came
  // in this epoch. Any thread.
  virtual absl::Time quiet_since() const = 0;

  // Whether some part of the object has yet to come: a Receive that waits though it is false has
  // what it needs, and its thread has only not run since. False of objects that are no slot's, and
  // when waits have been ended. Any thread.
  virtual bool IsAwaited(uint64_t number) const = 0;
};

class SlotSender {
 public:
  // Becomes `transport`'s receiver of the content's credits; it must outlive this object. Errors:
  // InvalidArgument (shape).
  static absl::StatusOr<std::unique_ptr<SlotSender>> Create(
      Transport* transport, const SlotShape& shape,
      absl::Duration memory_return_limit = kMemoryReturnLimit);
  // Ends the epoch; ends the process if UCX does not let go of the memory even so.
  virtual ~SlotSender() = default;

  // Leaves the epoch, if there is one. No part may be held by a caller. Waits until the memory of
  // its sends is free, if need be by breaking their connections. Errors: DeadlineExceeded naming
  // the peers; it may be called again.
  virtual absl::Status EndEpoch(absl::Time deadline) = 0;

  // From now on rank r's parts go to peers[r]. Errors: InvalidArgument (number of peers, epoch 0),
  // FailedPrecondition (the old epoch has not ended: EndEpoch has not said OK), Unavailable (a peer
  // is lost already).
  virtual absl::Status BeginEpoch(uint64_t epoch, std::vector<std::shared_ptr<Peer>> peers) = 0;

  // Waits for a credit and a free slot: `bytes` to be filled, valid until Send. Errors:
  // DeadlineExceeded (no credit: the receiver is slow, frozen or cut off), Unavailable,
  // FailedPrecondition (another epoch), InvalidArgument (size or rank), Abort's reason.
  virtual absl::StatusOr<std::span<std::byte>> Acquire(const PartKey& key, size_t bytes,
                                                       absl::Time deadline) = 0;
  // The part is filled. A frame leaves when all parts that share it are; does not wait for the
  // wire. Errors: Unavailable, Abort's reason, FailedPrecondition (not acquired).
  virtual absl::Status Send(const PartKey& key) = 0;

  // Ends all waits of this epoch with `reason`, present and later ones.
  virtual void Abort(const absl::Status& reason) = 0;

  // Whether the object may not be sent yet: an Acquire that waits though it is false has what it
  // needs, and its thread has only not run since. False when waits have been ended. Any thread.
  virtual bool LacksCredit(uint64_t number) const = 0;
};

}  // namespace baton
