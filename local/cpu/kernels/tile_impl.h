/* tile_impl: product tiles and packing of a kernel set, written once over the
 * lanes of the vec_*.h that was included before. TILE_* macros say which tile
 * shapes fit the register file. Included once per set, after rows_impl.h. */

#define TILE_INLINE static inline __attribute__((always_inline))

TILE_INLINE vf_t tile_load_b(const void *b, size_t at,
                             tinker__cpu_elem_t type) {
  if (type == TINKER__F32) return vf_load((const float *)b + at);
  return widen16((const uint16_t *)b + at, type);
}

#ifndef VF_ONTO
static inline void vf_onto(vf_t *c, vf_t a, vf_t b) {
  *c = vf_fma(a, b, *c);
}
#endif

#ifndef VF_DEALS_BF16
static inline vf_t vf_load_dealt(const uint16_t *p) {
  return vf_load_bf16(p);
}

static inline vf_t vf_deal(vf_t a) {
  return a;
}
#endif

/* Loads 16 values of b in the order that is cheapest for the set; the sums have
 * that order too. */
TILE_INLINE vf_t tile_load_any(const void *b, size_t at,
                               tinker__cpu_elem_t type) {
  if (type == TINKER__BF16) return vf_load_dealt((const uint16_t *)b + at);
  return tile_load_b(b, at, type);
}

TILE_INLINE vf_t tile_order(vf_t c, tinker__cpu_elem_t type) {
  return type == TINKER__BF16 ? vf_deal(c) : c;
}

/* One k: np panels at b + at, a value of each row. mr and np are constants
 * wherever this is expanded, so that acc lives in registers. */
TILE_INLINE void tile_step(const unsigned mr, const unsigned np,
                           const tinker__cpu_elem_t type, vf_t *acc,
                           const float *a, size_t a_rs, const void *b,
                           size_t at, size_t b_ps) {
  TILE_UNROLL
  for (unsigned p = 0; p < np; p++) {
    vf_t vb = tile_load_any(b, at + p * b_ps, type);
    TILE_UNROLL
    for (unsigned i = 0; i < mr; i++) {
      vf_onto(&acc[i * np + p], vf_set1(a[i * a_rs]), vb);
    }
  }
}

/* asks: prefetches a cache line of each panel at `ask`, once for every cache
 * line read. The address is an integer because it may lie past the matrix,
 * where a prefetch does nothing. */
TILE_INLINE void tile_body(const unsigned mr, const unsigned np,
                           const tinker__cpu_elem_t type, const bool asks,
                           size_t k, const float *a, size_t a_rs, size_t a_ks,
                           const void *b, size_t b_ks, size_t b_ps,
                           uintptr_t ask, size_t ask_step, float *c, size_t ldc,
                           bool load) {
  const size_t line = asks && type != TINKER__F32 ? 2 : 1;
  const size_t size = type == TINKER__F32 ? 4 : 2;
  vf_t acc[TILE_MAX_ACC];
  size_t at = 0;
  TILE_UNROLL
  for (unsigned i = 0; i < mr; i++) {
    TILE_UNROLL
    for (unsigned p = 0; p < np; p++) {
      acc[i * np + p] =
          load ? tile_order(vf_load(c + i * ldc + p * 16), type) : vf_set1(0);
    }
  }
  for (; k >= line; k -= line) {
    TILE_UNROLL
    for (unsigned p = 0; asks && p < np; p++) {
      __builtin_prefetch((const void *)(ask + p * b_ps * size));
    }
    ask += ask_step;
    TILE_UNROLL
    for (size_t j = 0; j < line; j++, at += b_ks, a += a_ks) {
      tile_step(mr, np, type, acc, a, a_rs, b, at, b_ps);
    }
  }
  if (k > 0) tile_step(mr, np, type, acc, a, a_rs, b, at, b_ps);
  TILE_UNROLL
  for (unsigned i = 0; i < mr; i++) {
    TILE_UNROLL
    for (unsigned p = 0; p < np; p++) {
      vf_store(c + i * ldc + p * 16, tile_order(acc[i * np + p], type));
    }
  }
}

#define TILE_CASE(mr, np)                                                      \
  case (mr)*16 + (np):                                                         \
    tile_body((mr), (np), TILE_TYPE, TILE_ASK, k, a, a_rs, a_ks, b, b_ks,      \
              b_ps, ask, ask_step, c, ldc, load);                              \
    break;
#define TILE_FN(name, shapes)                                                  \
  static void name(unsigned mr, unsigned np, size_t k, const float *a,         \
                   size_t a_rs, size_t a_ks, const void *b, size_t b_ks,       \
                   size_t b_ps, uintptr_t ask, size_t ask_step, float *c,      \
                   size_t ldc, bool load) {                                    \
    (void)ask, (void)ask_step;                                                 \
    switch (mr * 16 + np) { shapes(TILE_CASE) }                                \
  }

