#include "common/rpc/channel.h"

#include "grpcpp/create_channel.h"
#include "grpcpp/support/channel_arguments.h"

#include "common/rpc/connection_limits.h"

namespace baton {
namespace {

constexpr int kSmallWindowBytes = 256 << 10;

}  // namespace

std::shared_ptr<grpc::Channel> CreateChannel(const std::string& address, absl::string_view role,
                                             const RpcIdentity& identity, StreamWindow window) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kResolveMs);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, address);
  // The name that gRPC looks for beside the identity's own check; it logs an error where there is
  // none.
  arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, std::string(role));
  arguments.SetInt(GRPC_ARG_TCP_TX_ZEROCOPY_ENABLED, 0);
  arguments.SetInt(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  arguments.SetMaxSendMessageSize(kMaxReceiveBytes);
  if (window == StreamWindow::kSmall) {
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // which would make it grow
    arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kSmallWindowBytes);
  }
  return grpc::CreateCustomChannel(address, identity.ToReach(role), arguments);
}

}  // namespace baton
