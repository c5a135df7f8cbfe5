/* batch: chooses the generations of a round, and runs the round. See
 * generate.h. Engine thread. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "engine/claim.h"
#include "engine/prefill.h"

#define MAX_SEQUENCES 64 /* at once; a larger request runs alone */

void tinker__eng_batch_init(tinker__eng_batch_t *b, tinker__mem_t *mem) {
  memset(b, 0, sizeof *b);
  b->mem = mem;
  tinker__list_init(&b->waiting);
  tinker__list_init(&b->running);
}

static void free_list(tinker__link_t *list) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(list)) != NULL) {
    tinker__eng_gen_free(TINKER__CONTAINER(l, tinker__eng_gen_t, link));
  }
}

void tinker__eng_batch_free(tinker__eng_batch_t *b) {
  free_list(&b->waiting);
  free_list(&b->running);
  tinker__mem_free(b->mem, b->scratch);
  tinker__mem_free(b->mem, b->items);
  tinker__mem_free(b->mem, b->picks);
}

void tinker__eng_batch_add(tinker__eng_batch_t *b, tinker__eng_gen_t *gen) {
  gen->batch = b;
  tinker__list_push_back(&b->waiting, &gen->link);
}

static void finish(tinker__eng_gen_t *g) {
  tinker__eng_gen_stop(g, TINKER__GEN_ENDED);
  tinker__list_remove(&g->link);
  g->done(g, g->error, g->why);
}

/* --- The generations of a round ------------------------------------------- */

static int ensure_scratch(tinker__eng_batch_t *b, size_t vocab) {
  size_t need = tinker__eng_pick_scratch(vocab);
  if (need <= b->scratch_len) return 0;
  void *p = tinker__mem_realloc(b->mem, b->scratch, need);
  if (!p) return TINKER_ENOMEM;
  b->scratch = p;
  b->scratch_len = need;
  return 0;
}

/* Called before the first round of g: finds its model, and makes the scratch
 * large enough for a row of that model. */
static int prepare(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  tinker__eng_base_info_t info;
  if (g->state != TINKER__GEN_NEW) return 0;
  int rc = g->prepare ? g->prepare(g, g->why, sizeof g->why) : 0;
  if (rc != 0) {
    g->adapter = NULL; /* no reference was taken */
    return rc;
  }
  if (g->adapter) g->backend->api->adapter_retain(g->adapter);
  tinker__eng_gen_stop(g, TINKER__GEN_WAITS);
  g->backend->api->base_info(g->base, &info);
  return ensure_scratch(b, info.vocab_size);
}

/* Takes g into the rounds, or ends it if that fails. False = g has to wait for
 * memory. */
static bool enter(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  int rc = prepare(b, g);
  if (!rc) rc = tinker__eng_claim_first(g);
  if (rc > 0) {
    g->backend->slots->full = true;
    return false;
  }
  tinker__list_remove(&g->link);
  tinker__list_push_back(&b->running, &g->link);
  g->error = rc ? rc : tinker__eng_gen_start(g);
  if (g->error) finish(g);
  return true;
}

/* Takes waiting generations in, in the order in which they were added. One that
 * waits for memory is not overtaken by others that use the same memory. Before
 * a generation is prepared its backend may be unknown; then it waits too. */
static void admit(tinker__eng_batch_t *b) {
  bool full = false;
  TINKER__LIST_EACH(l, tmp, &b->waiting) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (g->backend) g->backend->slots->full = false;
  }
  TINKER__LIST_EACH(l, tmp, &b->waiting) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (b->sequences && b->sequences + g->num_samples > MAX_SEQUENCES) return;
    if (full && (!g->backend || g->backend->slots->full)) continue;
    if (!enter(b, g)) full = true;
  }
}

static void drop_cancelled(tinker__eng_batch_t *b) {
  TINKER__LIST_EACH(l, tmp, &b->waiting) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!atomic_load(&g->cancel)) continue;
    tinker__eng_gen_fail(g, TINKER_ECANCELED, "canceled");
    finish(g);
  }
}

