# One helper per kind of target. Each states its files and its dependencies; nothing is globbed.
# What is stated here is also recorded in <build>/targets.json, which the layer checker (tools/lint)
# holds against the include lines.
#
#   baton_library(NAME common_log HDRS log.h SRCS log.cc
#                 DEPS common_status third_party::absl_strings [PRIVATE_DEPS ...])
#   baton_binary(NAME baton-gateway SRCS main.cc DEPS gateway)
#   baton_test(NAME log_test SRCS log_test.cc DEPS common_log [TIMEOUT 60] [OWN_MAIN])
#   baton_bench(NAME gemm_bench SRCS gemm_bench.cc DEPS kernels_cpu)
#   baton_proto(NAME types SRCS types.proto [GRPC] DEPS ...)
#   baton_cuda_library(NAME kernels_cuda_ops HDRS cuda_ops.h SRCS norm.cu cuda_ops.cc
#                      DEPS kernels_api third_party::cuda)
#
# A CUDA library exists with BATON_CUDA alone; it is recorded always, so that the checkers see its
# files on any machine.
#
# A name in DEPS without `::` is a target of the project: `common_log` links `baton::common_log`.
#
# With BATON_UNITY (the default of most presets) the sources of a target are compiled a few at a
# time as one and start from precompiled headers (BatonPrecompiled.cmake), and the tests of a
# service, or of another area, share one program; build/<preset>/tests/<name> then is a script that
# runs the tests of that one file. The presets debug, clang and tidy compile every file by itself,
# which proves its include lines.

set_property(GLOBAL PROPERTY BATON_RECORDS "")

function(baton_resolve out)
  set(resolved "")
  foreach(dep IN LISTS ARGN)
    if(dep MATCHES "::")
      list(APPEND resolved ${dep})
    else()
      list(APPEND resolved baton::${dep})
    endif()
  endforeach()
  set(${out} ${resolved} PARENT_SCOPE)
endfunction()

function(baton_json_list out)
  set(quoted "")
  foreach(item IN LISTS ARGN)
    list(APPEND quoted "\"${item}\"")
  endforeach()
  list(JOIN quoted ", " joined)
  set(${out} "[${joined}]" PARENT_SCOPE)
endfunction()

function(baton_record kind name files deps private_deps)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
  baton_json_list(files_json ${files})
  baton_json_list(deps_json ${deps})
  baton_json_list(private_json ${private_deps})
  string(CONCAT record "{\"kind\": \"${kind}\", \"name\": \"${name}\", \"folder\": \"${folder}\", "
                       "\"files\": ${files_json}, \"deps\": ${deps_json}, "
                       "\"private_deps\": ${private_json}}")
  set_property(GLOBAL APPEND PROPERTY BATON_RECORDS
               "${record}")
endfunction()

function(baton_write_target_record)
  get_property(records GLOBAL PROPERTY BATON_RECORDS)
  list(JOIN records ",\n  " joined)
  file(WRITE ${CMAKE_BINARY_DIR}/targets.json "[\n  ${joined}\n]\n")
endfunction()

# Several sources of a target are compiled as one: most of a compiler's time here goes into the same
# headers.
function(baton_unite target)
  list(LENGTH ARGN count)
  if(BATON_UNITY AND count GREATER 1)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON)
  endif()
endfunction()

# What tests, and libraries for them alone, have in common. They are optimised less: no test
# measures itself.
function(baton_configure_test target)
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${target} PRIVATE ${ARGN} baton_warnings)
  target_compile_definitions(${target} PRIVATE BATON_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                             BATON_BINARY_DIR="${CMAKE_BINARY_DIR}")
  target_compile_options(${target} PRIVATE -pthread $<$<CONFIG:Release>:-Og>)
endfunction()

