/* claim: see claim.h. */
#include "engine/claim.h"

#include <inttypes.h>
#include <tinker/error.h>

static tinker__eng_slots_t *slots_of(const tinker__eng_gen_t *g) {
  return g->backend->slots;
}

static uint64_t times(size_t n, uint64_t bytes) {
  return n && bytes > UINT64_MAX / n ? UINT64_MAX : n * bytes;
}

/* Bytes of n slots for `room` tokens each. */
static uint64_t need(const tinker__eng_gen_t *g, size_t n, size_t room) {
  return times(n, g->backend->api->slot_bytes(g->base, room));
}

static size_t longest(const tinker__eng_gen_t *g) {
  return g->n_prompt + g->max_tokens;
}

/* Tokens of a slot for all that g has and one more; next_room: for a page more.
 */
static size_t least_room(const tinker__eng_gen_t *g) {
  return g->n_prompt + tinker__eng_gen_made(g) + 1;
}

static size_t next_room(const tinker__eng_gen_t *g) {
  size_t made = tinker__eng_gen_made(g) + TINKER__CLAIM_PAGE;
  return g->n_prompt + (made < g->max_tokens ? made : g->max_tokens);
}

static size_t unfinished(const tinker__eng_gen_t *g) {
  size_t n = 0;
  for (size_t i = 0; i < g->num_samples; i++) n += !g->seqs[i].finished;
  return n;
}

static int too_large(tinker__eng_gen_t *g) {
  return tinker__why(
      g->why, sizeof g->why, TINKER_EINVAL,
      "num_samples, max_tokens: %zu times %" PRIu64
      " bytes for caches of %zu tokens are needed, %" PRIu64 " are available",
      g->num_samples, need(g, 1, longest(g)), longest(g), slots_of(g)->limit);
}

/* Bytes that the claims of others leave for g. */
static uint64_t available(const tinker__eng_gen_t *g) {
  const tinker__eng_slots_t *s = slots_of(g);
  uint64_t others = s->claimed - g->claims * g->slot_bytes;
  return s->limit > others ? s->limit - others : 0;
}

/* The largest room from `least` to `most` for which n slots fit into the bytes;
 * 0 = none does. */
static size_t fit(const tinker__eng_gen_t *g, size_t n, size_t least,
                  size_t most, uint64_t bytes) {
  if (need(g, n, most) <= bytes) return most;
  if (need(g, n, least) > bytes) return 0;
  while (least + 1 < most) {
    size_t middle = least + (most - least) / 2;
    if (need(g, n, middle) <= bytes) {
      least = middle;
    } else {
      most = middle;
    }
  }
  return least;
}

static void set(tinker__eng_gen_t *g, size_t claims, size_t room) {
  slots_of(g)->claimed -= g->claims * g->slot_bytes;
  g->claims = claims;
  g->room = room;
  g->slot_bytes = need(g, 1, room);
  slots_of(g)->claimed += g->claims * g->slot_bytes;
}

void tinker__eng_claim_drop(tinker__eng_gen_t *g, size_t slots) {
  if (!slots) return; /* a generation that was not prepared has no backend */
  g->claims -= slots;
  slots_of(g)->claimed -= slots * g->slot_bytes;
}

/* --- Others --------------------------------------------------------------- */

/* True when b has claimed memory that a could use. */
static bool shares(const tinker__eng_gen_t *a, const tinker__eng_gen_t *b) {
  return a != b && b->claims && slots_of(a) == slots_of(b);
}

/* Bytes of a page more for each other generation that runs. */
static uint64_t pages(const tinker__eng_gen_t *g) {
  uint64_t sum = 0;
  TINKER__LIST_EACH(l, tmp, &g->batch->running) {
    const tinker__eng_gen_t *o = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (!shares(g, o)) continue;
    size_t room = o->room + TINKER__CLAIM_PAGE;
    if (room > longest(o)) room = longest(o);
    if (room > o->room) {
      sum += need(o, o->claims, room) - o->claims * o->slot_bytes;
    }
  }
  return sum;
}

static bool alone(const tinker__eng_gen_t *g) {
  TINKER__LIST_EACH(l, tmp, &g->batch->running) {
    if (shares(g, TINKER__CONTAINER(l, tinker__eng_gen_t, link))) return false;
  }
  return true;
}

/* The youngest generation that is younger than g and shares memory with it;
 * NULL = none. */
static tinker__eng_gen_t *youngest_after(const tinker__eng_gen_t *g) {
  tinker__link_t *l = g->batch->running.prev;
  for (; l != &g->link; l = l->prev) {
    tinker__eng_gen_t *o = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    if (shares(g, o) && !o->error) return o;
  }
  return NULL;
}

/* Takes the caches of g, which waits again. It is older than all that have not
 * begun, so it waits as the first. */
static void send_back(tinker__eng_gen_t *g) {
  tinker__eng_gen_stop(g, TINKER__GEN_WAITS);
  tinker__list_remove(&g->link);
  tinker__list_push_front(&g->batch->waiting, &g->link);
}

/* --- Claims --------------------------------------------------------------- */

int tinker__eng_claim_first(tinker__eng_gen_t *g) {
  size_t n = unfinished(g), least = least_room(g), most = next_room(g);
  if (need(g, n, least) > slots_of(g)->limit) return too_large(g);
  uint64_t bytes = available(g), rest = pages(g);
  size_t room = alone(g)
                    ? fit(g, n, least, most, bytes)
                    : fit(g, n, most, most, bytes > rest ? bytes - rest : 0);
  if (!room) return 1;
  set(g, n, room);
  return 0;
}

/* Grows the slots of g to the room that is claimed. */
static int widen(tinker__eng_gen_t *g) {
  for (size_t i = 0; i < g->num_samples; i++) {
    tinker__eng_slot_t *slot = g->seqs[i].slot;
    if (!slot) continue;
    int rc = g->backend->api->slot_grow(slot, g->room, g->why, sizeof g->why);
    if (rc) return rc;
  }
  return 0;
}

int tinker__eng_claim_page(tinker__eng_gen_t *g) {
  size_t used = g->n_prompt + tinker__eng_gen_made(g);
  tinker__eng_gen_t *o;
  if (used <= g->room) return 0;
  size_t room = 0, most = next_room(g);
  while (!(room = fit(g, g->claims, most, most, available(g))) &&
         (o = youngest_after(g)) != NULL) {
    send_back(o);
  }
  if (!room && alone(g)) {
    room = fit(g, g->claims, used, most, available(g));
    if (!room) return too_large(g);
  }
  tinker__eng_gen_move(g, room ? TINKER__GEN_DECODE : TINKER__GEN_STALLED);
  if (!room) return 0;
  set(g, g->claims, room);
  return widen(g);
}

void tinker__eng_claim_shrink(tinker__eng_batch_t *b) {
  tinker__link_t *l = b->running.prev, *before;
  for (; l != &b->running; l = before) {
    tinker__eng_gen_t *g = TINKER__CONTAINER(l, tinker__eng_gen_t, link);
    before = l->prev;
    if (slots_of(g)->claimed > slots_of(g)->limit) send_back(g);
  }
}
