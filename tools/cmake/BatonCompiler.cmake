# Compiler settings that hold for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_DEBUG "-O0 -g")

set(BATON_SANITIZER "" CACHE STRING "address, thread or undefined; empty for none")
option(BATON_WARNINGS_AS_ERRORS "Treat compiler warnings as errors" ON)
option(BATON_UNITY
       "Compile several sources of a target as one, and the tests of an area as one program" ON)
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)
option(BATON_CUDA "Build the CUDA backend, for which nvcc, cuBLAS and NCCL must be there" OFF)
set(BATON_CUDA_ARCHITECTURES "90a"
    CACHE STRING "Compute capabilities that kernels are compiled for")

# Precompiled headers are cached only if their macros, times too, are taken for what they were; no
# source asks for a time.
find_program(BATON_CCACHE ccache)
if(BATON_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${BATON_CCACHE})
endif()
set(BATON_PCH_OPTIONS "")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(BATON_PCH_OPTIONS -fpch-preprocess)
  # It collects its garbage from 1 GiB on, which few sources come to: a ninth less time.
  add_compile_options(--param=ggc-min-heapsize=1048576)
endif()
find_program(BATON_MOLD mold)
if(BATON_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# A digest of all that was linked: it names the build (common/config/build_id.h).
add_link_options(-Wl,--build-id=sha1)

# Include paths are relative to the root; debug information and assertions name no path of the build
# machine.
add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -fstack-protector-strong -fno-math-errno
                    -ffp-contract=off)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT BATON_SANITIZER)
  add_compile_definitions(_FORTIFY_SOURCE=2 _GLIBCXX_ASSERTIONS)
endif()

add_library(baton_warnings INTERFACE)
target_compile_options(baton_warnings INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor
                       -Wno-unused-parameter -Wno-missing-field-initializers)
if(BATON_WARNINGS_AS_ERRORS)
  target_compile_options(baton_warnings INTERFACE -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(baton_warnings INTERFACE -Wthread-safety -Werror=thread-safety)
endif()

if(BATON_SANITIZER)
  string(REPLACE "," ";" baton_sanitizers "${BATON_SANITIZER}")
  foreach(sanitizer IN LISTS baton_sanitizers)
    add_compile_options(-fsanitize=${sanitizer})
    add_link_options(-fsanitize=${sanitizer})
  endforeach()
  # -O1: the instrumented code builds in half the time, and stacks stay readable.
  add_compile_options(-O1 -fno-omit-frame-pointer -g1)
  if("undefined" IN_LIST baton_sanitizers)
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()