#define TILE_TYPE TINKER__F32
#define TILE_ASK false
TILE_FN(tile_f32, TILE_SHAPES)
#undef TILE_ASK
#define TILE_ASK true
TILE_FN(stream_f32, STREAM_SHAPES)
#undef TILE_TYPE
#define TILE_TYPE TINKER__BF16
TILE_FN(stream_bf16, STREAM_SHAPES)
#undef TILE_TYPE
#define TILE_TYPE TINKER__F16
TILE_FN(stream_f16, STREAM_SHAPES)
#undef TILE_TYPE
#undef TILE_ASK

/* Lanes 0 .. cols of `rows` rows of memory as the rows of a square, the rest
 * zero; the square's columns are then its rows. */
TILE_INLINE void turn(vf_t square[16], const float *in, size_t rs, size_t rows,
                      size_t cols) {
  for (size_t i = 0; i < 16; i++) {
    square[i] = i < rows ? rd(in + i * rs, cols) : vf_set1(0);
  }
  vf_transpose(square);
}

/* Stores whole vectors where mr values are wanted. Each store overwrites the
 * surplus of the one before, and the scratch has room after the last. */
static void pack_a(float *out, const float *a, size_t rs, size_t cs,
                   unsigned mr, size_t k) {
  vf_t square[16];
  if (cs == 1) {
    for (size_t j = 0; j < k; j += 16) {
      size_t len = k - j < 16 ? k - j : 16;
      turn(square, a + j, rs, mr, len);
      for (size_t i = 0; i < len; i++) vf_store(out + (j + i) * mr, square[i]);
    }
  } else if (rs == 1) {
    for (size_t j = 0; j < k; j++) {
      vf_store(out + j * mr, vf_loadn(a + j * cs, mr));
    }
  } else {
    for (size_t j = 0; j < k; j++) {
      for (size_t i = 0; i < mr; i++) out[j * mr + i] = a[i * rs + j * cs];
    }
  }
}

static void pack_b(float *out, const float *b, size_t rs, size_t cs, size_t n,
                   size_t k) {
  vf_t square[16];
  if (cs == 1) {
    for (size_t j = 0; j < k; j++) vf_store(out + j * 16, rd(b + j * rs, n));
  } else if (rs == 1) {
    for (size_t j = 0; j < k; j += 16) {
      size_t len = k - j < 16 ? k - j : 16;
      turn(square, b + j, cs, n, len);
      for (size_t i = 0; i < len; i++) vf_store(out + (j + i) * 16, square[i]);
    }
  } else {
    memset(out, 0, k * 16 * sizeof *out);
    for (size_t j = 0; j < k; j++) {
      for (size_t i = 0; i < n; i++) out[j * 16 + i] = b[j * rs + i * cs];
    }
  }
}

/* The weight's panel n / 16 holds output n as lane n % 16 of each row k, so
 * sixteen rows of a panel are one square to transpose. */
static void pack_t(float *out, const void *panels, tinker__cpu_elem_t type,
                   size_t k_in, size_t n0, size_t n, size_t k0, size_t kn) {
  vf_t square[16];
  for (size_t r = 0; r < n; r += 16) {
    size_t at = ((n0 + r) / 16 * k_in + k0) * 16;
    for (size_t j = 0; j < 16; j++) {
      square[j] = j < kn ? tile_load_b(panels, at + j * 16, type) : vf_set1(0);
    }
    vf_transpose(square);
    for (size_t i = 0; i < 16 && r + i < n; i++) {
      vf_store(out + (r + i) * 16, square[i]);
    }
  }
}

#define TILE_KERNELS(symbol, label)                                            \
  const tinker__cpu_kernels_t symbol = {                                       \
      .name = label,                                                           \
      .exp = rows_exp,                                                         \
      .log = rows_log,                                                         \
      .silu = rows_silu,                                                       \
      .add = rows_add,                                                         \
      .mul = rows_mul,                                                         \
      .scale = rows_scale,                                                     \
      .axpy = rows_axpy,                                                       \
      .widen = rows_widen,                                                     \
      .sum = rows_sum,                                                         \
      .sumsq = rows_sumsq,                                                     \
      .dot = rows_dot,                                                         \
      .max = rows_max,                                                         \
      .rmsnorm = rows_rmsnorm,                                                 \
      .rmsnorm_back = rows_rmsnorm_back,                                       \
      .softmax = rows_softmax,                                                 \
      .softmax_back = rows_softmax_back,                                       \
      .lse = rows_lse,                                                         \
      .xent_back = rows_xent_back,                                             \
      .silu_mul = rows_silu_mul,                                               \
      .silu_mul_back = rows_silu_mul_back,                                     \
      .rope = rows_rope,                                                       \
      .adamw = rows_adamw,                                                     \
      .max_mr = TILE_MAX_MR,                                                   \
      .np = tile_np,                                                           \
      .tile = tile_f32,                                                        \
      .stream_mr = STREAM_MAX_MR,                                              \
      .stream_np = stream_np,                                                  \
      .stream = {stream_f32, stream_bf16, stream_f16},                         \
      .pack_a = pack_a,                                                        \
      .pack_b = pack_b,                                                        \
      .pack_t = pack_t}
