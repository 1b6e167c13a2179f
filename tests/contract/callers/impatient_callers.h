// Callers of a unary RPC that do not wait for its answer.
#pragma once

#include <functional>

#include "grpcpp/client_context.h"

namespace baton {

// Makes one call of the RPC under test, with a request that it answers with OK. From several
// threads at once.
using UnaryCall = std::function<grpc::Status(grpc::ClientContext* context)>;

// Expects that calls end by DEADLINE_EXCEEDED if their deadline has passed, and by CANCELLED if
// they are cancelled; that many whose deadline passes somewhere on their way, and many that are
// cancelled as they leave, end by that or by OK; and that the next call is answered.
void ExpectOutlivesImpatientCallers(const UnaryCall& call);

}  // namespace baton
