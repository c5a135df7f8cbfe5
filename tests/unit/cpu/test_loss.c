/* Losses: which arguments they refuse, by name, and what a mask's entry means.
 * Their numbers are in test_train.c and test_golden.c. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/loss.h"
#include "support.h"

enum { N = 2 };

static const int32_t tokens[N] = {1, 2};
static const int64_t targets[N] = {1, 2};
static const float ok[N] = {1, 2};
static const float bad[][N] = {{NAN, 1}, {1, INFINITY}, {1, -INFINITY}};

static tinker__eng_train_datum_t good(tinker__eng_loss_kind_t kind) {
  static float out[N];
  bool ce = kind == TINKER__LOSS_CROSS_ENTROPY;
  return (tinker__eng_train_datum_t){
      .tokens = tokens,
      .n = N,
      .targets = targets,
      .k = 1,
      .weights = ce ? ok : NULL,
      .logprobs = ce ? NULL : ok,
      .advantages = ce ? NULL : ok,
      .ratio_mask = kind == TINKER__LOSS_GSPO ? ok : NULL,
      .out_logprobs = out,
      .out_loss = out,
  };
}

static void refused(tiny_t *b, const tinker__eng_loss_config_t *loss,
                    const tinker__eng_train_datum_t *d, const char *want) {
  tinker__eng_train_datum_t all[2] = {good(loss->kind), *d};
  char why[256] = "";
  cr_assert_eq(tinker__cpu_loss_check(b->r.base, all, 2, loss, why, sizeof why),
               TINKER_EINVAL, "not refused: %s", want);
  cr_assert_str_eq(why, want);
}

/* Of each array of floats: that it is there, and that each entry is finite. */
static void check_field(tiny_t *b, tinker__eng_loss_kind_t kind, size_t offset,
                        const char *name) {
  tinker__eng_loss_config_t loss = {.kind = kind};
  tinker__eng_train_datum_t d = good(kind);
  const float **field = (const float **)(void *)((char *)&d + offset);
  char want[100];
  *field = NULL;
  snprintf(want, sizeof want, "data[1].%s: missing", name);
  refused(b, &loss, &d, want);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    *field = bad[i];
    snprintf(want, sizeof want, "data[1].%s[%d]: not finite", name, i > 0);
    refused(b, &loss, &d, want);
  }
  *field = ok;
  cr_assert_eq(tinker__cpu_loss_check(b->r.base, &d, 1, &loss, NULL, 0), 0);
}

#define FIELD(name) offsetof(tinker__eng_train_datum_t, name)

Test(loss, refuses_fields) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  check_field(&b, TINKER__LOSS_CROSS_ENTROPY, FIELD(weights), "weights");
  for (int kind = TINKER__LOSS_IMPORTANCE_SAMPLING; kind <= TINKER__LOSS_GSPO;
       kind++) {
    check_field(&b, (tinker__eng_loss_kind_t)kind, FIELD(logprobs), "logprobs");
    check_field(&b, (tinker__eng_loss_kind_t)kind, FIELD(advantages),
                "advantages");
  }
  check_field(&b, TINKER__LOSS_GSPO, FIELD(ratio_mask), "sequence_ratio_mask");
  tiny_close(&b);
}

Test(loss, refuses_shapes) {
  static const float none[N] = {0, -0.0f};
  static const int64_t below[N] = {0, -1};
  const size_t arrays[] = {FIELD(tokens), FIELD(targets), FIELD(out_logprobs),
                           FIELD(out_loss)};
  tinker__eng_loss_config_t ce = {.kind = TINKER__LOSS_CROSS_ENTROPY};
  tinker__eng_loss_config_t gspo = {.kind = TINKER__LOSS_GSPO};
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_datum_t d;
  for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
    d = good(ce.kind);
    memset((char *)&d + arrays[i], 0, sizeof(void *));
    refused(&b, &ce, &d, "data[1]: an array is missing");
  }
  d = good(ce.kind);
  d.k = tiny_shape.vocab + 1;
  refused(&b, &ce, &d,
          "data[1]: target candidates per position must be 1 to the "
          "vocabulary's size");
  d = good(ce.kind);
  d.targets = below;
  refused(&b, &ce, &d, "data[1].targets[1]: not in the vocabulary");
  d = good(gspo.kind);
  d.ratio_mask = none;
  refused(&b, &gspo, &d, "data[1].sequence_ratio_mask: no token counts");
  tiny_close(&b);
}

Test(loss, refuses_options) {
  static const tinker__eng_loss_kind_t clips[] = {
      TINKER__LOSS_PPO, TINKER__LOSS_CISPO, TINKER__LOSS_GSPO};
  static const double pairs[][2] = {
      {1.2, 0.8}, {NAN, 1}, {1, NAN}, {0, INFINITY}, {-INFINITY, 1}};
  static const double betas[] = {NAN, INFINITY, -INFINITY};
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  for (size_t i = 0; i < 3; i++) {
    tinker__eng_train_datum_t d = good(clips[i]);
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
      tinker__eng_loss_config_t c = {clips[i], pairs[k][0], pairs[k][1], 0};
      refused(&b, &c, &d, "clip thresholds: not finite, or low above high");
    }
    tinker__eng_train_datum_t dro = good(TINKER__LOSS_DRO);
    tinker__eng_loss_config_t c = {TINKER__LOSS_DRO, 0, 0, betas[i]};
    refused(&b, &c, &dro, "beta: not finite");
  }
  tiny_close(&b);
}

/* A token counts in a sequence's ratio if its entry is not zero, whatever it
 * is. */
Test(loss, mask_entries_are_yes_or_no) {
  static const float entries[] = {1, 0.25f, -3, 1e-40f};
  static const tinker__eng_loss_config_t gspo = {TINKER__LOSS_GSPO, 0.5, 1.5,
                                                 0};
  tiny_t b;
  uint64_t want = 0;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  sample_t *s = &b.s[0];
  for (size_t e = 0; e < sizeof entries / sizeof *entries; e++) {
    for (size_t i = 0; i < s->n; i++) {
      if (s->mask[i] != 0) s->mask[i] = entries[e];
    }
    run_pass(t, s, 1, &gspo, true);
    uint64_t h = hash_bytes(HASH_START, s->loss, s->n * sizeof *s->loss);
    if (e == 0) want = h;
    cr_assert_eq(h, want, "entry %g", (double)entries[e]);
  }
  s->mask[0] = s->mask[0] != 0 ? 0 : 1; /* and which count does matter */
  run_pass(t, s, 1, &gspo, true);
  cr_assert_neq(hash_bytes(HASH_START, s->loss, s->n * sizeof *s->loss), want);
  b.r.api->train_free(t);
  tiny_close(&b);
}

/* The total is one chain in the order of the data: what cancels at first is
 * gone when the small one is added. */
Test(loss, total_is_one_chain) {
  tiny_t b;
  sample_t s[3];
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  for (size_t i = 0; i < 3; i++) {
    sample_random(&s[i], 1, 1, tiny_shape.vocab, i / 2);
    s[i].weights[0] = i == 0 ? 1e25f : i == 1 ? -1e25f : 1;
  }
  double total = run_pass(t, s, 3, &cross_entropy, true);
  cr_assert_eq(s[0].loss[0], -s[1].loss[0]);
  cr_assert_neq(s[2].loss[0], 0.0f);
  cr_assert_eq(total, (double)s[2].loss[0]);
  b.r.api->train_free(t);
  samples_free(s, 3);
  tiny_close(&b);
}
