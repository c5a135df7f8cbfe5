/* gemm: cuts products of any shape into blocks and tiles for a kernel set.
 *
 * The cut (blocks of k in ascending order, blocks and tasks of the output)
 * changes no result: between two blocks of k a chain rests in c as the
 * float it is. A product runs on the pool's threads, or inside one task; its
 * scratch is the worker's own. */
#include <string.h>

#include "cpu/kernels/kernels.h"

/* Up to so many rows the right operand is read in place, packed weights and
 * others; a copy in panels of floats pays when more rows share it. */
#define DIRECT_ROWS 32
#define DIRECT_STRIDED 8
/* Up to so many columns the left operand is read in place. */
#define DIRECT_COLS 64
/* Floats of the right operand for one pass of rows that are read in place. */
#define DIRECT_B 65536
/* Below this many multiply-adds waking workers costs more than it saves. */
#define MIN_PARALLEL 450000
/* Floats of the right operand that strips of rows pass over in turn. */
#define NEAR_B 65536
/* How far ahead memory is prefetched, in steps of k through 16-bit panels: some
 * microseconds of reading. */
#define AHEAD 128
/* Bytes of panels that strips of rows use in turn. With the rows, and as many
 * bytes again on their way from memory, they about fill the nearest cache. */
#define NEAR_TURN 16384

typedef enum { B_STRIDED, B_PACKED, B_PACKED_BACK } b_kind_t;

/* One product, with any kind of right operand. */
typedef struct {
  const tinker__cpu_kernels_t *ks;
  tinker__cpu_pool_t *pool;
  const tinker__cpu_gemm_t *g;
  b_kind_t kind;
  const tinker__cpu_packed_t *w; /* for the packed kinds */
  bool direct;
  size_t row_step, col_step; /* one task's share of c */
  size_t col_tasks;
} product_t;

/* A part of c, and the block that is being multiplied there now. */
typedef struct {
  const product_t *p;
  float *block_a, *block_b, *edge;
  size_t i0, i1; /* rows of the part */
  size_t j0, j1; /* block of c */
  size_t k0, k1; /* block of k */
  const void *b; /* right operand at (k0, j0) */
  tinker__cpu_elem_t type;
  size_t b_ks, b_ps;
  size_t next; /* in_turn: how many elements on the next block begins */
} block_t;

/* Left operand of a strip of rows: element (r, k) at a[r * rs + k * ks]. */
typedef struct {
  const float *a;
  size_t rs, ks;
} strip_t;

static size_t min_size(size_t a, size_t b) {
  return a < b ? a : b;
}

static size_t round_up(size_t a, size_t step) {
  return (a + step - 1) / step * step;
}

static unsigned rows_max(const product_t *p) {
  return p->direct ? p->ks->stream_mr : p->ks->max_mr;
}

/* Strips are of even height. */
static size_t strip_height(const product_t *p, size_t rows) {
  size_t strips = (rows + rows_max(p) - 1) / rows_max(p);
  return (rows + strips - 1) / strips;
}

static unsigned panels_of(const product_t *p, size_t mr) {
  return p->direct ? p->ks->stream_np[mr] : p->ks->np[mr];
}

/* End of row i's chain within the block, at least k0. */
static size_t row_end(const block_t *bl, size_t i) {
  const tinker__cpu_gemm_t *g = bl->p->g;
  if (g->shape != TINKER__GEMM_K_CAUSAL) return bl->k1;
  size_t end = min_size(g->diag + i + 1, bl->k1);
  return end < bl->k0 ? bl->k0 : end;
}

/* True when several strips of rows read the same panels in place. They do one
 * block of k after the other, so that only the first strip waits for memory. */
static bool in_turn(const product_t *p) {
  return p->direct && p->kind == B_PACKED && p->g->m > rows_max(p);
}

static size_t elem_size(const block_t *bl) {
  return bl->type == TINKER__F32 ? 4 : 2;
}

/* Computes one tile over k, with panels read in place. Prefetches further on in
 * the panels, and at their end in the next ones. */
