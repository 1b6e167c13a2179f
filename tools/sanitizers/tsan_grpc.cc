// Tells the thread sanitizer that what starts an operation of gRPC happens before its completion,
// what lets go of a server's call before the call's end, and that before the end of the server's
// shutdown. The distribution's libgrpc is not instrumented and orders these by counters and by
// queues without locks. Linked into every program of the preset tsan, these functions take the
// library's place, for libgrpc++ too, and call it.
#include <atomic>
#include <cstdlib>
#include <dlfcn.h>
#include <thread>

#include "grpcpp/support/server_callback.h"

#include "grpc/grpc.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace {

// Ends of calls release it, ends of completion queues acquire it.
char ended_calls;
// True at first, so that it is in .tdata: where a program has no thread-local variables but zeros,
// Debian 12's linker lets the memory to protect begin on a page that is not there.
thread_local bool ends_no_call = true;

// `name` of libgrpc itself.
template <typename Function>
Function* Real(Function*, const char* name) {
  auto* const real = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
  if (real == nullptr) std::abort();
  return real;
}

}  // namespace

extern "C" {

// A tag is an address of its own.
grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t nops, void* tag,
                                      void* reserved) {
  static const auto real = Real(&grpc_call_start_batch, __func__);
  if (tag != nullptr) __tsan_release(tag);
  return real(call, ops, nops, tag, reserved);
}

// A server's shutdown waits until all its calls have ended, then for the end of its queue.
grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static const auto real = Real(&grpc_completion_queue_next, __func__);
  const grpc_event event = real(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE && event.tag != nullptr) __tsan_acquire(event.tag);
  if (event.type == GRPC_QUEUE_SHUTDOWN) __tsan_acquire(&ended_calls);
  return event;
}

// Of a server's call: what comes after OnDone(), before the server hears of it.
void grpc_call_unref(grpc_call* call) {
  static const auto real = Real(&grpc_call_unref, __func__);
  if (!ends_no_call) __tsan_release(&ended_calls);
  real(call);
}

}  // extern "C"

// The library's own give these to a queue of its executor; that a thread starts is seen, and that
// it lets go of the call.
void grpc::internal::ServerCallbackCall::CallOnCancel(ServerReactor* reactor) {
  on_cancel_conditions_remaining_.load(std::memory_order_acquire);  // behind all that it waits for
  if (reactor->InternalInlineable()) return reactor->OnCancel();
  Ref();
  std::thread([this, reactor] {
    reactor->OnCancel();
    MaybeDone();
  }).detach();
}

void grpc::internal::ServerCallbackCall::ScheduleOnDone(bool inline_ondone) {
  callbacks_outstanding_.load(std::memory_order_acquire);  // behind all who have let go of it
  const auto end = [this] {
    ends_no_call = false;
    CallOnDone();
    ends_no_call = true;
  };
  if (inline_ondone) return end();
  std::thread(end).detach();
}
