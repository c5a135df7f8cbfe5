/* The completion of one operation, see future.h. */
#include "loop/future.h"

#include "base/check.h"
#include "base/error.h"
#include "loop/waiter.h"

/* Waiting for so many futures allocates nothing. */
#define ENTRIES 16

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
  if (pthread_mutex_init(&f->seen_lock, NULL)) {
    pthread_mutex_destroy(&f->lock);
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
  tinker__list_init(&f->waiting);
  *out = f;
  return 0;
}

/* --- constant futures --- */

static tinker_error_t *decode_nothing(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static const tinker__future_ops_t constant_ops = {decode_nothing, NULL};

/* A callback that is nobody's: it marks what a detached call with one returns,
 * and is never called. */
static void nobodys(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)status;
  (void)user;
}

#define CONSTANT(state_, cb_)                                                  \
  {                                                                            \
    .refs = 1, .state = (state_), .lock = PTHREAD_MUTEX_INITIALIZER,           \
    .ops = &constant_ops, .constant = true, .cb = (cb_)                        \
  }

static tinker_future_t no_handle = CONSTANT(TINKER__FUTURE_DONE, NULL);
static tinker_future_t no_memory = CONSTANT(TINKER__FUTURE_DONE, NULL);
static tinker_future_t closed = CONSTANT(TINKER__FUTURE_DONE, NULL);
static tinker_future_t forked = CONSTANT(TINKER__FUTURE_DONE, NULL);
static tinker_future_t detached = CONSTANT(TINKER__FUTURE_PENDING, NULL);
static tinker_future_t detached_calling =
    CONSTANT(TINKER__FUTURE_PENDING, nobodys);

tinker_future_t *tinker__future_constant(int code) {
  switch (code) {
  case TINKER_EINVAL: return &no_handle;
  case TINKER_ECLOSED: return &closed;
  case TINKER_EFORKED: return &forked;
  default: return &no_memory;
  }
}

tinker_future_t *tinker__future_detached(bool calls_back) {
  return calls_back ? &detached_calling : &detached;
}

/* Of a constant one; 0 = it never ends. */
static int code_of(const tinker_future_t *f) {
  return f == &no_handle   ? TINKER_EINVAL
         : f == &closed    ? TINKER_ECLOSED
         : f == &forked    ? TINKER_EFORKED
         : f == &no_memory ? TINKER_ENOMEM
                           : 0;
}

const tinker_error_t *tinker__future_error(const tinker_future_t *f) {
  if (!f->constant) return f->error;
  int code = code_of(f);
  return code ? tinker__error_constant(code) : NULL;
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

/* The last of all frees. counted: what it counted in refs. */
static void drop(tinker_future_t *f, uint64_t counted) {
  if (!f || f->constant ||
      (uint32_t)atomic_fetch_sub_explicit(&f->refs, counted,
                                          memory_order_acq_rel) != 1) {
    return;
  }
  void (*unown)(void *) = f->unown;
  void *owner = f->owner;
  if (f->ops->free_result) f->ops->free_result(f);
  tinker__error_release(f->error);
  free_raws(f);
  pthread_mutex_destroy(&f->seen_lock);
  pthread_mutex_destroy(&f->lock);
  tinker__mem_free(f->mem, f);
  if (unown) unown(owner);
}

void tinker__future_unref(tinker_future_t *f) {
  drop(f, 1);
}

void tinker__future_user_ref(tinker_future_t *f) {
  if (f->constant) return;
  atomic_fetch_add_explicit(&f->refs, TINKER__FUTURE_USER + 1,
                            memory_order_relaxed);
}

void tinker__future_user_unref(tinker_future_t *f) {
  drop(f, TINKER__FUTURE_USER + 1);
}

bool tinker__future_try_user_ref(tinker_future_t *f) {
  uint64_t n = atomic_load_explicit(&f->refs, memory_order_relaxed);
  while (n >= TINKER__FUTURE_USER) {
    if (atomic_compare_exchange_weak(&f->refs, &n,
                                     n + TINKER__FUTURE_USER + 1)) {
      return true;
    }
  }
  return false;
}

void tinker__future_settle(tinker_future_t *f, tinker_error_t *error) {
  if (!TINKER__HOLDS(tinker__future_state(f) == TINKER__FUTURE_PENDING)) {
    tinker__error_release(error);
    return;
  }
  f->error = error;
  f->op = NULL;
  pthread_mutex_lock(&f->lock);
  atomic_store_explicit(&f->state, TINKER__FUTURE_SETTLED,
                        memory_order_release);
  tinker__waiting_wake(&f->waiting);
  pthread_mutex_unlock(&f->lock);
}

/* What has settled is not written any more, and is read without the lock: in a
 * forked child nobody might give it back. */
void tinker__future_see(tinker_future_t *f, tinker__seen_t *out) {
  bool settled = tinker__future_state(f) != TINKER__FUTURE_PENDING;
  bool shared = !settled && !f->constant;
  if (shared) pthread_mutex_lock(&f->seen_lock);
  *out = f->seen;
  if (shared) pthread_mutex_unlock(&f->seen_lock);
  if (settled) out->now.stage = TINKER_STAGE_ENDED;
}

/* ---- waiting ---- */

typedef struct group_s {
  tinker_future_t *const *futures;
  size_t n;
} group_t;

static bool any_settled(void *user) {
  group_t *g = user;
  for (size_t i = 0; i < g->n; i++) {
    if (tinker__future_state(g->futures[i]) != TINKER__FUTURE_PENDING) {
      return true;
    }
  }
  return false;
}

static void enter(const group_t *g, tinker__waiting_t *entries,
                  tinker__waiter_t *waiter) {
  for (size_t i = 0; i < g->n; i++) {
    tinker_future_t *f = g->futures[i];
    if (f->constant) continue; /* one that never ends */
    pthread_mutex_lock(&f->lock);
    tinker__waiting_add(&f->waiting, &entries[i], waiter);
    pthread_mutex_unlock(&f->lock);
  }
}

static void leave(const group_t *g, tinker__waiting_t *entries) {
  for (size_t i = 0; i < g->n; i++) {
    tinker_future_t *f = g->futures[i];
    if (f->constant) continue;
    pthread_mutex_lock(&f->lock);
    tinker__waiting_remove(&entries[i]);
    pthread_mutex_unlock(&f->lock);
  }
}

static int wait_any(group_t *g, tinker__waiting_t *entries,
                    tinker__loop_t *loop, int64_t timeout_ms) {
  tinker__waiter_t waiter;
  int rc = tinker__waiter_init(&waiter);
  if (rc) return rc;
  enter(g, entries, &waiter);
  rc = tinker__loop_sleep(loop, &waiter, any_settled, g, timeout_ms);
  leave(g, entries);
  tinker__waiter_done(&waiter);
  return rc;
}

/* A future that has settled is not touched: it may be a constant one. */
int tinker__future_wait_any(tinker_future_t *const *futures, size_t n,
                            tinker__loop_t *loop, int64_t timeout_ms) {
  group_t g = {futures, n};
  tinker__waiting_t few[ENTRIES], *entries = few;
  if (any_settled(&g)) return 0;
  if (n > ENTRIES) {
    if (n > SIZE_MAX / sizeof *entries) return TINKER_ENOMEM;
    entries = tinker__mem_alloc(loop->mem, n * sizeof *entries);
    if (!entries) return TINKER_ENOMEM;
  }
  int rc = wait_any(&g, entries, loop, timeout_ms);
  if (entries != few) tinker__mem_free(loop->mem, entries);
  return rc;
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
