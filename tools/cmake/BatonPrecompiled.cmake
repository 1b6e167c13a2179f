# What most sources include, compiled once: for libraries here, for tests in tests/CMakeLists.txt.
# The headers are those of other projects alone, so that no change of ours compiles them again.

# Lets `target` start from the headers of `owner`. Its options that decide what code is made of the
# headers, and the macros that they ask for, have to be those of the owner: the compiler refuses
# others. So libraries with COPTS of their own cannot, nor programs, which are compiled with -fPIE.
function(baton_precompile target owner)
  if(BATON_UNITY)
    target_precompile_headers(${target} REUSE_FROM ${owner})
    target_compile_options(${target} PRIVATE ${BATON_PCH_OPTIONS})
  endif()
endfunction()

if(BATON_UNITY)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/precompiled.cc CONTENT "")
  add_library(baton_precompiled OBJECT ${CMAKE_BINARY_DIR}/precompiled.cc)
  target_compile_options(baton_precompiled PRIVATE -pthread ${BATON_PCH_OPTIONS})
  target_link_libraries(baton_precompiled PRIVATE
    third_party::absl_base third_party::absl_containers third_party::absl_status
    third_party::absl_strings third_party::absl_sync third_party::absl_time third_party::json)
  target_precompile_headers(baton_precompiled PRIVATE
    <absl/base/thread_annotations.h> <absl/container/flat_hash_map.h> <absl/status/statusor.h>
    <absl/strings/ascii.h> <absl/strings/match.h> <absl/strings/numbers.h>
    <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/strings/str_join.h>
    <absl/strings/str_split.h> <absl/synchronization/mutex.h> <absl/time/clock.h>
    <nlohmann/json.hpp>
    <algorithm> <array> <atomic> <chrono> <cmath> <cstring> <deque> <functional> <limits> <map>
    <memory> <optional> <set> <span> <string> <thread> <unordered_map> <utility> <vector>)
endif()
