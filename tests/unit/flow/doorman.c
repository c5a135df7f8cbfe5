/* A door for tests, see doorman.h. */
#include "doorman.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

static void hear(doorman_t *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void hear(doorman_t *d, const char *fmt, ...) {
  size_t n = strlen(d->heard);
  va_list args;
  va_start(args, fmt);
  int k = vsnprintf(d->heard + n, sizeof d->heard - n, fmt, args);
  va_end(args);
  cr_assert(k >= 0 && (size_t)k < sizeof d->heard - n);
}

static tinker_error_t *no(doorman_t *d, const char *why) {
  return tinker__error_new(
      &d->bench->mem, &(tinker__error_spec_t){.code = TINKER_EBUSY}, "%s", why);
}

static tinker__admit_t admit(void *user, const tinker__mutation_t *m,
                             tinker_error_t **error) {
  doorman_t *d = user;
  hear(d, " ?%d:", (int)m->ticket);
  for (size_t i = 0; i < m->count; i++) {
    const tinker__mutation_request_t *r = &m->requests[i];
    hear(d, i ? "," : "");
    hear(d, r->seq < 0 ? "-" : "%d", (int)r->seq);
    tinker__place_t place = {0};
    size_t len =
        tinker__pieces_read(&r->body, &place, d->body, sizeof d->body - 1);
    d->body[len] = 0;
  }
  if (d->answer == TINKER__ADMIT_REFUSE && d->with_error) {
    *error = no(d, "the journal is full");
  }
  return d->answer;
}

static tinker_error_t *fence(void *user, const tinker__mutation_t *m) {
  doorman_t *d = user;
  hear(d, " |%d", (int)m->ticket);
  return d->fenced ? no(d, "the lease is lost") : NULL;
}

static void withdrawn(void *user, uint64_t ticket) {
  hear(user, " -%d", (int)ticket);
}

static void accepted(void *user, uint64_t ticket, size_t i,
                     const char *request_id) {
  cr_assert_not_null(request_id);
  hear(user, " +%d.%zu", (int)ticket, i);
}

static void ended(void *user, uint64_t ticket, size_t i,
                  const tinker__outcome_t *o) {
  static const char marks[] = {[TINKER__OUTCOME_RESULT] = '=',
                               [TINKER__OUTCOME_FAILED] = '!',
                               [TINKER__OUTCOME_OPEN] = '~',
                               [TINKER__OUTCOME_UNSENT] = '_'};
  hear(user, " %c%d.%zu", marks[o->kind], (int)ticket, i);
  cr_assert_eq(o->raw != NULL, o->kind == TINKER__OUTCOME_RESULT);
  cr_assert_eq(o->error != NULL, o->kind == TINKER__OUTCOME_FAILED);
}

void doorman_open(doorman_t *d, bench_t *b) {
  *d = (doorman_t){
      .bench = b,
      .door = {.admit = admit,
               .withdrawn = withdrawn,
               .fence = fence,
               .accepted = accepted,
               .ended = ended,
               .user = d},
  };
  tinker__flow_set_door(&b->flow, &d->door);
}

void doorman_heard(doorman_t *d, const char *words) {
  cr_assert_str_eq(d->heard[0] ? d->heard + 1 : "", words);
  d->heard[0] = 0;
}

bool doorman_go(doorman_t *d, uint64_t ticket) {
  return tinker__flow_admitted(&d->bench->flow, ticket, NULL, d->bench->now_ms);
}

bool doorman_refuse(doorman_t *d, uint64_t ticket) {
  tinker_error_t *error = no(d, "the journal says no");
  bool known =
      tinker__flow_admitted(&d->bench->flow, ticket, error, d->bench->now_ms);
  tinker__error_release(error);
  return known;
}