static void run_ahead(const block_t *bl, unsigned mr, unsigned np, size_t k,
                      strip_t s, const char *b, float *c, size_t ldc,
                      bool load) {
  tinker__cpu_tile_fn stream = bl->p->ks->stream[bl->type];
  size_t size = elem_size(bl), row = bl->b_ks * size;
  size_t line = bl->type == TINKER__F32 ? row : 2 * row;
  size_t step = bl->type == TINKER__F32 ? AHEAD / 2 : AHEAD;
  size_t first = k > step ? k - step : 0;
  if (first > 0) {
    stream(mr, np, first, s.a, s.rs, s.ks, b, bl->b_ks, bl->b_ps,
           (uintptr_t)b + step * row, line, c, ldc, load);
  }
  stream(mr, np, k - first, s.a + first * s.ks, s.rs, s.ks, b + first * row,
         bl->b_ks, bl->b_ps, (uintptr_t)b + np * bl->b_ps * size, line, c, ldc,
         load || first > 0);
}

/* Computes one tile over k where strips take turns. Each strip prefetches its
 * part of the next block, so that memory is busy all the time. */
static void run_turn(const block_t *bl, size_t i, unsigned mr, unsigned np,
                     size_t k, strip_t s, const char *b, float *c, size_t ldc,
                     bool load) {
  size_t rows = bl->i1 - bl->i0, size = elem_size(bl);
  size_t ask = bl->next + (i - bl->i0) * k / rows * bl->b_ks;
  bl->p->ks->stream[bl->type](mr, np, k, s.a, s.rs, s.ks, b, bl->b_ks, bl->b_ps,
                              (uintptr_t)b + ask * size, 64 * mr / rows, c, ldc,
                              load);
}

static void run_chains(const block_t *bl, size_t i, unsigned mr, unsigned np,
                       size_t k, strip_t s, const char *b, float *c, size_t ldc,
                       bool load) {
  const tinker__cpu_kernels_t *ks = bl->p->ks;
  if (!bl->p->direct) {
    ks->tile(mr, np, k, s.a, s.rs, s.ks, b, bl->b_ks, bl->b_ps, 0, 0, c, ldc,
             load);
  } else if (in_turn(bl->p)) {
    run_turn(bl, i, mr, np, k, s, b, c, ldc, load);
  } else {
    run_ahead(bl, mr, np, k, s, b, c, ldc, load);
  }
}

/* Computes rows i .. i + mr with the panels at b into c (whole panels). The
 * common part of the rows' chains is first, then the rest of single rows. */
static void run_tile(const block_t *bl, size_t i, unsigned mr, unsigned np,
                     strip_t s, const char *b, float *c, size_t ldc,
                     bool load) {
  size_t common = row_end(bl, i) - bl->k0;
  size_t b_bytes = bl->b_ks * (bl->type == TINKER__F32 ? 4 : 2);
  run_chains(bl, i, mr, np, common, s, b, c, ldc, load);
  if (bl->p->g->shape != TINKER__GEMM_K_CAUSAL) return;
  for (unsigned r = 1; r < mr; r++) {
    size_t len = row_end(bl, i + r) - bl->k0 - common;
    strip_t row = {s.a + common * s.ks + r * s.rs, s.rs, s.ks};
    if (len > 0) {
      run_chains(bl, i + r, 1, np, len, row, b + common * b_bytes, c + r * ldc,
                 ldc, true);
    }
  }
}

/* Computes a strip at the right edge of c, through a tile in the scratch. */
static void run_edge(const block_t *bl, size_t i, unsigned mr, unsigned np,
                     strip_t s, const char *b, float *c, size_t cols,
                     bool load) {
  size_t ld = np * 16u, ldc = bl->p->g->ldc;
  if (load) {
    for (unsigned r = 0; r < mr; r++) {
      memcpy(bl->edge + r * ld, c + r * ldc, cols * sizeof *c);
    }
  }
  run_tile(bl, i, mr, np, s, b, bl->edge, ld, load);
  for (unsigned r = 0; r < mr; r++) {
    memcpy(c + r * ldc, bl->edge + r * ld, cols * sizeof *c);
  }
}

/* Computes columns j0 .. j1 for a strip of rows. */
static void run_strip(const block_t *bl, size_t i, unsigned mr, strip_t s,
                      size_t j0, size_t j1) {
  const tinker__cpu_gemm_t *g = bl->p->g;
  bool load = g->accumulate || bl->k0 > 0;
  size_t size = bl->type == TINKER__F32 ? 4 : 2;
  unsigned np = panels_of(bl->p, mr);
  if (g->shape == TINKER__GEMM_N_CAUSAL) j1 = min_size(j1, g->diag + i + mr);
  for (size_t j = j0; j < j1;) {
    size_t panels = (j1 - j + 15) / 16;
    while (np > panels) np /= 2;
    size_t cols = min_size(j1 - j, np * 16u);
    const char *b = (const char *)bl->b + (j - bl->j0) / 16 * bl->b_ps * size;
    float *c = g->c + i * g->ldc + j;
    if (cols == np * 16u) {
      run_tile(bl, i, mr, np, s, b, c, g->ldc, load);
    } else {
      run_edge(bl, i, mr, np, s, b, c, cols, load);
    }
    j += cols;
  }
}

