// Limits of every gRPC connection between roles; both ends use the same.
#pragma once

namespace baton {

// A ping per second on each connection, also an idle one. Heartbeats find a stage that hangs; these
// pings find a machine or a link that vanished without closing. Three seconds of silence, not one:
// a false alarm costs every open call, and a machine that runs many ranks per core can pause.
inline constexpr int kKeepaliveTimeMs = 1000;
inline constexpr int kKeepaliveTimeoutMs = 3000;
// Pings nearer than this are a misbehaving client; half the time above leaves room for jitter.
inline constexpr int kMinPingIntervalMs = 500;

// One message. The largest are the step command (the scheduler tells the stages of 4 MiB of
// newcomers at a time) and the loader's plan.
inline constexpr int kMaxReceiveBytes = 8 << 20;
inline constexpr int kMaxMetadataBytes = 16 << 10;

}  // namespace baton
