/* facts: what is written is read again, to the bit; what can't be is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "journal/facts.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static tinker__arena_t arena;
static tinker__buf_t text;
static char why[300];

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  tinker__buf_init(&text, &mem, TINKER__REC_MAX_FIELDS);
}

static void teardown(void) {
  tinker__arena_free(&arena);
  tinker__buf_free(&text);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(facts, .init = setup, .fini = teardown);

static int read_text(tinker__rec_facts_t *f, const char *json) {
  return tinker__rec_facts_read(f, &arena, tinker__str(json), why, sizeof why);
}

static tinker__rec_facts_t again(const tinker__rec_facts_t *f) {
  tinker__rec_facts_t back;
  cr_assert_eq(tinker__rec_facts_write(f, &text), 0);
  int rc = tinker__rec_facts_read(&back, &arena, tinker__buf_str(&text), why,
                                  sizeof why);
  cr_assert_eq(rc, 0, "%.*s: %s", (int)text.len, (const char *)text.data, why);
  return back;
}

Test(facts, nothing_is_an_empty_object) {
  const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  const tinker__rec_facts_t back = again(&none);
  cr_assert(tinker__str_eqs(tinker__buf_str(&text), "{}"));
  cr_assert_eq(back.op, TINKER__REC_UNSET);
  cr_assert_eq(back.count, TINKER__REC_UNSET);
  cr_assert_eq(back.name.len, 0);
  cr_assert_not(back.has_loss || back.has_noise);
}

#define NUMBERS(X)                                                             \
  X(op)                                                                        \
  X(slot)                                                                      \
  X(kind)                                                                      \
  X(side)                                                                      \
  X(request)                                                                   \
  X(end)                                                                       \
  X(code)                                                                      \
  X(epoch)                                                                     \
  X(from_step)                                                                 \
  X(to_step)                                                                   \
  X(incident)                                                                  \
  X(attempt)                                                                   \
  X(level)                                                                     \
  X(incarnation)                                                               \
  X(next_model)                                                                \
  X(next_sampling)                                                             \
  X(delay_ms)                                                                  \
  X(count)                                                                     \
  X(seconds)                                                                   \
  X(expires_ms) X(at_ms) X(pid) X(started) X(signal) X(lost) X(disowned)
#define TEXTS(X)                                                               \
  X(name)                                                                      \
  X(path)                                                                      \
  X(model) X(session) X(id) X(why) X(batch) X(cause) X(evidence) X(nonce)

Test(facts, every_number_and_text_by_itself) {
  const tinker__rec_facts_t init = TINKER__REC_FACTS_INIT;
  const int64_t values[] = {0, 1, -1, 1LL << 53, INT64_MAX, INT64_MIN + 1};
  tinker__rec_facts_t f, back;
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
#define NUMBER(field)                                                          \
  f = init;                                                                    \
  f.field = values[i];                                                         \
  back = again(&f);                                                            \
  cr_assert_eq(back.field, values[i], #field);
    NUMBERS(NUMBER)
  }
#define TEXT(field)                                                            \
  f = init;                                                                    \
  f.field = tinker__str("\"a\\\n\x01 \xc3\xa9 \xf0\x9f\x8d\x8b");              \
  back = again(&f);                                                            \
  cr_assert(tinker__str_eq(f.field, back.field), #field);
  TEXTS(TEXT)
}

/* A text that is not UTF-8 would make a record that no reader takes. */
Test(facts, a_broken_text_is_refused_when_it_is_written) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  f.why = tinker__str("half a character: \xc3");
  cr_assert_neq(tinker__rec_facts_write(&f, &text), 0);
}

static void same_bits(double value) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  f.loss = f.noise = value;
  f.has_loss = f.has_noise = true;
  const tinker__rec_facts_t back = again(&f);
  cr_assert(back.has_loss && back.has_noise);
  cr_assert_eq(memcmp(&f.loss, &back.loss, sizeof value), 0);
  cr_assert_eq(memcmp(&f.noise, &back.noise, sizeof value), 0);
}

