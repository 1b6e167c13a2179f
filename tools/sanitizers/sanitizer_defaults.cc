// What the sanitizers are told in every program of the presets asan, tsan and ubsan, however it is
// started. ASAN_OPTIONS and its siblings in the environment go before these.

extern "C" {

const char* __asan_default_options() {
  // An allocation that is too large fails as it does without the sanitizer: tests ask for some.
  return "detect_stack_use_after_return=1:check_initialization_order=1:strict_string_checks=1:"
         "allocator_may_return_null=1";
}

// libuct keeps a hundred bytes of its first search for devices, however many contexts follow.
const char* __lsan_default_suppressions() { return "leak:libuct.so"; }

const char* __ubsan_default_options() { return "print_stacktrace=1"; }

const char* __tsan_default_options() {
  // A longer history: both stacks of a race, also where the first access lies back.
  return "history_size=4:second_deadlock_stack=1:allocator_may_return_null=1";
}

// Debian's gRPC and what it stands on are not instrumented: what they hand from thread to thread
// through atomics of their own would look like races among them. What they allocate, copy, send and
// receive is not recorded; their mutexes are, and so is every access of this project's code, calls
// from their threads too (but for the name below). UCX is not on the list: what it copies are the
// transport's buffers. By name, because a counter in a library orders it: the text of a call's end
// is written before the call is told of it. And gRPC's own threads are joined by one that the end
// of the process may overtake.
const char* __tsan_default_suppressions() {
  return "called_from_lib:libgrpc.so\n"
         "called_from_lib:libgrpc++.so\n"
         "called_from_lib:libgpr.so\n"
         "called_from_lib:libupb.so\n"
         "called_from_lib:libabsl_status.so\n"
         "called_from_lib:libabsl_cord.so\n"
         "called_from_lib:libabsl_cord_internal.so\n"
         "called_from_lib:libabsl_graphcycles_internal.so\n"
         "called_from_lib:libabsl_strings.so\n"
         "called_from_lib:libabsl_time.so\n"
         "called_from_lib:libabsl_time_zone.so\n"
         "called_from_lib:libssl.so\n"
         "called_from_lib:libcrypto.so\n"
         "race:grpc::internal::CallOpClientRecvStatus::FinishOp\n"
         "thread:grpc_core::Thread::Thread\n";
}

}  // extern "C"