/* Points bl->b at the right operand of the block, which is copied to block_b
 * unless it can be read in place. */
static void open_b(block_t *bl) {
  const product_t *p = bl->p;
  const tinker__cpu_gemm_t *g = p->g;
  const tinker__cpu_packed_t *w = p->w;
  size_t kn = bl->k1 - bl->k0;
  bl->type = TINKER__F32;
  if (p->kind == B_STRIDED && p->direct) {
    bl->b = g->b + bl->k0 * g->b_rs + bl->j0;
    bl->b_ks = g->b_rs;
    bl->b_ps = 16;
    return;
  }
  if (p->kind == B_PACKED && (p->direct || w->type == TINKER__F32)) {
    size_t at = (bl->j0 / 16 * w->k_in + bl->k0) * 16;
    bl->type = w->type;
    bl->b = (const char *)w->panels + at * (w->type == TINKER__F32 ? 4 : 2);
    bl->b_ks = 16;
    bl->b_ps = w->k_in * 16;
    bl->next = bl->k1 < w->k_in
                   ? kn * 16
                   : (bl->j1 - bl->j0) / 16 * bl->b_ps - bl->k0 * 16;
    return;
  }
  for (size_t j = bl->j0; j < bl->j1; j += 16) {
    float *out = bl->block_b + (j - bl->j0) * kn;
    size_t n = min_size(16, bl->j1 - j);
    if (p->kind == B_STRIDED) {
      p->ks->pack_b(out, g->b + bl->k0 * g->b_rs + j * g->b_cs, g->b_rs,
                    g->b_cs, n, kn);
    } else if (p->kind == B_PACKED) {
      p->ks->widen(
          out, (const uint16_t *)w->panels + (j / 16 * w->k_in + bl->k0) * 16,
          w->type, kn * 16);
    } else {
      p->ks->pack_t(out, w->panels, w->type, w->k_in, bl->k0, kn, j, n);
    }
  }
  bl->b = bl->block_b;
  bl->b_ks = 16;
  bl->b_ps = kn * 16;
}

/* True when the left operand is read in place, because it is used too seldom
 * for a copy to pay. */
static bool direct_a(const product_t *p, size_t cols) {
  return p->direct || cols <= DIRECT_COLS;
}

/* Columns that all strips of rows do before the next ones. If the right operand
 * is read in place they are a tile's, so that it is read from memory once; if
 * it is a copy, as many as stay in the cache, so that c is written in long
 * rows. */
static size_t pass_columns(const product_t *p, size_t mr, size_t kn) {
  size_t tile = panels_of(p, mr) * 16u;
  if (p->direct) return tile;
  size_t columns = NEAR_B / (kn + 1) / 64 * 64;
  return columns > tile ? columns : tile;
}

/* Multiplies rows i0 .. i1 of the block by its right operand. */
static void run_rows(block_t *bl, size_t i0, size_t i1) {
  const product_t *p = bl->p;
  const tinker__cpu_gemm_t *g = p->g;
  size_t kn = bl->k1 - bl->k0;
  size_t mr = strip_height(p, i1 - i0);
  size_t step = pass_columns(p, mr, kn);
  bool in_place = direct_a(p, bl->j1 - bl->j0);
  for (size_t j = bl->j0; j < bl->j1; j += step) {
    for (size_t i = i0; i < i1; i += mr) {
      unsigned rows = (unsigned)min_size(mr, i1 - i);
      const float *a = g->a + i * g->a_rs + bl->k0 * g->a_cs;
      strip_t s = {a, g->a_rs, g->a_cs};
      if (!in_place) {
        float *copy = bl->block_a + (i - i0) * kn;
        if (j == bl->j0) p->ks->pack_a(copy, a, g->a_rs, g->a_cs, rows, kn);
        s = (strip_t){copy, 1, rows};
      }
      run_strip(bl, i, rows, s, j, min_size(j + step, bl->j1));
    }
  }
}

