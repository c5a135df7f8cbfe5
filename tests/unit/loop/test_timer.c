/* The queue of timers against a plain sorted list, by random operations. */
#include <criterion/criterion.h>

#include "loop/timer.h"

enum { COUNT = 200, STEPS = 40000 };

typedef struct model_s {
  tinker__timer_t timer;
  bool in;
  int64_t due;
  uint64_t order;
} model_t;

static model_t models[COUNT];
static tinker__timers_t queue;

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static model_t *expected_first(void) {
  model_t *best = NULL;
  for (int i = 0; i < COUNT; i++) {
    model_t *m = &models[i];
    if (!m->in) continue;
    if (!best || m->due < best->due ||
        (m->due == best->due && m->order < best->order)) {
      best = m;
    }
  }
  return best;
}

static void check_first(void) {
  model_t *want = expected_first();
  cr_assert_eq(tinker__timers_first(&queue), want ? &want->timer : NULL);
}

Test(timer, behaves_like_a_sorted_list) {
  uint64_t state = 88172645463325252u, order = 0;
  for (int i = 0; i < COUNT; i++) tinker__timer_init(&models[i].timer, NULL);
  for (int step = 0; step < STEPS; step++) {
    model_t *m = &models[next_random(&state) % COUNT];
    uint64_t what = next_random(&state) % 4;
    int64_t due = (int64_t)(next_random(&state) % 50);
    if (what < 2) {
      tinker__timers_put(&queue, &m->timer, due);
      m->in = true;
      m->due = due;
      m->order = order++;
    } else if (what == 2) {
      tinker__timers_remove(&queue, &m->timer);
      m->in = false;
    } else {
      model_t *want = expected_first();
      tinker__timer_t *got = tinker__timers_pop(&queue, due, order);
      bool is_due = want && want->due <= due;
      cr_assert_eq(got, is_due ? &want->timer : NULL);
      if (is_due) want->in = false;
    }
    cr_assert_eq(tinker__timer_active(&m->timer), m->in);
    check_first();
  }
}

Test(timer, a_turn_ends_with_the_timers_it_began_with) {
  tinker__timer_t a, b;
  tinker__timers_t q = {0};
  tinker__timer_init(&a, NULL);
  tinker__timer_init(&b, NULL);
  tinker__timers_put(&q, &a, 5);
  uint64_t turn = tinker__timers_turn(&q);
  cr_assert_eq(tinker__timers_pop(&q, 5, turn), &a);
  tinker__timers_put(&q, &b, 5); /* as a callback would */
  cr_assert_null(tinker__timers_pop(&q, 5, turn));
  cr_assert_eq(tinker__timers_pop(&q, 5, tinker__timers_turn(&q)), &b);
  tinker__timers_remove(&q, &b); /* out already: nothing happens */
  cr_assert_null(tinker__timers_first(&q));
}
