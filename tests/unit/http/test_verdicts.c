/* The whole table of verdicts: each class of request against everything that
 * can happen to it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "http/retry.h"

static const tinker__retry_limits_t limits = {.send_ms = 300000,
                                              .conflict_ms = 10000,
                                              .page_ms = 10000,
                                              .billing_ms = 3600000,
                                              .bad_polls = 3};

enum { CLASSES = 8, ENOUGH = 2000 };

/* How long it is tried, the code without TINKER_E, the advice (retriable,
 * fatal, outcome unknown, v: needs recovery), and what else follows. In the
 * order of the classes: numbered, sample, once, read, poll, start, lookup,
 * repeat. */
static const struct {
  const char *name;
  tinker__trouble_t trouble;
  const char *verdicts[CLASSES];
  tinker_category_t category; /* but of a lost result, which is the server's */
} cases[] = {
    /* clang-format off */
    {"ECONNECT", {.error = TINKER_ECONNECT},
     {"5min CONNECT fv", "5min CONNECT r", "5min CONNECT r", "5min CONNECT r",
      "ever TRANSPORT u", "5min CONNECT r", "5min CONNECT r", "5min CONNECT r"},
     TINKER_CATEGORY_UNKNOWN},
    {"ETIMEDOUT unsent", {.error = TINKER_ETIMEDOUT},
     {"5min CONNECT fv", "5min CONNECT r", "5min CONNECT r", "5min CONNECT r",
      "ever TRANSPORT u", "5min CONNECT r", "5min CONNECT r", "5min CONNECT r"},
     TINKER_CATEGORY_UNKNOWN},
    {"ETLS", {.error = TINKER_ETLS},
     {"5min TLS fv", "5min TLS r", "5min TLS r", "5min TLS r", "ever TLS u",
      "once TLS", "5min TLS r", "5min TLS r"},
     TINKER_CATEGORY_UNKNOWN},
    {"ENOMEM", {.error = TINKER_ENOMEM},
     {"5min NOMEM fv", "5min NOMEM r", "once NOMEM r", "5min NOMEM r",
      "ever NOMEM u", "once NOMEM r", "5min NOMEM r", "5min NOMEM r"},
     TINKER_CATEGORY_UNKNOWN},
    {"EINVAL", {.error = TINKER_EINVAL},
     {"once INVAL fv", "once INVAL", "once INVAL", "once INVAL", "once INVAL u",
      "once INVAL", "once INVAL", "once INVAL"},
     TINKER_CATEGORY_UNKNOWN},
    {"ETRANSPORT", {.error = TINKER_ETRANSPORT, .sent = true},
     {"5min TRANSPORT fuv", "5min TRANSPORT r", "once TRANSPORT u",
      "5min TRANSPORT r", "ever TRANSPORT u", "5min TRANSPORT r",
      "5min TRANSPORT r", "5min TRANSPORT u"},
     TINKER_CATEGORY_UNKNOWN},
    {"ETIMEDOUT", {.error = TINKER_ETIMEDOUT, .sent = true},
     {"5min TRANSPORT fuv", "5min TRANSPORT r", "once TRANSPORT u",
      "5min TRANSPORT r", "ever TRANSPORT u", "5min TRANSPORT r",
      "5min TRANSPORT r", "5min TRANSPORT u"},
     TINKER_CATEGORY_UNKNOWN},
    {"ETLS sent", {.error = TINKER_ETLS, .sent = true},
     {"5min TRANSPORT fuv", "5min TRANSPORT r", "once TRANSPORT u",
      "5min TRANSPORT r", "ever TRANSPORT u", "5min TRANSPORT r",
      "5min TRANSPORT r", "5min TRANSPORT u"},
     TINKER_CATEGORY_UNKNOWN},
    {"EOVERFLOW", {.error = TINKER_EOVERFLOW, .sent = true},
     {"5min OVERFLOW fuv", "once OVERFLOW", "once OVERFLOW u", "once OVERFLOW",
      "once OVERFLOW u", "once OVERFLOW", "once OVERFLOW", "once OVERFLOW u"},
     TINKER_CATEGORY_UNKNOWN},
    {"ENOMEM sent", {.error = TINKER_ENOMEM, .sent = true},
     {"5min NOMEM fuv", "5min NOMEM r", "once NOMEM u", "5min NOMEM r",
      "ever NOMEM u", "once NOMEM r", "5min NOMEM r", "5min NOMEM u"},
     TINKER_CATEGORY_UNKNOWN},
    {"ECANCELED sent", {.error = TINKER_ECANCELED, .sent = true},
     {"5min CANCELED fuv", "once CANCELED r", "once CANCELED u",
      "once CANCELED r", "ever CANCELED u", "once CANCELED r",
      "once CANCELED r", "once CANCELED u"},
     TINKER_CATEGORY_UNKNOWN},
    {"200", {.sent = true, .status = 200},
     {"5min PROTO fuv", "5min PROTO r", "once PROTO u", "5min PROTO r",
      "ever PROTO u", "10s PROTO r", "5min PROTO r", "5min PROTO u"},
     TINKER_CATEGORY_UNKNOWN},
    {"302", {.sent = true, .status = 302},
     {"5min PROTO fuv", "5min PROTO r", "once PROTO u", "5min PROTO r",
      "ever PROTO u", "10s PROTO r", "5min PROTO r", "5min PROTO u"},
     TINKER_CATEGORY_UNKNOWN},
    {"400", {.sent = true, .status = 400},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "4x REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"401", {.sent = true, .status = 401},
     {"once AUTH fv", "once AUTH", "once AUTH", "once AUTH", "once AUTH u",
      "once AUTH", "once AUTH", "once AUTH"},
     TINKER_CATEGORY_USER},
    {"402", {.sent = true, .status = 402},
     {"1h BILLING fv", "1h BILLING r", "once BILLING r", "1h BILLING r",
      "1h BILLING u", "1h BILLING r", "1h BILLING r", "1h BILLING r"},
     TINKER_CATEGORY_USER},
    {"403", {.sent = true, .status = 403},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"403 page", {.sent = true, .status = 403, .foreign = true},
     {"5min PROTO fuv", "5min PROTO r", "once PROTO u", "5min PROTO r",
      "ever PROTO u", "10s PROTO r", "5min PROTO r", "5min PROTO u"},
     TINKER_CATEGORY_UNKNOWN},
    {"404", {.sent = true, .status = 404},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "once LOST u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"408", {.sent = true, .status = 408},
     {"5min SERVER fuv", "5min SERVER r", "once SERVER u", "5min SERVER r",
      "ever SERVER u", "5min SERVER r", "5min SERVER r", "5min SERVER u"},
     TINKER_CATEGORY_SERVER},
    {"409", {.sent = true, .status = 409},
     {"10s REJECTED", "10s REJECTED r", "once REJECTED", "10s REJECTED r",
      "once REJECTED u", "10s REJECTED r", "10s REJECTED r", "10s REJECTED r"},
     TINKER_CATEGORY_USER},
    {"410", {.sent = true, .status = 410},
     {"once SESSION fv over", "once SESSION over", "once SESSION over",
      "once SESSION", "once LOST u lost", "once SESSION", "once NOENT",
      "once NOENT"},
     TINKER_CATEGORY_USER},
    {"410 page", {.sent = true, .status = 410, .foreign = true},
     {"5min PROTO fuv", "5min PROTO r", "once PROTO u", "5min PROTO r",
      "ever PROTO u", "10s PROTO r", "5min PROTO r", "5min PROTO u"},
     TINKER_CATEGORY_UNKNOWN},
    {"413", {.sent = true, .status = 413},
     {"once REJECTED fv", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"422", {.sent = true, .status = 422},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"425", {.sent = true, .status = 425},
     {"10s REJECTED r", "10s REJECTED r", "once REJECTED r", "10s REJECTED r",
      "once REJECTED u", "10s REJECTED r", "10s REJECTED r", "10s REJECTED r"},
     TINKER_CATEGORY_USER},
    {"429", {.sent = true, .status = 429},
     {"5min REJECTED fv", "ever REJECTED r", "once REJECTED r",
      "5min REJECTED r", "ever REJECTED u", "5min REJECTED r",
      "5min REJECTED r", "5min REJECTED r"},
     TINKER_CATEGORY_SERVER},
    {"500", {.sent = true, .status = 500},
     {"5min SERVER fuv", "5min SERVER r", "once SERVER u", "5min SERVER r",
      "ever SERVER u", "5min SERVER r", "5min SERVER r", "5min SERVER u"},
     TINKER_CATEGORY_SERVER},
    {"503", {.sent = true, .status = 503},
     {"5min SERVER fuv", "5min SERVER r", "once SERVER u", "5min SERVER r",
      "ever SERVER u", "5min SERVER r", "5min SERVER r", "5min SERVER u"},
     TINKER_CATEGORY_SERVER},
    {"599", {.sent = true, .status = 599},
     {"5min SERVER fuv", "5min SERVER r", "once SERVER u", "5min SERVER r",
      "ever SERVER u", "5min SERVER r", "5min SERVER r", "5min SERVER u"},
     TINKER_CATEGORY_SERVER},
    {"600", {.sent = true, .status = 600},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_SERVER},
    {"exists", {.sent = true, .status = 409, .said = TINKER__SAID_EXISTS},
     {"once EXIST", "once EXIST", "once EXIST", "once EXIST", "once REJECTED u",
      "once EXIST", "once EXIST", "once EXIST"},
     TINKER_CATEGORY_USER},
    {"missing", {.sent = true, .status = 404, .said = TINKER__SAID_MISSING},
     {"once NOENT", "once NOENT", "once NOENT", "once NOENT", "once LOST u",
      "once NOENT", "once NOENT", "once NOENT"},
     TINKER_CATEGORY_USER},
    {"no model", {.sent = true, .status = 404, .said = TINKER__SAID_NO_MODEL},
     {"once NOENT fv", "once NOENT", "once NOENT", "once NOENT fv",
      "once LOST u", "once NOENT", "once NOENT", "once NOENT"},
     TINKER_CATEGORY_USER},
    {"no session",
     {.sent = true, .status = 404, .said = TINKER__SAID_NO_SESSION},
     {"once SESSION fv", "once SESSION", "once SESSION", "once SESSION",
      "once LOST u", "once SESSION", "once NOENT", "once NOENT"},
     TINKER_CATEGORY_USER},
    {"no route", {.sent = true, .status = 404, .said = TINKER__SAID_NO_ROUTE},
     {"once NOTSUP", "once NOTSUP", "once NOTSUP", "once NOTSUP", "once LOST u",
      "once NOTSUP", "once NOTSUP", "once NOTSUP"},
     TINKER_CATEGORY_USER},
    {"stuck", {.sent = true, .status = 404, .said = TINKER__SAID_STUCK},
     {"once SERVER fv", "once SERVER v", "once SERVER v", "once SERVER v",
      "once LOST u", "once SERVER v", "once SERVER v", "once SERVER v"},
     TINKER_CATEGORY_USER},
    {"taken", {.sent = true, .status = 409, .said = TINKER__SAID_TAKEN},
     {"once REJECTED fv", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"spent", {.sent = true, .status = 409, .said = TINKER__SAID_SPENT},
     {"once REJECTED", "once REJECTED", "once REJECTED", "once REJECTED",
      "once REJECTED u", "once REJECTED", "once REJECTED", "once REJECTED"},
     TINKER_CATEGORY_USER},
    {"ended user", {.sent = true, .status = 200, .ended = true,
      .category = TINKER_CATEGORY_USER },
     {"once SERVER", "once SERVER", "once SERVER", "once SERVER", "once SERVER",
      "once SERVER", "once SERVER", "once SERVER"},
     TINKER_CATEGORY_USER},
    {"ended server",
     {.sent = true, .status = 200, .ended = true,
      .category = TINKER_CATEGORY_SERVER },
     {"once SERVER", "once SERVER r", "once SERVER", "once SERVER",
      "once SERVER", "once SERVER", "once SERVER", "once SERVER"},
     TINKER_CATEGORY_SERVER},
    {"ended", {.sent = true, .status = 200, .ended = true},
     {"once SERVER", "once SERVER r", "once SERVER", "once SERVER",
      "once SERVER", "once SERVER", "once SERVER", "once SERVER"},
     TINKER_CATEGORY_UNKNOWN},
    {"ended stuck",
     {.sent = true, .status = 200, .ended = true,
      .category = TINKER_CATEGORY_SERVER, .said = TINKER__SAID_STUCK},
     {"once SERVER fv", "once SERVER v", "once SERVER v", "once SERVER v",
      "once SERVER", "once SERVER v", "once SERVER v", "once SERVER v"},
     TINKER_CATEGORY_SERVER},
    {"ended exists",
     {.sent = true, .status = 200, .ended = true,
      .category = TINKER_CATEGORY_USER, .said = TINKER__SAID_EXISTS},
     {"once EXIST", "once EXIST", "once EXIST", "once EXIST", "once SERVER",
      "once EXIST", "once EXIST", "once EXIST"},
     TINKER_CATEGORY_USER},
    /* clang-format on */
};

static const char *how_long(int attempts, int64_t ms) {
  if (attempts == ENOUGH) return "ever";
  if (attempts == 1) return "once";
  if (ms < 10000) return "4x";
  if (ms < 45000) return "10s";
  return ms < 400000 ? "5min" : "1h";
}

static void write(char *out, size_t out_len, const tinker__verdict_t *v,
                  int attempts, int64_t ms) {
  char advice[8] = "", *at = advice;
  *at++ = ' ';
  if (v->advice & TINKER__ADVICE_RETRIABLE) *at++ = 'r';
  if (v->advice & TINKER__ADVICE_FATAL) *at++ = 'f';
  if (v->advice & TINKER__ADVICE_UNKNOWN) *at++ = 'u';
  if (v->advice & TINKER__ADVICE_RECOVER) *at++ = 'v';
  *(at == advice + 1 ? advice : at) = 0;
  snprintf(out, out_len, "%s %s%s%s", how_long(attempts, ms),
           tinker_code_name(v->code) + strlen("TINKER_E"), advice,
           v->kind == TINKER__VERDICT_LOST   ? " lost"
           : v->kind == TINKER__VERDICT_OVER ? " over"
                                             : "");
}

/* Fails in the same way until the rules give up. */
static tinker__verdict_t judge(char *out, size_t out_len, unsigned class_bit,
                               const tinker__trouble_t *trouble) {
  tinker__retry_t r = {0};
  tinker__verdict_t v = {0};
  uint64_t seed = 7;
  int64_t now = 1000;
  int attempts = 0;
  while (attempts < ENOUGH) {
    tinker__retry_sent(&r, now);
    attempts++;
    now += 10;
    v = tinker__retry_judge(&r, &limits, class_bit, trouble, now, &seed);
    cr_assert_eq(r.again, v.kind == TINKER__VERDICT_AGAIN);
    if (v.kind != TINKER__VERDICT_AGAIN) break;
    cr_assert_geq(v.delay_ms, 90);
    now += v.delay_ms;
  }
  write(out, out_len, &v, attempts, now - 1000);
  return v;
}

Test(verdicts, of_every_class_on_everything) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    for (int c = 0; c < CLASSES; c++) {
      char got[64];
      tinker__verdict_t v = judge(got, sizeof got, 1u << c, &cases[i].trouble);
      cr_expect_str_eq(got, cases[i].verdicts[c], "%s, class %d: %s",
                       cases[i].name, c, got);
      cr_expect_eq(v.category,
                   v.code == TINKER_ELOST ? TINKER_CATEGORY_SERVER
                                          : cases[i].category,
                   "%s, class %d", cases[i].name, c);
    }
  }
}

/* Whatever comes, whoever asks: something retriable has not been done, and what
 * nobody may repeat blindly is not called retriable. */
Test(verdicts, no_advice_contradicts_itself) {
  for (int status = 0; status < 700; status++) {
    for (int c = 0; c < CLASSES; c++) {
      for (int foreign = 0; foreign < 2; foreign++) {
        char got[64];
        tinker__trouble_t t = {
            .sent = true, .status = status, .foreign = foreign};
        unsigned advice = judge(got, sizeof got, 1u << c, &t).advice;
        bool retriable = advice & TINKER__ADVICE_RETRIABLE;
        cr_assert(!retriable || advice == TINKER__ADVICE_RETRIABLE, "%d %d %s",
                  status, c, got);
        cr_assert_eq(!(advice & TINKER__ADVICE_FATAL),
                     !(advice & TINKER__ADVICE_RECOVER));
      }
    }
  }
}
