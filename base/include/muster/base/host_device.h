// Functions that both a CPU's and a GPU's code are made of.
#ifndef MUSTER_BASE_HOST_DEVICE_H_
#define MUSTER_BASE_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define MUSTER_HOST_DEVICE __host__ __device__
#else
#define MUSTER_HOST_DEVICE
#endif

#endif  // MUSTER_BASE_HOST_DEVICE_H_
