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

// Between two attempts to connect: the least that gRPC allows. A peer that died is back within a
// few of these, and a pause is what its clients see.
inline constexpr int kReconnectMs = 100;
// Between two questions for a peer's address. A pod that is replaced keeps its name and gets
// another address; gRPC's 30 s would keep its peers knocking at the old one.
inline constexpr int kResolveMs = 1000;
// Time that one attempt is given: a peer that is frozen accepts it and says no word.
inline constexpr int kConnectTimeoutMs = 1000;

// One message. The largest are the step command (the scheduler tells the stages of 4 MiB of
// newcomers at a time) and the loader's plan.
inline constexpr int kMaxReceiveBytes = 8 << 20;
inline constexpr int kMaxMetadataBytes = 16 << 10;

}  // namespace baton
