/* sets: the kernel sets that this build has, for kernels.c only. */
#ifndef TINKER_KERNELS_SETS_H
#define TINKER_KERNELS_SETS_H

#include "cpu/kernels/kernels.h"

extern const tinker__kernels_t tinker__kernels_scalar;
#ifdef TINKER_KERNELS_X86
extern const tinker__kernels_t tinker__kernels_avx2;
extern const tinker__kernels_t tinker__kernels_avx512;
#endif

#endif
