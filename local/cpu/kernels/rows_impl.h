/* rows_impl: the row functions of a kernel set, written once over the sixteen
 * lanes of the vec_*.h that was included before. Every set compiles this same
 * text, so the expressions cannot drift apart. Included once per set. */

/* Runs the loop body for each 16 elements and once for the rest, with their
 * offset `off` and their count `cnt`, which is 16 except for the rest. */
#define ROWS_EACH(n)                                                           \
  for (size_t off = 0, cnt;                                                    \
       off < (n) && (cnt = (n)-off < 16 ? (n)-off : 16, true); off += 16)

static inline vf_t rd(const float *p, size_t cnt) {
  return cnt == 16 ? vf_load(p) : vf_loadn(p, cnt);
}

static inline void wr(float *p, vf_t a, size_t cnt) {
  if (cnt == 16) {
    vf_store(p, a);
  } else {
    vf_storen(p, a, cnt);
  }
}

static inline vf_t vf_neg(vf_t a) {
  return vf_bits(vi_add(vi_bits(a), vi_set1(INT32_MIN)));
}

/* exp: n = round(x / ln 2), r = x - n ln 2, polynomial in r, times 2^n in two
 * factors so that subnormal results round once. */
static inline vf_t vf_exp(vf_t x) {
  const vf_t hi = vf_set1(89.0f), lo = vf_set1(-104.0f);
  const vf_t magic = vf_set1(0x1.8p23f), one = vf_set1(1.0f);
  x = vf_select(vf_lt(hi, x), hi, x);
  x = vf_select(vf_lt(x, lo), lo, x);
  vf_t t = vf_fma(x, vf_set1(0x1.715476p+0f), magic);
  vi_t n = vi_sub(vi_bits(t), vi_bits(magic));
  t = vf_sub(t, magic);
  vf_t r = vf_fma(t, vf_set1(-0x1.62e43p-1f), x);
  r = vf_fma(t, vf_set1(0x1.05c61p-29f), r);
  vf_t p = vf_set1(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
  p = vf_add(vf_fma(p, vf_mul(r, r), r), one);
  vi_t n1 = vi_sar(n, 1), n2 = vi_sub(n, n1);
  p = vf_mul(p, vf_bits(vi_add(vi_shl(n1, 23), vi_bits(one))));
  return vf_mul(p, vf_bits(vi_add(vi_shl(n2, 23), vi_bits(one))));
}

/* log: x = 2^e m with m in [sqrt(1/2), sqrt(2)), polynomial in m - 1. */
static inline vf_t vf_log(vf_t x) {
  const vf_t tiny = vf_set1(0x1p-126f), zero = vf_set1(0);
  const vf_t inf = vf_set1(INFINITY);
  vm_t sub = vf_lt(x, tiny);
  vf_t y = vf_select(sub, vf_mul(x, vf_set1(0x1p23f)), x);
  vi_t shifted = vi_sub(vi_bits(y), vi_set1(0x3f3504f3));
  vi_t e = vi_sar(shifted, 23);
  vf_t ef = vf_from_int(e);
  ef = vf_select(sub, vf_sub(ef, vf_set1(23.0f)), ef);
  vf_t f = vf_sub(vf_bits(vi_sub(vi_bits(y), vi_shl(e, 23))), vf_set1(1.0f));
  vf_t z = vf_mul(f, f), p = vf_set1(7.0376836292e-2f);
  p = vf_fma(p, f, vf_set1(-1.1514610310e-1f));
  p = vf_fma(p, f, vf_set1(1.1676998740e-1f));
  p = vf_fma(p, f, vf_set1(-1.2420140846e-1f));
  p = vf_fma(p, f, vf_set1(1.4249322787e-1f));
  p = vf_fma(p, f, vf_set1(-1.6668057665e-1f));
  p = vf_fma(p, f, vf_set1(2.0000714765e-1f));
  p = vf_fma(p, f, vf_set1(-2.4999993993e-1f));
  p = vf_fma(p, f, vf_set1(3.3333331174e-1f));
  p = vf_mul(vf_mul(p, f), z);
  p = vf_fma(ef, vf_set1(-0x1.05c61p-29f), p);
  p = vf_fma(z, vf_set1(-0.5f), p);
  vf_t r = vf_fma(ef, vf_set1(0x1.62e43p-1f), vf_add(f, p));
  r = vf_select(vf_lt(zero, x), r, vf_set1(-INFINITY));
  r = vf_select(vf_lt(x, inf), r, x); /* inf and NaN stay */
  return vf_select(vf_lt(x, zero), vf_set1(NAN), r);
}

/* 1 / (1 + exp(-x)) */
static inline vf_t vf_sigmoid(vf_t x) {
  const vf_t one = vf_set1(1.0f);
  return vf_div(one, vf_add(one, vf_exp(vf_neg(x))));
}

static inline vf_t vf_silu(vf_t x) {
  return vf_div(x, vf_add(vf_set1(1.0f), vf_exp(vf_neg(x))));
}

/* The fixed join of the sixteen chains. */
static inline float join_sum(vf_t a) {
  float v[16];
  vf_store(v, a);
  for (int w = 8; w > 0; w >>= 1) {
    for (int l = 0; l < w; l++) v[l] = v[l] + v[l + w];
  }
  return v[0];
}

static inline float join_max(vf_t a) {
  float v[16];
  vf_store(v, a);
  for (int w = 8; w > 0; w >>= 1) {
    for (int l = 0; l < w; l++) v[l] = v[l] < v[l + w] ? v[l + w] : v[l];
  }
  return v[0];
}

static void rows_exp(float *y, const float *x, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_exp(rd(x + off, cnt)), cnt);
}

