/* avx512: the kernel set for AVX-512 (F, BW, DQ, VL). Compiled with those
 * flags, so nothing here may run before kernels.c has asked the processor. */
#include "cpu/kernels/sets.h"
#include "cpu/kernels/vec_avx512.h"

/* 6 rows x 4 panels: 24 sums, 4 panels and a row value of 32 registers. */
#define TILE_MAX_MR 6
#define TILE_MAX_NP 4
#define TILE_MAX_ACC 24
#define TILE_UNROLL KERNELS_UNROLL
/* clang-format off */
#define TILE_SHAPES(X)                                                         \
  X(1, 1)                                                                      \
  X(2, 1)                                                                      \
  X(3, 1)                                                                      \
  X(4, 1)                                                                      \
  X(5, 1) X(6, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(1, 4)      \
      X(2, 4) X(3, 4) X(4, 4) X(5, 4) X(6, 4)
/* clang-format on */

/* 8 rows x 2 panels: eight samples in one pass over the weights. */
#define STREAM_MAX_MR 8
/* clang-format off */
#define STREAM_SHAPES(X)                                                       \
  X(1, 1)                                                                      \
  X(2, 1)                                                                      \
  X(3, 1)                                                                      \
  X(4, 1)                                                                      \
  X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2)      \
      X(6, 2) X(7, 2) X(8, 2) X(1, 4) X(2, 4) X(3, 4) X(4, 4)
/* clang-format on */

static const unsigned char tile_np[TILE_MAX_MR + 1] = {0, 4, 4, 4, 4, 4, 4};
static const unsigned char stream_np[STREAM_MAX_MR + 1] = {0, 4, 4, 4, 4,
                                                           2, 2, 2, 2};

#include "cpu/kernels/rows_impl.h"
#include "cpu/kernels/tile_impl.h"

TILE_KERNELS(tinker__cpu_kernels_avx512, "avx512");
