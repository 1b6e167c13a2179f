// Tells the thread sanitizer that what starts an operation of gRPC happens before its completion.
// The distribution's libgrpc is not instrumented and hands completions to the threads that wait for
// them through queues without locks. Linked into every program of the preset tsan, these functions
// take the library's place, for libgrpc++ too, and call it. A tag is the edge's address.
#include <cstdlib>
#include <dlfcn.h>

#include "grpc/grpc.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);

grpc_call_error grpc_call_start_batch(grpc_call* call, const grpc_op* ops, size_t nops, void* tag,
                                      void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_call_start_batch)>(dlsym(RTLD_NEXT, __func__));
  if (real == nullptr) std::abort();
  if (tag != nullptr) __tsan_release(tag);
  return real(call, ops, nops, tag, reserved);
}

grpc_event grpc_completion_queue_next(grpc_completion_queue* queue, gpr_timespec deadline,
                                      void* reserved) {
  static const auto real =
      reinterpret_cast<decltype(&grpc_completion_queue_next)>(dlsym(RTLD_NEXT, __func__));
  if (real == nullptr) std::abort();
  const grpc_event event = real(queue, deadline, reserved);
  if (event.type == GRPC_OP_COMPLETE && event.tag != nullptr) __tsan_acquire(event.tag);
  return event;
}

}  // extern "C"