/* Length of a block of k, a multiple of 16. Long rows are read faster in place,
 * as long as the right operand stays in the cache. */
static size_t k_step(const product_t *p, size_t cols) {
  if (in_turn(p)) {
    size_t size = p->w->type == TINKER__F32 ? 4 : 2;
    size_t blocks = p->g->k * cols * size / NEAR_TURN + 1;
    return round_up((p->g->k + blocks - 1) / blocks, 16);
  }
  if (p->direct) return p->g->k;
  if (p->g->a_cs == 1 && direct_a(p, cols)) {
    return DIRECT_B / (round_up(cols, 16) * 16) * 16;
  }
  return TINKER__GEMM_KC;
}

/* Computes the part [i0, i1) x [j0, j1) of c on one worker. */
static void run_part(const product_t *p, unsigned worker, size_t i0, size_t i1,
                     size_t j0, size_t j1) {
  const tinker__cpu_gemm_t *g = p->g;
  float *scratch = tinker__cpu_pool_scratch(p->pool, worker);
  block_t bl = {.p = p, .i0 = i0, .i1 = i1};
  size_t mc = TINKER__GEMM_MC / rows_max(p) * rows_max(p);
  size_t nc = p->direct ? j1 - j0 : TINKER__GEMM_NC;
  if (in_turn(p)) nc = panels_of(p, strip_height(p, i1 - i0)) * 16u;
  size_t kc = k_step(p, min_size(nc, j1 - j0));
  bl.block_b = scratch;
  bl.edge = scratch + TINKER__GEMM_NC * TINKER__GEMM_KC;
  bl.block_a = bl.edge + (TINKER__GEMM_TILE - 64);
  for (bl.j0 = j0; bl.j0 < j1; bl.j0 = bl.j1) {
    bl.j1 = min_size(bl.j0 + nc, j1);
    /* One pass even for k = 0, to clear c. */
    for (bl.k0 = 0; bl.k0 < g->k || bl.k0 == 0; bl.k0 = bl.k1) {
      bl.k1 = min_size(bl.k0 + kc, g->k);
      open_b(&bl);
      for (size_t i = i0; i < i1; i += mc) {
        run_rows(&bl, i, min_size(i + mc, i1));
      }
      if (g->k == 0) break;
    }
  }
}

static void part_task(void *arg, size_t task, unsigned worker) {
  const product_t *p = arg;
  size_t i0 = task / p->col_tasks * p->row_step;
  size_t j0 = task % p->col_tasks * p->col_step;
  run_part(p, worker, i0, min_size(i0 + p->row_step, p->g->m), j0,
           min_size(j0 + p->col_step, p->g->n));
}

/* Cuts c into at least `tasks` parts if it is large enough, so that as little
 * as possible is copied: each cut of columns copies a again, each cut of rows
 * b. Returns the number of parts. */
static size_t cut(product_t *p, size_t tasks) {
  size_t m = p->g->m, n = p->g->n, best = SIZE_MAX, count = 0;
  size_t unit = in_turn(p) ? 16 : 64;
  for (size_t rows = 1; rows <= tasks; rows++) {
    size_t cols = (tasks + rows - 1) / rows;
    size_t i = round_up((m + rows - 1) / rows, rows_max(p));
    size_t j = round_up((n + cols - 1) / cols, unit);
    size_t nr = (m + i - 1) / i, nc = (n + j - 1) / j;
    /* Too few parts are worse than any copy. */
    size_t cost = nr * n + nc * m + (nr * nc < tasks ? tasks * (m + n) : 0);
    if (cost < best) {
      best = cost;
      p->row_step = i;
      p->col_step = j;
      p->col_tasks = nc;
      count = nr * nc;
    }
  }
  return count;
}

/* Products that are run together. */
typedef struct {
  const product_t *p;
  size_t end[TINKER__LINEARS]; /* of each product, the number after its last
                                  task */
} group_t;

static void group_task(void *arg, size_t task, unsigned worker) {
  const group_t *q = arg;
  size_t i = 0;
  while (task >= q->end[i]) i++;
  part_task((void *)&q->p[i], i ? task - q->end[i - 1] : task, worker);
}

/* The cost of a product: its multiply-adds, and one more for each element of c
 * that is written. */
static uint64_t work_of(const product_t *p) {
  return (uint64_t)p->g->m * p->g->n * (p->g->k + 1);
}