/* Gives a page to every generation that needs one, the oldest first. Those that
 * lose their caches to it are younger and so further on in the list. */
static void grow(tinker__eng_batch_t *b) {
  tinker__link_t *l = b->running.next;
  for (; l != &b->running; l = l->next) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (g->error || g->state == TINKER__GEN_PREFILL) continue;
    int rc = tinker__eng_claim_page(g);
    if (rc < 0) g->error = rc;
  }
}

static int ensure_items(tinker__eng_batch_t *b) {
  size_t n = b->sequences + 1;
  if (n <= b->cap_items) return 0;
  void *p = tinker__mem_realloc(b->mem, b->items, n * sizeof *b->items);
  if (p) b->items = p;
  void *q = tinker__mem_realloc(b->mem, b->picks, n * sizeof *b->picks);
  if (q) b->picks = q;
  if (!p || !q) return TINKER_ENOMEM;
  b->cap_items = n;
  return 0;
}

/* --- The round ------------------------------------------------------------ */

static int decode(tinker__eng_batch_t *b, const tinker__eng_backend_t *e,
                  size_t n, size_t n_picks, char *why, size_t why_len) {
  if (!e->api->pick) {
    return e->api->decode(e->engine, b->items, n, b->halt, why, why_len);
  }
  return e->api->pick(e->engine, b->items, n, b->picks, n_picks, b->halt, why,
                      why_len);
}

/* Runs the engine for one generation alone, so that a failure is only its own.
 */
static void round_alone(tinker__eng_batch_t *b, tinker__eng_gen_t *g) {
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 1};
  size_t picks = 0,
         n = tinker__eng_gen_items(g, b->items, 0, b->picks, &picks, &left);
  if (!n) return;
  int rc = decode(b, g->backend, n, picks, g->why, sizeof g->why);
  if (rc == TINKER_ECANCELED) return;
  if (rc != 0 && !g->error) g->error = rc;
  tinker__eng_gen_advance(g);
}

static bool same_base(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b) {
  return a->backend == b->backend && a->base == b->base;
}

/* Runs the engine once for all generations that sample from the base model of
 * `first`. If that fails, each is run alone. */
static void round_of_base(tinker__eng_batch_t *b,
                          const tinker__eng_gen_t *first) {
  tinker__eng_prefill_t left = {TINKER__PREFILL_TOKENS, 0};
  size_t n = 0, picks = 0;
  TINKER__LIST_EACH(l, tmp, &b->running) {
    const tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    left.prompts +=
        same_base(g, first) && !g->error && tinker__eng_prefill_wants(g);
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!same_base(g, first) || g->error) continue;
    n += tinker__eng_gen_items(g, b->items, n, b->picks, &picks, &left);
  }
  if (!n) return;
  int rc = decode(b, first->backend, n, picks, NULL, 0);
  if (rc == TINKER_ECANCELED) return; /* no slot has grown */
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!same_base(g, first) || g->error) continue;
    if (rc == 0) {
      tinker__eng_gen_advance(g);
    } else {
      round_alone(b, g);
    }
  }
}

static bool first_of_base(const tinker__eng_batch_t *b,
                          const tinker__eng_gen_t *gen) {
  TINKER__LIST_EACH(l, tmp, &b->running) {
    const tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (same_base(g, gen)) return g == gen;
  }
  return false;
}

void tinker__eng_batch_round(tinker__eng_batch_t *b) {
  drop_cancelled(b);
  tinker__eng_claim_shrink(b);
  grow(b);
  admit(b);
  int rc = ensure_items(b);
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (rc != 0) tinker__eng_gen_fail(g, rc, "out of memory while sampling");
    if (atomic_load(&g->cancel)) {
      tinker__eng_gen_fail(g, TINKER_ECANCELED, "canceled");
    }
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (first_of_base(b, g)) round_of_base(b, g);
  }
  TINKER__LIST_EACH(l, tmp, &b->running) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (tinker__eng_gen_finished(g)) finish(g);
  }
}