function(baton_library)
  cmake_parse_arguments(ARG "" "NAME" "HDRS;SRCS;DEPS;PRIVATE_DEPS;COPTS" ${ARGN})
  baton_resolve(deps ${ARG_DEPS})
  baton_resolve(private_deps ${ARG_PRIVATE_DEPS})
  if(ARG_SRCS)
    add_library(baton_${ARG_NAME} STATIC ${ARG_SRCS} ${ARG_HDRS})
    target_include_directories(baton_${ARG_NAME} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(baton_${ARG_NAME} PUBLIC ${deps} PRIVATE ${private_deps} baton_warnings)
    baton_unite(baton_${ARG_NAME} ${ARG_SRCS})
    file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR})
    if(folder MATCHES "^tests/(unit|contract|conformance)(/|$)")
      baton_configure_test(baton_${ARG_NAME} third_party::gtest)
      set(headers baton_one_file_main)
    else()
      target_compile_options(baton_${ARG_NAME} PRIVATE -pthread)
      set(headers baton_precompiled)
    endif()
    if(ARG_COPTS)
      target_compile_options(baton_${ARG_NAME} PRIVATE ${ARG_COPTS})
    else()
      baton_precompile(baton_${ARG_NAME} ${headers})
    endif()
  else()
    add_library(baton_${ARG_NAME} INTERFACE)
    target_include_directories(baton_${ARG_NAME} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(baton_${ARG_NAME} INTERFACE ${deps})
  endif()
  add_library(baton::${ARG_NAME} ALIAS baton_${ARG_NAME})
  baton_record(library ${ARG_NAME} "${ARG_HDRS};${ARG_SRCS}" "${ARG_DEPS}" "${ARG_PRIVATE_DEPS}")
endfunction()

# Compiles one .cu. Next to the object: <object>.ptx, and <object>.resources with what ptxas says of
# each kernel's registers, stack and spills; tests/unit/kernels/cuda reads both.
function(baton_compile_cuda source object)
  set(targets "")
  foreach(architecture IN LISTS BATON_CUDA_ARCHITECTURES)
    list(APPEND targets -gencode=arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  get_filename_component(folder ${object} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${object} BYPRODUCTS ${object}.ptx ${object}.resources
    COMMAND ${CMAKE_SOURCE_DIR}/tools/cmake/compile_cuda ${object} ${BATON_NVCC}
            -std=c++20 -O3 -lineinfo -fmad=false --expt-relaxed-constexpr
            -Xcompiler=-fPIC,-Wall,-Wno-unused-function ${targets} -I ${CMAKE_SOURCE_DIR}
            "-I$<JOIN:$<TARGET_PROPERTY:third_party_nccl,INTERFACE_INCLUDE_DIRECTORIES>,;-I>"
            ${ARGN} -c ${source}
    DEPENDS ${source} ${CMAKE_SOURCE_DIR}/tools/cmake/compile_cuda DEPFILE ${object}.d
    COMMENT "nvcc ${source}" COMMAND_EXPAND_LISTS VERBATIM)
endfunction()

function(baton_cuda_library)
  cmake_parse_arguments(ARG "" "NAME" "HDRS;SRCS;DEPS;COPTS" ${ARGN})
  if(NOT BATON_CUDA)
    baton_record(absent_library ${ARG_NAME} "${ARG_HDRS};${ARG_SRCS}" "${ARG_DEPS}" "")
    return()
  endif()
  baton_record(library ${ARG_NAME} "${ARG_HDRS};${ARG_SRCS}" "${ARG_DEPS}" "")
  set(sources "")
  foreach(source IN LISTS ARG_SRCS)
    if(source MATCHES "\\.cu$")
      set(object ${CMAKE_CURRENT_BINARY_DIR}/${ARG_NAME}.dir/${source}.o)
      baton_compile_cuda(${CMAKE_CURRENT_SOURCE_DIR}/${source} ${object} ${ARG_COPTS})
      list(APPEND sources ${object})
    else()
      list(APPEND sources ${source})
    endif()
  endforeach()
  baton_resolve(deps ${ARG_DEPS})
  if(sources)
    add_library(baton_${ARG_NAME} STATIC ${sources})
    set_target_properties(baton_${ARG_NAME} PROPERTIES LINKER_LANGUAGE CXX)
    target_include_directories(baton_${ARG_NAME} PUBLIC ${CMAKE_SOURCE_DIR})
    target_link_libraries(baton_${ARG_NAME} PUBLIC ${deps} PRIVATE baton_warnings)
  else()
    add_library(baton_${ARG_NAME} INTERFACE)
    target_include_directories(baton_${ARG_NAME} INTERFACE ${CMAKE_SOURCE_DIR})
    target_link_libraries(baton_${ARG_NAME} INTERFACE ${deps})
  endif()
  add_library(baton::${ARG_NAME} ALIAS baton_${ARG_NAME})
endfunction()

# What every program of a sanitizer's preset is linked with: tools/sanitizers.
function(baton_link_sanitizer target)
  if(NOT BATON_SANITIZER)
    return()
  endif()
  if(NOT TARGET baton_sanitizer)
    set(folder ${CMAKE_SOURCE_DIR}/tools/sanitizers)
    add_library(baton_sanitizer OBJECT ${folder}/sanitizer_defaults.cc)
    if(BATON_SANITIZER MATCHES "thread")
      target_sources(baton_sanitizer PRIVATE ${folder}/tsan_abseil.cc ${folder}/tsan_grpc.cc)
    endif()
    target_link_libraries(baton_sanitizer PRIVATE third_party::absl_status third_party::absl_sync
                          third_party::absl_time third_party::grpc)
  endif()
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:baton_sanitizer>)
  target_link_libraries(${target} PRIVATE third_party::absl_status third_party::absl_sync
                        ${CMAKE_DL_LIBS})
endfunction()

function(baton_binary)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  baton_resolve(deps ${ARG_DEPS})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  target_include_directories(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${deps} baton_warnings)
  baton_unite(${ARG_NAME} ${ARG_SRCS})
  baton_link_sanitizer(${ARG_NAME})
  baton_record(binary ${ARG_NAME} "${ARG_SRCS}" "${ARG_DEPS}" "")
endfunction()

# The program that this folder's tests share with others, one per service and per area elsewhere,
# and the object library of the folder.
function(baton_test_group out_group out_folder)
  file(RELATIVE_PATH folder ${CMAKE_SOURCE_DIR}/tests ${CMAKE_CURRENT_SOURCE_DIR})
  string(REGEX MATCH "^(unit/services/[^/]+|(unit|contract)/[^/]+|[^/]+)" group ${folder})
  string(REPLACE "/" "_" group ${group})
  string(REPLACE "/" "_" folder ${folder})
  set(${out_group} ${group}_tests PARENT_SCOPE)
  set(${out_folder} ${folder}_test_objects PARENT_SCOPE)
endfunction()

function(baton_test)
  cmake_parse_arguments(ARG "OWN_MAIN" "NAME;TIMEOUT" "SRCS;DEPS" ${ARGN})
  baton_resolve(deps ${ARG_DEPS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(BATON_SANITIZER)
    math(EXPR ARG_TIMEOUT "${ARG_TIMEOUT} * 6")  # kernels take several times as long
  endif()
  if(ARG_OWN_MAIN OR NOT BATON_UNITY)
    add_executable(${ARG_NAME} ${ARG_SRCS})
    baton_configure_test(${ARG_NAME} ${deps} third_party::gtest_main)
    baton_link_sanitizer(${ARG_NAME})
    add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  else()
    baton_test_group(group folder)
    if(NOT TARGET ${group})
      add_executable(${group} $<TARGET_OBJECTS:baton_one_file_main>)
      baton_configure_test(${group} third_party::gtest)
      baton_link_sanitizer(${group})
    endif()
    if(NOT TARGET ${folder})
      add_library(${folder} OBJECT)
      baton_configure_test(${folder} third_party::gtest)
      set_target_properties(${folder} PROPERTIES UNITY_BUILD ON)
      baton_precompile(${folder} baton_one_file_main)
      target_link_libraries(${group} PRIVATE ${folder})
    endif()
    set(files ${ARG_SRCS})
    list(TRANSFORM files PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    target_sources(${folder} PRIVATE ${files})
    target_link_libraries(${folder} PRIVATE ${deps})
    list(TRANSFORM files REPLACE "^${CMAKE_SOURCE_DIR}/" "")
    list(JOIN files "," files)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/tests/${ARG_NAME} @ONLY
         CONTENT "#!/bin/sh\nexec \"$(dirname \"$0\")/${group}\" --only-files=${files} \"$@\"\n")
    file(CHMOD ${CMAKE_BINARY_DIR}/tests/${ARG_NAME}
         PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                     WORLD_READ WORLD_EXECUTE)
    add_custom_target(${ARG_NAME} DEPENDS ${group})
    add_test(NAME ${ARG_NAME} COMMAND ${group} --only-files=${files})
  endif()
  set_tests_properties(${ARG_NAME} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
  if(BATON_SANITIZER MATCHES "thread")
    # UCX's hooks of memory calls run in threads that the sanitizer has not met yet, which ends the
    # process.
    set_property(TEST ${ARG_NAME} PROPERTY ENVIRONMENT UCX_MEM_EVENTS=no)
  endif()
  baton_record(test ${ARG_NAME} "${ARG_SRCS}" "${ARG_DEPS}" "")
endfunction()

function(baton_bench)
  cmake_parse_arguments(ARG "" "NAME" "SRCS;DEPS" ${ARGN})
  baton_resolve(deps ${ARG_DEPS})
  add_executable(${ARG_NAME} ${ARG_SRCS})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  target_include_directories(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${ARG_NAME} PRIVATE ${deps} third_party::benchmark baton_warnings)
  target_compile_definitions(${ARG_NAME} PRIVATE BATON_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  baton_link_sanitizer(${ARG_NAME})
  baton_record(bench ${ARG_NAME} "${ARG_SRCS}" "${ARG_DEPS}" "")
endfunction()

# Generates C++ from one .proto; the generated header is included by its root path:
# "protos/baton/v1/types.pb.h".
function(baton_proto)
  cmake_parse_arguments(ARG "GRPC" "NAME" "SRCS;DEPS" ${ARGN})
  baton_resolve(deps ${ARG_DEPS})
  set(out ${CMAKE_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  set(generated "")
  foreach(proto IN LISTS ARG_SRCS)
    file(RELATIVE_PATH stem ${CMAKE_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/${proto})
    string(REGEX REPLACE "\\.proto$" "" stem ${stem})
    set(files ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
    set(command protobuf::protoc -I ${CMAKE_SOURCE_DIR} --cpp_out=${out})
    if(ARG_GRPC)
      list(APPEND files ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
      list(APPEND command --grpc_out=${out}
                          --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(OUTPUT ${files} COMMAND ${command} ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
                       DEPENDS ${proto} COMMENT "protoc ${stem}.proto" VERBATIM)
    list(APPEND generated ${files})
  endforeach()
  add_library(baton_${ARG_NAME} STATIC ${generated})
  target_include_directories(baton_${ARG_NAME} SYSTEM PUBLIC ${out})
  set(third protobuf::libprotobuf)
  if(ARG_GRPC)
    list(APPEND third gRPC::grpc++)
  endif()
  target_link_libraries(baton_${ARG_NAME} PUBLIC ${third} ${deps})
  add_library(baton::${ARG_NAME} ALIAS baton_${ARG_NAME})
  baton_record(proto ${ARG_NAME} "${ARG_SRCS}" "${ARG_DEPS}" "")
endfunction()
