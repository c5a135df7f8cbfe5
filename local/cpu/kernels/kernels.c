/* kernels: finds which kernel sets this machine can run. Any thread: the tables
 * are constant, and every thread finds the same best set. */
#include "cpu/kernels/kernels.h"

#include <stdatomic.h>
#include <string.h>

#include "cpu/kernels/sets.h"

#ifdef TINKER_KERNELS_X86
#include <cpuid.h>
#endif

typedef struct {
  const tinker__cpu_kernels_t *set;
  bool (*runs)(void);
} set_row_t;

static bool always(void) {
  return true;
}

#ifdef TINKER_KERNELS_X86
static bool has_avx2(void) {
  unsigned a, b, c = 0, d;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) != 0;
}

static bool has_avx512(void) {
  return has_avx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

/* Best last. */
static const set_row_t rows[] = {
    {&tinker__cpu_kernels_scalar, always},
#ifdef TINKER_KERNELS_X86
    {&tinker__cpu_kernels_avx2, has_avx2},
    {&tinker__cpu_kernels_avx512, has_avx512},
#endif
#ifdef TINKER_KERNELS_ARM
    {&tinker__cpu_kernels_neon, always},
#endif
};

const tinker__cpu_kernels_t *tinker__cpu_kernels_at(size_t i) {
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    if (rows[r].runs() && i-- == 0) return rows[r].set;
  }
  return NULL;
}

static const tinker__cpu_kernels_t *find_best(void) {
  const tinker__cpu_kernels_t *best = &tinker__cpu_kernels_scalar, *set;
  for (size_t i = 0; (set = tinker__cpu_kernels_at(i)) != NULL; i++) best = set;
  return best;
}

/* The answer is kept, because this is called for every token that is sampled,
 * and CPUID leaves a virtual machine each time. */
const tinker__cpu_kernels_t *tinker__cpu_kernels_get(void) {
  static _Atomic(const tinker__cpu_kernels_t *) kept;
  const tinker__cpu_kernels_t *best =
      atomic_load_explicit(&kept, memory_order_relaxed);
  if (!best) {
    best = find_best();
    atomic_store_explicit(&kept, best, memory_order_relaxed);
  }
  return best;
}

const tinker__cpu_kernels_t *tinker__cpu_kernels_by_name(const char *name) {
  const tinker__cpu_kernels_t *set;
  for (size_t i = 0; (set = tinker__cpu_kernels_at(i)) != NULL; i++) {
    if (strcmp(set->name, name) == 0) return set;
  }
  return NULL;
}
