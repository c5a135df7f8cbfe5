/* The completion of one operation, see future.h. */
#include "loop/future.h"

#include "base/check.h"
#include "base/error.h"

int tinker__future_new(tinker_future_t **out, tinker__mem_t *mem,
                       const tinker__future_ops_t *ops, size_t raw_count,
                       tinker_done_cb cb, void *user) {
  if (raw_count >
      (SIZE_MAX - sizeof(tinker_future_t)) / sizeof(tinker__raw_t)) {
    return TINKER_ENOMEM;
  }
  tinker_future_t *f =
      tinker__mem_zalloc(mem, sizeof *f + raw_count * sizeof(tinker__raw_t));
  if (!f) return TINKER_ENOMEM;
  if (pthread_mutex_init(&f->lock, NULL)) {
    tinker__mem_free(mem, f);
    return TINKER_ENOMEM;
  }
  atomic_init(&f->refs, 1);
  atomic_init(&f->state, TINKER__FUTURE_PENDING);
  atomic_init(&f->canceling, false);
  f->mem = mem;
  f->ops = ops;
  f->cb = cb;
  f->user = user;
  f->raw_count = raw_count;
  tinker__list_init(&f->link);
  *out = f;
  return 0;
}

/* --- constant futures --- */

static tinker_error_t *decode_nothing(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static const tinker__future_ops_t constant_ops = {decode_nothing, NULL};

#define CONSTANT(state_)                                                       \
  {                                                                            \
    .refs = 1, .state = (state_), .lock = PTHREAD_MUTEX_INITIALIZER,           \
    .ops = &constant_ops, .constant = true                                     \
  }

static tinker_future_t no_handle = CONSTANT(TINKER__FUTURE_DONE);
static tinker_future_t no_memory = CONSTANT(TINKER__FUTURE_DONE);
static tinker_future_t closed = CONSTANT(TINKER__FUTURE_DONE);
static tinker_future_t forked = CONSTANT(TINKER__FUTURE_DONE);
static tinker_future_t detached = CONSTANT(TINKER__FUTURE_PENDING);

tinker_future_t *tinker__future_constant(int code) {
  switch (code) {
  case TINKER_EINVAL: return &no_handle;
  case TINKER_ECLOSED: return &closed;
  case TINKER_EFORKED: return &forked;
  case TINKER_EAGAIN: return &detached;
  default: return &no_memory;
  }
}

const tinker_error_t *tinker__future_error(const tinker_future_t *f) {
  if (!f->constant) return f->error;
  if (f == &detached) return NULL;
  return tinker__error_constant(f == &no_handle ? TINKER_EINVAL
                                : f == &closed  ? TINKER_ECLOSED
                                : f == &forked  ? TINKER_EFORKED
                                                : TINKER_ENOMEM);
}

/* --- the others --- */

void tinker__raw_free(tinker__raw_t *raw, tinker__mem_t *mem) {
  tinker__mem_free(mem, raw->data);
  tinker__mem_free(mem, raw->accepted);
  raw->data = raw->accepted = NULL;
  raw->len = raw->accepted_len = 0;
}

static void free_raws(tinker_future_t *f) {
  for (size_t i = 0; i < f->raw_count; i++) {
    tinker__raw_free(&f->raw[i], f->mem);
  }
}

void tinker__future_ref(tinker_future_t *f) {
  if (f->constant) return;
  atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

bool tinker__future_try_ref(tinker_future_t *f) {
  unsigned n = atomic_load_explicit(&f->refs, memory_order_relaxed);
  while (n > 0) {
    if (atomic_compare_exchange_weak(&f->refs, &n, n + 1)) return true;
  }
  return false;
}

void tinker__future_unref(tinker_future_t *f) {
  if (!f || f->constant ||
      atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1) {
    return;
  }
  void (*unown)(void *) = f->unown;
  void *owner = f->owner;
  if (f->ops->free_result) f->ops->free_result(f);
  tinker__error_release(f->error);
  free_raws(f);
  pthread_mutex_destroy(&f->lock);
  tinker__mem_free(f->mem, f);
  if (unown) unown(owner);
}

void tinker__future_settle(tinker_future_t *f, tinker_error_t *error) {
  if (!TINKER__HOLDS(tinker__future_state(f) == TINKER__FUTURE_PENDING)) {
    tinker__error_release(error);
    return;
  }
  f->error = error;
  f->op = NULL;
  atomic_store_explicit(&f->state, TINKER__FUTURE_SETTLED,
                        memory_order_release);
}

bool tinker__future_decode(tinker_future_t *f, bool block) {
  tinker__future_state_t state = tinker__future_state(f);
  if (state != TINKER__FUTURE_SETTLED) return state == TINKER__FUTURE_DONE;
  if (block) {
    pthread_mutex_lock(&f->lock);
  } else if (pthread_mutex_trylock(&f->lock)) {
    return false;
  }
  if (tinker__future_state(f) == TINKER__FUTURE_SETTLED) {
    if (!f->error) f->error = f->ops->decode(f);
    free_raws(f);
    atomic_store_explicit(&f->state, TINKER__FUTURE_DONE, memory_order_release);
  }
  pthread_mutex_unlock(&f->lock);
  return true;
}

int tinker__future_code(const tinker_future_t *f) {
  return tinker_error_code(tinker__future_error(f));
}

void tinker__future_deliver(tinker_future_t *f) {
  tinker__future_decode(f, true);
  if (f->cb) f->cb(f, tinker__future_code(f), f->user);
}
