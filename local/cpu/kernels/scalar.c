/* scalar: the kernel set in plain C, for machines without a vector set and as
 * the meaning of the others. Pure functions, any thread. */
#include "cpu/kernels/sets.h"
#include "cpu/kernels/vec_scalar.h"

#define TILE_MAX_MR 4
#define TILE_MAX_NP 1
#define TILE_MAX_ACC 4
#define TILE_UNROLL
#define TILE_SHAPES(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1)

#define STREAM_MAX_MR 4
#define STREAM_SHAPES TILE_SHAPES

static const unsigned char tile_np[TILE_MAX_MR + 1] = {0, 1, 1, 1, 1};
static const unsigned char stream_np[STREAM_MAX_MR + 1] = {0, 1, 1, 1, 1};

#include "cpu/kernels/rows_impl.h"
#include "cpu/kernels/tile_impl.h"

float tinker__cpu_expf(float x) {
  float y;
  rows_exp(&y, &x, 1);
  return y;
}

float tinker__cpu_logf(float x) {
  float y;
  rows_log(&y, &x, 1);
  return y;
}

float tinker__cpu_siluf(float x) {
  float y;
  rows_silu(&y, &x, 1);
  return y;
}

TILE_KERNELS(tinker__cpu_kernels_scalar, "scalar");