Test(facts, losses_to_the_bit) {
  same_bits(0.1);
  same_bits(-0.0);
  same_bits(NAN);
  same_bits(INFINITY);
  same_bits(-INFINITY);
  same_bits(5e-324);
}

Test(facts, requests) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  tinker__rec_sent_t sent[3] = {{.seq_id = -1},
                                {.seq_id = 5, .len = 9, .datums = 2},
                                {.seq_id = INT64_MAX - 1, .offset = 7}};
  for (size_t i = 0; i < 32; i++) sent[1].sha256[i] = (unsigned char)(i * 9);
  f.requests = sent;
  f.request_count = 3;
  f.plan = tinker__str("{\"a\":[1,2]}");
  const tinker__rec_facts_t back = again(&f);
  cr_assert_eq(back.request_count, 3);
  cr_assert_eq(memcmp(back.requests, sent, sizeof sent), 0);
  cr_assert(tinker__str_eq(back.plan, f.plan));
}

Test(facts, an_unknown_name_is_left_alone) {
  tinker__rec_facts_t f;
  cr_assert_eq(read_text(&f, "{\"new\":{\"op\":[1]},\"op\":4}"), 0);
  cr_assert_eq(f.op, 4);
}

#define HASH "0000000000000000000000000000000000000000000000000000000000000000"

Test(facts, what_is_refused) {
  static const char *const broken[] = {
      "", "[]", "{\"op\":1", "{\"op\":1}{}", "{\"op\":\"1\"}", "{\"op\":1.5}",
      "{\"op\":9223372036854775808}", "{\"name\":1}", "{\"loss\":1.0}",
      "{\"loss\":\"3ff\"}", "{\"loss\":\"3FF0000000000000\"}",
      "{\"requests\":{}}", "{\"requests\":[[1,2,3]]}",
      "{\"requests\":[[1,2,3,4,\"" HASH "\",5]]}",
      "{\"requests\":[[1,-2,3,4,\"" HASH "\"]]}",
      "{\"requests\":[[1,2,3,-4,\"" HASH "\"]]}",
      "{\"requests\":[[1,2,3,4,\"00\"]]}",
      /* The number after it would be none. */
      "{\"requests\":[[9223372036854775807,2,3,4,\"" HASH "\"]]}"};
  tinker__rec_facts_t f;
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
    why[0] = 0;
    cr_assert_eq(read_text(&f, broken[i]), TINKER_EFORMAT, "%s", broken[i]);
    cr_assert_neq(why[0], 0, "%s", broken[i]);
  }
}

Test(facts, digests) {
  unsigned char out[32] = {9};
  cr_assert(tinker__rec_unhex(tinker__str(HASH), out));
  cr_assert_eq(out[0], 0);
  cr_assert_not(tinker__rec_unhex(tinker__str(""), out));
  cr_assert_not(tinker__rec_unhex((tinker__str_t){HASH, 62}, out));
  cr_assert_not(tinker__rec_unhex(
      tinker__str("g0000000000000000000000000000000000000000000000000000000000"
                  "00000"),
      out));
}

static int read_sweep(tinker__mem_t *m, void *user) {
  tinker__arena_t a;
  tinker__rec_facts_t f;
  tinker__arena_init(&a, m);
  int rc = tinker__rec_facts_read(&f, &a, tinker__str(user), NULL, 0);
  tinker__arena_free(&a);
  return rc;
}

static int write_sweep(tinker__mem_t *m, void *user) {
  tinker__buf_t b;
  tinker__buf_init(&b, m, TINKER__REC_MAX_FIELDS);
  int rc = tinker__rec_facts_write(user, &b);
  tinker__buf_free(&b);
  return rc;
}

Test(facts, no_memory) {
  char json[] = "{\"op\":1,\"name\":\"a\\nb\",\"requests\":[[1,2,3,4,\"" HASH
                "\"]],\"plan\":{\"a\":1}}";
  tinker__rec_facts_t f;
  cr_assert_gt(tinker__fail_sweep(read_sweep, json, TINKER_ENOMEM), 0);
  cr_assert_eq(read_text(&f, json), 0);
  cr_assert_gt(tinker__fail_sweep(write_sweep, &f, TINKER_ENOMEM), 0);
}
