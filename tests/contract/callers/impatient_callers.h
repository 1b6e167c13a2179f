// Callers of a unary RPC that do not wait for its answer, or die.
#pragma once

#include <functional>
#include <memory>

#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"

namespace baton {

// Makes one call of the RPC under test, with a request that it answers with OK. From several
// threads at once.
using UnaryCall = std::function<grpc::Status(grpc::ClientContext* context)>;

// Expects that calls end by DEADLINE_EXCEEDED if their deadline has passed, and by CANCELLED if
// they are cancelled; that many whose deadline passes somewhere on their way, and many that are
// cancelled as they leave, end by that or by OK; and that the next call is answered.
void ExpectOutlivesImpatientCallers(const UnaryCall& call);

// Likewise, over `channel`.
using UnaryCallOver = std::function<grpc::Status(const std::shared_ptr<grpc::Channel>& channel,
                                                 grpc::ClientContext* context)>;

// Expects of the server at 127.0.0.1:`port` that calls whose connection breaks as they leave, as
// their process's death breaks it, end by UNAVAILABLE or by OK, and that the next one is answered.
void ExpectOutlivesDyingCallers(int port, const UnaryCallOver& call);

}  // namespace baton
