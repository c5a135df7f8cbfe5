/* Train states and adapters in files: what continues, what is refused, every
 * rank and set of trained parts. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"
#include "support.h"

static const tinker__eng_optim_params_t adam = {
    .learning_rate = 0.01,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .eps = 1e-8,
    .grad_clip_norm = 1.0,
};

static void steps(tiny_t *b, tinker__eng_train_t *t, int n) {
  for (int i = 0; i < n; i++) {
    tinker__eng_optim_metrics_t m;
    run_pass(t, b->s, 2, &cross_entropy, false);
    cr_assert_eq(b->r.api->optim_step(t, &adam, &m, NULL, 0), 0);
  }
}

static void save(tiny_t *b, tinker__eng_train_t *t) {
  char why[256] = "";
  cr_assert_eq(b->r.api->train_save(t, b->dir, why, sizeof why), 0, "%s", why);
}

static tinker__eng_train_t *load(tiny_t *b, bool optimizer) {
  char why[256] = "";
  tinker__eng_train_t *t = NULL;
  cr_assert_eq(
      b->r.api->train_load(b->r.base, b->dir, optimizer, &t, why, sizeof why),
      0, "%s", why);
  return t;
}

static bool same(const tinker__eng_train_t *a, const tinker__eng_train_t *b) {
  size_t bytes = a->lora->floats * sizeof(float);
  return memcmp(a->current->w, b->current->w, bytes) == 0 &&
         memcmp(a->m, b->m, bytes) == 0 && memcmp(a->v, b->v, bytes) == 0 &&
         a->step == b->step;
}

Test(state, continues_bit_for_bit) {
  tiny_t b;
  tinker__eng_lora_config_t peeked;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 8, UINT64_MAX - 5);
  steps(&b, t, 3);
  run_pass(t, b.s, 1, &cross_entropy, false);
  save(&b, t);
  cr_assert(t->has_grad, "a save keeps pending gradients in memory");
  memset(t->g, 0, t->lora->floats * sizeof(float));
  tinker__eng_train_t *with = load(&b, true), *without = load(&b, false);
  cr_assert(same(t, with));
  cr_assert_not(with->has_grad);
  cr_assert_eq(without->step, 0u);
  for (size_t i = 0; i < without->lora->floats; i++) {
    cr_assert(without->m[i] == 0 && without->v[i] == 0 && without->g[i] == 0);
  }
  steps(&b, t, 3);
  steps(&b, with, 3);
  steps(&b, without, 3);
  cr_assert(same(t, with));
  cr_assert_not(same(t, without), "the optimizer's state must count");
  cr_assert_eq(b.r.api->train_peek(b.dir, &peeked, NULL, 0), 0);
  cr_assert_eq(peeked.rank, 8u);
  cr_assert_eq(peeked.seed, UINT64_MAX - 5);
  cr_assert(peeked.train_attn && peeked.train_mlp && peeked.train_unembed);
  b.r.api->train_free(t);
  b.r.api->train_free(with);
  b.r.api->train_free(without);
  tiny_close(&b);
}

static void keep(tiny_t *b, tinker__eng_train_t *t) {
  char why[256] = "";
  cr_assert_eq(b->r.api->train_keep(t, b->dir, why, sizeof why), 0, "%s", why);
}

static tinker__eng_train_t *resume(tiny_t *b) {
  char why[256] = "";
  tinker__eng_train_t *t = NULL;
  cr_assert_eq(b->r.api->train_resume(b->r.base, b->dir, &t, why, sizeof why),
               0, "%s", why);
  return t;
}

static bool same_grad(const tinker__eng_train_t *a,
                      const tinker__eng_train_t *b) {
  return a->has_grad == b->has_grad &&
         memcmp(a->g, b->g, a->lora->floats * sizeof(float)) == 0;
}

/* Kept between any two calls, the state goes on to the same losses, gradients,
 * weights and moments: passes that add to the gradients, steps that use them,
 * and a step without any. */
