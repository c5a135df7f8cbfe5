/* tinker_trainer_step against a local service that goes wrong as a plan says.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "play.h"

static play_t hit;

TestSuite(steps, .timeout = 120);

#define BY_CHANCE(more_) "{\"probability\":0.05,\"act\":" more_ "}"

/* Replies are lost after they were made durable, connections break: each half
 * is applied once, in order, and the weights are those of the two calls made
 * one by one, bit by bit. */
Test(steps, as_the_two_calls) {
  play_begin_tcp(&hit, 7,
                 BY_CHANCE("\"lose_reply\"") "," BY_CHANCE(
                     "\"drop\"") "," BY_CHANCE("\"cut\",\"bytes\":30"),
                 NULL);
  ended_t e = {.code = -1};
  for (int i = 0; e.code && i < 20; i++) e = play_create(&hit);
  cr_assert_eq(e.code, 0, "%s", e.text);
  hit.steps = LONG_STEPS;
  hit.whole = true;
  play_train(&hit);
  play_check(&hit, (ended_t[MAX_CALLS]){{0}});
  play_check_ledger(&hit);
  play_check_fired(&hit, 5);
  play_check_undisturbed(&hit);
  play_end(&hit);
}

/* Requests with this number that the service has applied. */
static size_t applied(const play_t *p, int seq) {
  static char ledger[1 << 20];
  char id[300];
  snprintf(id, sizeof id, "%s:%d", tinker_trainer_model_id(p->trainer), seq);
  faulty_ledger(&p->service, ledger, sizeof ledger);
  return faulty_count(ledger, "applied", id, NULL);
}

static ended_t step(play_t *p, int32_t token) {
  const int32_t tokens[] = {1, 2, token, 3};
  tinker_datum_t *datum = NULL;
  cr_assert_eq(tinker_datum_new_supervised(&datum, tokens, NULL, 4, NULL, NULL),
               0);
  tinker_future_t *f =
      tinker_trainer_step(p->trainer, &datum, 1, NULL, NULL, NULL);
  ended_t e = play_wait(f);
  tinker_future_release(f);
  tinker_datum_release(datum);
  return e;
}

/* The service refuses the examples: no weight moves, and the next step is as
 * any other. */
Test(steps, refused_examples_move_nothing) {
  play_begin(&hit, "", NULL);
  cr_assert_eq(play_create(&hit).code, 0);
  ended_t e = step(&hit, 1000000);
  cr_assert_eq(e.code, TINKER_EREJECTED, "%s", e.text);
  cr_assert(e.advice == 0 && e.category == TINKER_CATEGORY_USER);
  cr_assert(strstr(e.text, "; its optim_step was not sent"), "%s", e.text);
  cr_assert_eq(step(&hit, 5).code, 0);
  cr_assert(applied(&hit, 1) == 0 && applied(&hit, 2) == 1);
  play_check_applied(&hit, "optim_step", 1);
  play_end(&hit);
}

/* It fails when it is carried out, sooner or later than the optim_step leaves:
 * what the error says of that is what the ledger says. */
Test(steps, a_crash_says_what_became_of_the_other_half) {
  play_begin(&hit,
             "{\"endpoint\":\"forward_backward\",\"seq_id\":3,\"act\":"
             "\"crash\"}",
             NULL);
  cr_assert_eq(play_create(&hit).code, 0);
  cr_assert_eq(step(&hit, 5).code, 0);
  ended_t e = step(&hit, 6);
  cr_assert_eq(e.code, TINKER_ESERVER, "%s", e.text);
  cr_assert(!(e.advice & RETRIABLE) && e.advice & RECOVER, "%s", e.text);
  bool unsent = strstr(e.text, "; its optim_step was not sent");
  bool moved = strstr(e.text, "moves the weights without it");
  cr_assert(unsent != moved, "%s", e.text);
  cr_assert_eq(applied(&hit, 3), 0u);
  cr_assert_eq(applied(&hit, 4), moved ? 1u : 0u, "%s", e.text);
  play_end(&hit);
}
