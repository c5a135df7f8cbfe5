/* sets: the kernel sets that this build has, for kernels.c only. */
#ifndef TINKER_KERNELS_SETS_H
#define TINKER_KERNELS_SETS_H

#include "cpu/kernels/kernels.h"

/* To be put before a loop with a small constant count. Sums live in registers
 * only if the compiler leaves no loop over them. Under a sanitizer loops are
 * kept, since unrolled ones take minutes to compile. */
#if defined(TINKER_KERNELS_KEEP_LOOPS)
#define KERNELS_UNROLL
#elif defined(__clang__)
#define KERNELS_UNROLL _Pragma("clang loop unroll(full)")
#else
#define KERNELS_UNROLL _Pragma("GCC unroll 16")
#endif

extern const tinker__cpu_kernels_t tinker__cpu_kernels_scalar;
#ifdef TINKER_KERNELS_X86
extern const tinker__cpu_kernels_t tinker__cpu_kernels_avx2;
extern const tinker__cpu_kernels_t tinker__cpu_kernels_avx512;
#endif
#ifdef TINKER_KERNELS_ARM
extern const tinker__cpu_kernels_t tinker__cpu_kernels_neon;
#endif

#endif