static void rows_log(float *y, const float *x, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_log(rd(x + off, cnt)), cnt);
}

static void rows_silu(float *y, const float *x, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_silu(rd(x + off, cnt)), cnt);
}

static void rows_add(float *y, const float *x, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_add(rd(y + off, cnt), rd(x + off, cnt)), cnt);
}

static void rows_mul(float *y, const float *x, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_mul(rd(y + off, cnt), rd(x + off, cnt)), cnt);
}

static void rows_scale(float *y, float a, size_t n) {
  ROWS_EACH(n) wr(y + off, vf_mul(rd(y + off, cnt), vf_set1(a)), cnt);
}

static void rows_axpy(float *y, float a, const float *x, size_t n) {
  vf_t va = vf_set1(a);
  ROWS_EACH(n)
  wr(y + off, vf_fma(va, rd(x + off, cnt), rd(y + off, cnt)), cnt);
}

static inline vf_t widen16(const uint16_t *p, tinker__cpu_elem_t type) {
  return type == TINKER__BF16 ? vf_load_bf16(p) : vf_load_f16(p);
}

static void rows_widen(float *y, const void *x, tinker__cpu_elem_t type,
                       size_t n) {
  const uint16_t *h = x;
  if (type == TINKER__F32) {
    memcpy(y, x, n * sizeof *y);
    return;
  }
  size_t i = 0;
  for (; n - i >= 16; i += 16) vf_store(y + i, widen16(h + i, type));
  for (; i < n; i++) {
    y[i] = type == TINKER__BF16 ? tinker__cpu_bf16_to_f32(h[i])
                                : tinker__cpu_f16_to_f32(h[i]);
  }
}

static float rows_sum(const float *x, size_t n) {
  vf_t acc = vf_set1(0);
  ROWS_EACH(n)
  acc = vf_first(cnt, vf_add(acc, rd(x + off, cnt)), acc);
  return join_sum(acc);
}

static float rows_dot(const float *x, const float *y, size_t n) {
  vf_t acc = vf_set1(0);
  ROWS_EACH(n)
  acc = vf_first(cnt, vf_fma(rd(x + off, cnt), rd(y + off, cnt), acc), acc);
  return join_sum(acc);
}

static float rows_sumsq(const float *x, size_t n) {
  return rows_dot(x, x, n);
}

static float rows_max(const float *x, size_t n) {
  vf_t acc = vf_set1(-INFINITY);
  ROWS_EACH(n) {
    vf_t v = rd(x + off, cnt);
    acc = vf_first(cnt, vf_select(vf_lt(acc, v), v, acc), acc);
  }
  return join_max(acc);
}

static float rows_rmsnorm(float *y, const float *x, const float *w, size_t n,
                          float eps) {
  float r = 1.0f / sqrtf(rows_sumsq(x, n) / (float)n + eps);
  vf_t vr = vf_set1(r);
  ROWS_EACH(n) {
    vf_t v = vf_mul(rd(x + off, cnt), vr);
    wr(y + off, w ? vf_mul(v, rd(w + off, cnt)) : v, cnt);
  }
  return r;
}

/* With g = dy * w: dx = r g - x (r^3 / n) sum(g x). */
static void rows_rmsnorm_back(float *dx, const float *dy, const float *x,
                              const float *w, size_t n, float r,
                              bool accumulate) {
  const vf_t one = vf_set1(1.0f);
  vf_t acc = vf_set1(0);
  ROWS_EACH(n) {
    vf_t g = vf_mul(rd(dy + off, cnt), w ? rd(w + off, cnt) : one);
    acc = vf_first(cnt, vf_fma(g, rd(x + off, cnt), acc), acc);
  }
  float s = join_sum(acc) * (r * r) * r / (float)n;
  vf_t vr = vf_set1(r), vs = vf_set1(-s);
  ROWS_EACH(n) {
    vf_t g = vf_mul(rd(dy + off, cnt), w ? rd(w + off, cnt) : one);
    vf_t d = vf_fma(rd(x + off, cnt), vs, vf_mul(g, vr));
    wr(dx + off, accumulate ? vf_add(rd(dx + off, cnt), d) : d, cnt);
  }
}

