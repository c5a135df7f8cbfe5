/* ref: an atomic reference count. Header only; any thread. */
#ifndef TINKER_BASE_REF_H
#define TINKER_BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct tinker__ref_s {
  atomic_uint n;
} tinker__ref_t;

/* One reference: the maker's. */
static inline void tinker__ref_init(tinker__ref_t *r) {
  atomic_init(&r->n, 1);
}
static inline void tinker__ref_retain(tinker__ref_t *r) {
  atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
}
/* True for the caller that gave the last one back: it frees. */
static inline bool tinker__ref_release(tinker__ref_t *r) {
  return atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel) == 1;
}

#endif