Test(state, gradients_go_on_bit_for_bit) {
  static const char calls[] = "bbSbSSbbbS";
  tiny_t b;
  tinker__eng_optim_metrics_t m[2];
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 8, 6), *again;
  keep(&b, t);
  again = resume(&b);
  for (size_t i = 0; calls[i]; i++) {
    if (calls[i] == 'b') {
      double loss = run_pass(t, b.s + i % 2, 1, &cross_entropy, false);
      cr_assert_eq(run_pass(again, b.s + i % 2, 1, &cross_entropy, false),
                   loss);
    } else {
      cr_assert_eq(b.r.api->optim_step(t, &adam, &m[0], NULL, 0), 0);
      cr_assert_eq(b.r.api->optim_step(again, &adam, &m[1], NULL, 0), 0);
      cr_assert_eq(m[0].grad_norm, m[1].grad_norm);
      cr_assert_eq(m[0].step, m[1].step);
    }
    cr_assert(same(t, again) && same_grad(t, again), "call %zu", i);
    cr_assert_eq(again->has_grad, calls[i] == 'b');
    keep(&b, again);
    b.r.api->train_free(again);
    again = resume(&b);
    cr_assert(same(t, again) && same_grad(t, again), "kept %zu", i);
  }
  b.r.api->train_free(t);
  b.r.api->train_free(again);
  tiny_close(&b);
}

/* Gradients that no step may use are kept as they are: it refuses them. */
Test(state, bad_gradients_stay_bad) {
  tiny_t b;
  tinker__eng_optim_metrics_t m;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 8, 6);
  run_pass(t, b.s, 1, &cross_entropy, false);
  t->g[0] = NAN;
  t->g[1] = -0.0f;
  t->g[2] = 1e-44f; /* below the normal range */
  t->g[3] = -INFINITY;
  keep(&b, t);
  tinker__eng_train_t *again = resume(&b);
  cr_assert(same_grad(t, again));
  cr_assert_eq(b.r.api->optim_step(again, &adam, &m, NULL, 0), TINKER_EINVAL);
  cr_assert(same(t, again));
  cr_assert_not(again->has_grad);
  b.r.api->train_free(t);
  b.r.api->train_free(again);
  tiny_close(&b);
}

/* A pass under way is in no file, and a folder with gradients is not taken for
 * a checkpoint. */
Test(state, gradients_are_no_checkpoint) {
  char why[256] = "";
  tiny_t b;
  tinker__eng_pass_t *p = NULL;
  tinker__eng_train_t *none = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 8, 6);
  tinker__eng_train_datum_t d =
      sample_datum(&b.s[0], TINKER__LOSS_CROSS_ENTROPY);
  cr_assert_eq(
      b.r.api->pass_begin(t, &d, 1, &cross_entropy, false, &p, NULL, 0), 0);
  cr_assert_eq(b.r.api->train_keep(t, b.dir, why, sizeof why), TINKER_ESTATE);
  cr_assert_str_eq(why, "a pass is collecting gradients");
  b.r.api->pass_end(p);
  run_pass(t, b.s, 1, &cross_entropy, false);
  keep(&b, t);
  for (int optimizer = 0; optimizer < 2; optimizer++) {
    cr_assert_eq(
        b.r.api->train_load(b.r.base, b.dir, optimizer, &none, why, sizeof why),
        TINKER_EFORMAT);
    cr_assert_not_null(strstr(why, "gradients that wait"), "%s", why);
  }
  save(&b, t);
  tinker__eng_train_t *with = resume(&b);
  cr_assert(same(t, with) && !with->has_grad);
  b.r.api->train_free(t);
  b.r.api->train_free(with);
  tiny_close(&b);
}

static void allow(tiny_t *b, uint64_t more) {
  b->r.mem.ceiling = atomic_load(&b->r.mem.live_bytes) + (size_t)more;
}

/* What a state is priced at covers its way out of a file, and its way into one
 * takes no copy of it. */
Test(state, files_within_the_price) {
  enum { REST = 300000 }; /* lists and heads */
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_lora_config_t c = {
      .rank = 128, .train_attn = true, .train_mlp = true};
  tinker__eng_train_t *t = NULL, *again;
  cr_assert_eq(b.r.api->train_new(b.r.base, &c, &t, NULL, 0), 0);
  run_pass(t, b.s, 1, &cross_entropy, false);
  cr_assert_gt(t->lora->floats * sizeof(float), REST);
  allow(&b, REST);
  keep(&b, t);
  b.r.api->train_free(t);
  allow(&b, b.r.api->train_bytes(b.r.base, &c) + REST);
  again = resume(&b);
  cr_assert(again->has_grad);
  b.r.api->train_free(again);
  tiny_close(&b);
}

/* Every legal set of parts and every rank: trains, saves, loads; a PEFT
 * folder of it gives the same rows. */
static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

