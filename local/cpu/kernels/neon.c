/* neon: the kernel set for AArch64. Every such machine has the instructions.
 * Pure functions, any thread. */
#include "cpu/kernels/sets.h"
#include "cpu/kernels/vec_neon.h"

/* 5 rows x 1 panel: 20 sums, 4 for the panel, a row value of 32 registers. */
#define TILE_MAX_MR 5
#define TILE_MAX_NP 4
#define TILE_MAX_ACC 5
#define TILE_UNROLL KERNELS_UNROLL
#define TILE_SHAPES(X)                                                         \
  X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(1, 2) X(2, 2) X(1, 4)

#define STREAM_MAX_MR 5
#define STREAM_SHAPES TILE_SHAPES

static const unsigned char tile_np[TILE_MAX_MR + 1] = {0, 4, 2, 1, 1, 1};
static const unsigned char stream_np[STREAM_MAX_MR + 1] = {0, 4, 2, 1, 1, 1};

#include "cpu/kernels/rows_impl.h"
#include "cpu/kernels/tile_impl.h"

TILE_KERNELS(tinker__cpu_kernels_neon, "neon");
