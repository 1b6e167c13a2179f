# The CUDA toolkit, for the presets that build kernels/cuda. nvcc is run by baton_cuda_library itself and only compiles;
# everything is linked by the C++ compiler. The runtime is linked statically, cuBLAS is a shared library.
find_package(CUDAToolkit 12.9 REQUIRED)
find_program(BATON_NVCC nvcc HINTS ${CUDAToolkit_BIN_DIR} REQUIRED)
find_path(BATON_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)

baton_third_party(cuda CUDA::cudart_static)
baton_third_party(cublas CUDA::cublas CUDA::cublasLt)
baton_third_party(nccl)  # its header: the library is loaded when it is needed
foreach(package cuda cublas nccl)
  target_include_directories(third_party_${package} SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${BATON_NCCL_INCLUDE})
endforeach()