static void rows_softmax(float *y, const float *x, size_t n, float scale) {
  vf_t vs = vf_set1(scale), top = vf_set1(-INFINITY), acc = vf_set1(0);
  ROWS_EACH(n) {
    vf_t v = vf_mul(rd(x + off, cnt), vs);
    top = vf_first(cnt, vf_select(vf_lt(top, v), v, top), top);
  }
  top = vf_set1(join_max(top));
  ROWS_EACH(n) {
    vf_t e = vf_exp(vf_sub(vf_mul(rd(x + off, cnt), vs), top));
    wr(y + off, e, cnt);
    acc = vf_first(cnt, vf_add(acc, e), acc);
  }
  rows_scale(y, 1.0f / join_sum(acc), n);
}

static void rows_softmax_back(float *dx, const float *p, const float *dp,
                              size_t n, float scale) {
  vf_t d = vf_set1(rows_dot(p, dp, n)), vs = vf_set1(scale);
  ROWS_EACH(n) {
    vf_t g = vf_mul(rd(p + off, cnt), vf_sub(rd(dp + off, cnt), d));
    wr(dx + off, vf_mul(g, vs), cnt);
  }
}

static float rows_lse(const float *x, size_t n) {
  float top = rows_max(x, n);
  vf_t vt = vf_set1(top), acc = vf_set1(0);
  if (top == -INFINITY) return top;
  ROWS_EACH(n)
  acc = vf_first(cnt, vf_add(acc, vf_exp(vf_sub(rd(x + off, cnt), vt))), acc);
  return top + tinker__cpu_logf(join_sum(acc));
}

static void rows_xent_back(float *dx, const float *x, size_t n, float lse,
                           size_t target, float w) {
  vf_t vl = vf_set1(lse), vw = vf_set1(w);
  ROWS_EACH(n)
  wr(dx + off, vf_mul(vf_exp(vf_sub(rd(x + off, cnt), vl)), vw), cnt);
  dx[target] = dx[target] - w;
}

static void rows_silu_mul(float *y, const float *gate, const float *up,
                          size_t n) {
  ROWS_EACH(n)
  wr(y + off, vf_mul(vf_silu(rd(gate + off, cnt)), rd(up + off, cnt)), cnt);
}

/* silu'(g) = s + g s (1 - s) = s (1 + g (1 - s)) with s = sigmoid(g). */
static void rows_silu_mul_back(float *dgate, float *dup, const float *dy,
                               const float *gate, const float *up, size_t n) {
  const vf_t one = vf_set1(1.0f);
  ROWS_EACH(n) {
    vf_t g = rd(gate + off, cnt), d = rd(dy + off, cnt), u = rd(up + off, cnt);
    vf_t s = vf_sigmoid(g);
    vf_t slope = vf_mul(s, vf_fma(g, vf_sub(one, s), one));
    wr(dgate + off, vf_mul(vf_mul(d, u), slope), cnt);
    wr(dup + off, vf_mul(d, vf_mul(g, s)), cnt);
  }
}

static void rows_rope(float *x, const float *cos, const float *sin, size_t half,
                      bool inverse) {
  ROWS_EACH(half) {
    vf_t a = rd(x + off, cnt), b = rd(x + half + off, cnt);
    vf_t c = rd(cos + off, cnt), s = rd(sin + off, cnt);
    if (inverse) s = vf_neg(s);
    wr(x + off, vf_fma(a, c, vf_neg(vf_mul(b, s))), cnt);
    wr(x + half + off, vf_fma(b, c, vf_mul(a, s)), cnt);
  }
}

static void rows_adamw(float *p, float *m, float *v, const float *g, size_t n,
                       const tinker__cpu_adamw_t *o) {
  vf_t gs = vf_set1(o->grad_scale), b1 = vf_set1(o->beta1);
  vf_t b2 = vf_set1(o->beta2), c1 = vf_set1(1.0f - o->beta1);
  vf_t c2 = vf_set1(1.0f - o->beta2), eps = vf_set1(o->eps);
  vf_t keep = vf_set1(1.0f - o->lr * o->weight_decay);
  vf_t step = vf_set1(-(o->lr / o->bias1)), root = vf_set1(sqrtf(o->bias2));
  ROWS_EACH(n) {
    vf_t d = vf_mul(rd(g + off, cnt), gs);
    vf_t mm = vf_fma(b1, rd(m + off, cnt), vf_mul(c1, d));
    vf_t vv = vf_fma(b2, rd(v + off, cnt), vf_mul(c2, vf_mul(d, d)));
    vf_t den = vf_add(vf_div(vf_sqrt(vv), root), eps);
    wr(m + off, mm, cnt);
    wr(v + off, vv, cnt);
    wr(p + off, vf_fma(step, vf_div(mm, den), vf_mul(rd(p + off, cnt), keep)),
       cnt);
  }
}

#undef ROWS_EACH