/* Runs n products as one set of tasks, so that the workers are woken, and
 * waited for, only once. */
static void run_together(product_t *p, size_t n) {
  group_t q = {.p = p};
  uint64_t work = 0;
  size_t count = 0;
  for (size_t i = 0; i < n; i++) work += work_of(&p[i]);
  if (work == 0) return;
  unsigned threads = tinker__cpu_pool_threads(p->pool);
  for (size_t i = 0; i < n; i++) {
    if (threads == 1 || work < MIN_PARALLEL) {
      run_part(&p[i], 0, 0, p[i].g->m, 0, p[i].g->n);
      continue;
    }
    uint64_t tasks = threads * (p->direct ? 4u : 2u) * work_of(&p[i]);
    q.end[i] = count += cut(&p[i], (size_t)((tasks + work - 1) / work));
  }
  if (count) tinker__cpu_pool_run(p->pool, group_task, &q, count);
}

/* Runs products of few rows together. A product of many rows has enough work
 * for all workers, and is cut better by itself. */
static void run(product_t *p, size_t n) {
  size_t step = n > 0 && p->direct ? n : 1;
  for (size_t i = 0; i < n; i += step) run_together(&p[i], step);
}

void tinker__cpu_linears(const tinker__cpu_kernels_t *ks,
                         tinker__cpu_pool_t *pool,
                         const tinker__cpu_linear_t *all, size_t n, size_t m,
                         bool accumulate) {
  tinker__cpu_gemm_t g[TINKER__LINEARS];
  product_t p[TINKER__LINEARS];
  for (size_t i = 0; i < n; i++) {
    const tinker__cpu_linear_t *l = &all[i];
    g[i] = (tinker__cpu_gemm_t){
        .m = m,
        .n = l->w->n_out,
        .k = l->w->k_in,
        .a = l->x,
        .a_rs = l->ldx,
        .a_cs = 1,
        .c = l->y,
        .ldc = l->ldy,
        .accumulate = accumulate,
    };
    p[i] = (product_t){
        .ks = ks,
        .pool = pool,
        .g = &g[i],
        .kind = B_PACKED,
        .w = l->w,
        .direct = m <= DIRECT_ROWS,
    };
  }
  run(p, n);
}

void tinker__cpu_linear(const tinker__cpu_kernels_t *ks,
                        tinker__cpu_pool_t *pool, const tinker__cpu_packed_t *w,
                        const float *x, size_t ldx, size_t m, float *y,
                        size_t ldy, bool accumulate) {
  tinker__cpu_linear_t l = {w, x, ldx, y, ldy};
  tinker__cpu_linears(ks, pool, &l, 1, m, accumulate);
}

void tinker__cpu_linear_back(const tinker__cpu_kernels_t *ks,
                             tinker__cpu_pool_t *pool,
                             const tinker__cpu_packed_t *w, const float *dy,
                             size_t ldy, size_t m, float *dx, size_t ldx,
                             bool accumulate) {
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = w->k_in,
      .k = w->n_out,
      .a = dy,
      .a_rs = ldy,
      .a_cs = 1,
      .c = dx,
      .ldc = ldx,
      .accumulate = accumulate,
  };
  product_t p = {
      .ks = ks,
      .pool = pool,
      .g = &g,
      .kind = B_PACKED_BACK,
      .w = w,
  };
  run(&p, 1);
}

/* Whole panels of contiguous columns can be read where they are. */
static product_t strided(const tinker__cpu_kernels_t *ks,
                         tinker__cpu_pool_t *pool,
                         const tinker__cpu_gemm_t *g) {
  return (product_t){.ks = ks,
                     .pool = pool,
                     .g = g,
                     .kind = B_STRIDED,
                     .direct = g->m <= DIRECT_STRIDED && g->b_cs == 1 &&
                               g->n % 16 == 0};
}

void tinker__cpu_gemm(const tinker__cpu_kernels_t *ks, tinker__cpu_pool_t *pool,
                      const tinker__cpu_gemm_t *g) {
  product_t p = strided(ks, pool, g);
  run(&p, 1);
}

void tinker__cpu_gemm_task(const tinker__cpu_kernels_t *ks,
                           tinker__cpu_pool_t *pool, unsigned worker,
                           const tinker__cpu_gemm_t *g) {
  product_t p = strided(ks, pool, g);
  if (g->m > 0 && g->n > 0) run_part(&p, worker, 0, g->m, 0, g->n);
}
