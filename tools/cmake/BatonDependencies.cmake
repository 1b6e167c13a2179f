# Third-party packages, all from Debian 12 (tools/packages.txt). Each gets one alias
# `third_party::<name>`; targets name these in DEPS, so that the layer checker sees who uses what.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(ucx REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
find_package(Boost 1.74 REQUIRED)

# baton_third_party(NAME TARGET...): an alias that the helpers accept in DEPS as
# `third_party::NAME`.
function(baton_third_party name)
  add_library(third_party_${name} INTERFACE)
  target_link_libraries(third_party_${name} INTERFACE ${ARGN})
  add_library(third_party::${name} ALIAS third_party_${name})
endfunction()

baton_third_party(threads Threads::Threads)
baton_third_party(absl_base absl::base absl::core_headers)
baton_third_party(absl_status absl::status absl::statusor)
baton_third_party(absl_strings absl::strings absl::str_format absl::cord)
baton_third_party(absl_sync absl::synchronization)
baton_third_party(absl_time absl::time)
baton_third_party(absl_flags absl::flags absl::flags_parse absl::flags_usage absl::flags_reflection)
baton_third_party(absl_containers absl::flat_hash_map absl::flat_hash_set absl::inlined_vector
                  absl::hash)
baton_third_party(absl_random absl::random_random)
baton_third_party(protobuf protobuf::libprotobuf)
baton_third_party(grpc gRPC::grpc++)
baton_third_party(grpc_reflection gRPC::grpc++_reflection)
baton_third_party(prometheus prometheus-cpp::core)
baton_third_party(prometheus_pull prometheus-cpp::pull)
baton_third_party(ucx ucx::ucp ucx::ucs)
baton_third_party(json nlohmann_json::nlohmann_json)
baton_third_party(pcre2 PkgConfig::PCRE2)
baton_third_party(openssl OpenSSL::SSL OpenSSL::Crypto)
baton_third_party(beast Boost::headers Threads::Threads)
baton_third_party(gtest GTest::gtest GTest::gmock)
baton_third_party(gtest_main GTest::gtest GTest::gmock GTest::gmock_main)
baton_third_party(benchmark benchmark::benchmark)
if(BATON_CUDA)
  include(BatonCuda)
endif()
target_compile_definitions(third_party_beast INTERFACE BOOST_ASIO_NO_DEPRECATED
                           BOOST_ASIO_DISABLE_CONCEPTS BOOST_ERROR_CODE_HEADER_ONLY)
if(BATON_SANITIZER MATCHES "thread")
  # The thread sanitizer does not model bare fences, and gcc refuses them under it. Asio's are left
  # out: the locks of its queues, which it sees, order the same accesses. Abseil's guard flags,
  # which are written before any thread starts.
  target_compile_definitions(third_party_beast INTERFACE BOOST_ASIO_DISABLE_FENCED_BLOCK)
  target_compile_options(third_party_absl_flags INTERFACE -Wno-tsan)
endif()
