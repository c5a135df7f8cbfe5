/* avx2: the kernel set for AVX2 with FMA and F16C. Compiled with those flags,
 * so nothing here may run before kernels.c has asked the processor. */
#include "cpu/kernels/sets.h"
#include "cpu/kernels/vec_avx2.h"

/* 6 rows x 1 panel: 12 sums, 2 for the panel, a row value of 16 registers.
 * One row may take 4 panels, to have 8 chains under way. */
#define TILE_MAX_MR 6
#define TILE_MAX_NP 4
#define TILE_MAX_ACC 6
#define TILE_UNROLL KERNELS_UNROLL
/* clang-format off */
#define TILE_SHAPES(X)                                                         \
  X(1, 1)                                                                      \
  X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(1, 2) X(2, 2) X(3, 2) X(1, 4)
/* clang-format on */

#define STREAM_MAX_MR 6
/* clang-format off */
#define STREAM_SHAPES TILE_SHAPES
/* clang-format on */

static const unsigned char tile_np[TILE_MAX_MR + 1] = {0, 4, 2, 2, 1, 1, 1};
static const unsigned char stream_np[STREAM_MAX_MR + 1] = {0, 4, 2, 2, 1, 1, 1};

#include "cpu/kernels/rows_impl.h"
#include "cpu/kernels/tile_impl.h"

TILE_KERNELS(tinker__cpu_kernels_avx2, "avx2");