static uint64_t rows_of(tiny_t *b, tinker__eng_adapter_t *a) {
  uint64_t h = HASH_START;
  tinker__eng_slot_t *slot = NULL;
  cr_assert_eq(b->r.api->slot_new(b->r.base, a, 50, &slot, NULL, 0), 0);
  tinker__eng_decode_item_t item = {
      .slot = slot,
      .tokens = b->s[0].tokens,
      .n = b->s[0].n,
      .on_row = hash_row,
      .user = &h,
  };
  cr_assert_eq(b->r.api->decode(b->r.engine, &item, 1, NULL, NULL, 0), 0);
  b->r.api->slot_free(slot);
  return h;
}

static void peft_round_trip(tiny_t *b, tinker__eng_train_t *t) {
  char dir[256], why[256] = "";
  tinker__eng_adapter_t *a = NULL, *again = NULL;
  temp_dir(dir);
  cr_assert_eq(b->r.api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(b->r.api->adapter_save(a, dir, why, sizeof why), 0, "%s", why);
  cr_assert_eq(b->r.api->adapter_load(b->r.base, dir, &again, why, sizeof why),
               0, "%s", why);
  uint64_t want = rows_of(b, a);
  cr_assert_eq(want, rows_of(b, again));
  cr_assert_neq(want, rows_of(b, NULL), "the adapter must matter");
  b->r.api->adapter_release(a);
  b->r.api->adapter_release(again);
  temp_remove(dir);
}

/* A uniform in +-1 / sqrt(inputs), B zero. */
static void check_first(const tinker__eng_train_t *t) {
  for (size_t i = 0; i < t->lora->num_targets; i++) {
    const tinker__cpu_target_t *x = &t->lora->targets[i];
    const float *a = t->current->w + x->a, *b = t->current->w + x->b;
    double bound = 1 / sqrt((double)x->in), sum = 0, squares = 0;
    size_t n = x->in * t->lora->rank;
    if (!x->on) continue;
    for (size_t j = 0; j < n; j++) {
      cr_assert_leq(fabs((double)a[j]), bound * (1 + 1e-7));
      sum += (double)a[j] / bound;
      squares += (double)a[j] * (double)a[j] / (bound * bound);
    }
    /* Mean 0 and mean square 1/3, within six deviations of n draws. */
    cr_assert_leq(fabs(sum), 6 * sqrt((double)n / 3));
    cr_assert_leq(fabs(squares - (double)n / 3), 6 * sqrt((double)n * 4 / 45));
    for (size_t j = 0; j < x->out * t->lora->rank; j++) {
      cr_assert_eq(b[j], 0.0f);
    }
  }
}

/* With and without other targets trained, a matrix starts the same. */
static void check_seed(tiny_t *b, uint32_t rank) {
  tinker__eng_lora_config_t c = {.rank = rank, .seed = 77, .train_mlp = true};
  tinker__eng_train_t *t[3];
  cr_assert_eq(b->r.api->train_new(b->r.base, &c, &t[0], NULL, 0), 0);
  c.train_attn = true;
  cr_assert_eq(b->r.api->train_new(b->r.base, &c, &t[1], NULL, 0), 0);
  c.seed = 78;
  cr_assert_eq(b->r.api->train_new(b->r.base, &c, &t[2], NULL, 0), 0);
  const float *a[3];
  size_t bytes = 0;
  for (size_t i = 0; i < 3; i++) {
    const tinker__cpu_target_t *x = &t[i]->lora->targets[TINKER__LORA_DOWN];
    a[i] = t[i]->current->w + x->a;
    bytes = x->in * rank * sizeof(float);
  }
  cr_assert_eq(memcmp(a[0], a[1], bytes), 0);
  cr_assert_neq(memcmp(a[1], a[2], bytes), 0);
  for (size_t i = 0; i < 3; i++) b->r.api->train_free(t[i]);
}

Test(state, every_rank_and_set) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  check_seed(&b, 4);
  for (unsigned i = 0; i < 7 * 8; i++) {
    unsigned set = i % 7 + 1;
    tinker__eng_lora_config_t c = {
        .rank = 1u << i % 8,
        .seed = i,
        .train_attn = set & 1,
        .train_mlp = set & 2,
        .train_unembed = set & 4,
    };
    tinker__eng_train_t *t = NULL;
    cr_assert_eq(b.r.api->train_new(b.r.base, &c, &t, NULL, 0), 0);
    cr_assert_eq(t->lora->scale, 32.0f / (float)c.rank);
    check_first(t);
    steps(&b, t, 2);
    save(&b, t);
    tinker__eng_train_t *again = load(&b, true);
    cr_assert(same(t, again));
    peft_round_trip(&b, t);
    b.r.api->train_free(t);
    b.r.api->train_free(again);
  }
  tiny_close(&b);
}

