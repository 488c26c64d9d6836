/* A driver for a machine without a GPU: it answers CUDA_ERROR_NO_DEVICE to everything. These are the
   functions that libmxnet.so of mxnet-cu112 1.9.1 links; the CUDA runtime looks for cuInit. */
#define NO_DEVICE(name) int name(void) { return 100; }
NO_DEVICE(cuInit)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDevicePrimaryCtxRetain)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuGraphKernelNodeGetParams)
NO_DEVICE(cuGraphNodeGetType)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuModuleGetFunction)
NO_DEVICE(cuModuleLoadData)
NO_DEVICE(cuModuleLoadDataEx)
NO_DEVICE(cuModuleUnload)
