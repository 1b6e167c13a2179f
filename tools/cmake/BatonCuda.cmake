# The CUDA toolkit, for the presets that build kernels/cuda. nvcc is run by baton_cuda_library
# itself and only compiles; everything is linked by the C++ compiler. The runtime is linked
# statically.
find_package(CUDAToolkit 12.9 REQUIRED)
find_program(BATON_NVCC nvcc HINTS ${CUDAToolkit_BIN_DIR} REQUIRED)
find_path(BATON_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)

baton_third_party(cuda CUDA::cudart_static)
baton_third_party(cublas)  # their headers: the libraries are loaded when they are needed
baton_third_party(nccl)
foreach(package cuda cublas nccl)
  target_include_directories(third_party_${package} SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS}
                             ${BATON_NCCL_INCLUDE})
endforeach()