/* --- Broken files ------------------------------------------------------ */

/* Writes state.json with `from` replaced by `to` and expects a failure. */
static void expect_bad(tiny_t *b, const char *json, const char *from,
                       const char *to, int code) {
  char changed[4096], why[256] = "";
  tinker__eng_train_t *t = NULL;
  const char *at = strstr(json, from);
  cr_assert_not_null(at, "%s", from);
  int n = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - json), json,
                   to, at + strlen(from));
  spew(b->dir, "state.json", changed, (size_t)n);
  cr_assert_eq(
      b->r.api->train_load(b->r.base, b->dir, true, &t, why, sizeof why), code,
      "%s -> %s: %s", from, to, why);
  cr_assert_null(t);
  cr_assert_neq(why[0], '\0');
}

Test(state, broken_files) {
  tiny_t b;
  size_t json_len, len;
  char why[256] = "";
  tinker__eng_train_t *t = NULL;
  tiny_open(&b, &tiny_shape);
  cr_assert_eq(b.r.api->train_load(b.r.base, b.dir, true, &t, why, sizeof why),
               TINKER_ENOENT);
  t = random_train(&b.r, 4, 1);
  save(&b, t);
  b.r.api->train_free(t);
  char *json = slurp(b.dir, "state.json", &json_len);
  char *data = slurp(b.dir, "state.safetensors", &len);
  expect_bad(&b, json, "{", "[", TINKER_EJSON);
  expect_bad(&b, json, "\"rank\":4", "\"rank\":8", TINKER_EFORMAT);
  expect_bad(&b, json, "\"rank\":4", "\"rank\":3", TINKER_EINVAL);
  tinker__eng_lora_config_t peeked = {.rank = 77};
  cr_assert_eq(b.r.api->train_peek(b.dir, &peeked, why, sizeof why),
               TINKER_EINVAL);
  cr_assert_str_eq(why, "rank: 3 is not a power of two from 1 to 128");
  cr_assert_eq(peeked.rank, 77u);
  expect_bad(&b, json, "\"rank\":4", "\"rank\":99999999999", TINKER_EINVAL);
  expect_bad(&b, json, "\"alpha\":32.0", "\"alpha\":16.0", TINKER_EFORMAT);
  expect_bad(&b, json, "\"rank\":4", "\"knar\":4", TINKER_EFORMAT);
  expect_bad(&b, json, "\"rank\":4,", "", TINKER_EFORMAT);
  expect_bad(&b, json, "\"rank\":4", "\"rank\":4,\"rank\":4", TINKER_EFORMAT);
  expect_bad(&b, json, "\"format\":1", "\"format\":3", TINKER_EFORMAT);
  expect_bad(&b, json, b.r.base->digest, "00", TINKER_EFORMAT);
  char other[65];
  memset(other, 'a', 64);
  other[64] = '\0';
  expect_bad(&b, json, b.r.base->digest, other, TINKER_EINVAL);
  spew(b.dir, "state.json", json, json_len);
  data[len - 3] ^= 1;
  spew(b.dir, "state.safetensors", data, len);
  cr_assert_eq(b.r.api->train_load(b.r.base, b.dir, true, &t, why, sizeof why),
               TINKER_EFORMAT);
  cr_assert_str_eq(
      why, "state.safetensors: its digest is not the one that was stored");
  free(json);
  free(data);
  tiny_close(&b);
}

/* What a download leaves in the place of an adapter's files. */
Test(state, adapters_that_are_not_there) {
  static const struct {
    const char *data, *said;
  } rows[] = {
      {"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"},
      {"<html>", "web page"},
      {"", "is empty"}};
  static const char *const names[] = {"adapter_model.safetensors",
                                      "adapter_config.json"};
  tiny_t b;
  tinker__eng_adapter_t *a = NULL, *again = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 1);
  cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(b.r.api->adapter_save(a, b.dir, NULL, 0), 0);
  for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      char why[400] = "";
      spew(b.dir, names[n], rows[i].data, strlen(rows[i].data));
      cr_assert_eq(
          b.r.api->adapter_load(b.r.base, b.dir, &again, why, sizeof why),
          TINKER_EFORMAT, "%s", why);
      cr_assert_not_null(strstr(why, names[n]), "%s", why);
      cr_assert_not_null(strstr(why, rows[i].said), "%s", why);
    }
  }
  b.r.api->adapter_release(a);
  b.r.api->train_free(t);
  tiny_close(&b);
}
