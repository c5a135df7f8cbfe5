/* Train states and adapters in files: what continues, what is refused, every
 * rank and set of trained parts, and every allocation failing in turn. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"
#include "support.h"
#include "support/fail_alloc.h"

static const tinker__eng_optim_params_t adam = {
    .learning_rate = 0.01,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .eps = 1e-8,
    .grad_clip_norm = 1.0,
};

typedef struct {
  rig_t r;
  char model[256], dir[256];
  sample_t s[2];
} bench_t;

static void setup(bench_t *b) {
  temp_dir(b->model);
  temp_dir(b->dir);
  write_model(b->model, &tiny_shape);
  rig_open(&b->r, b->model, 2, NULL);
  for (size_t i = 0; i < 2; i++) {
    sample_random(&b->s[i], 12 + i, 1, tiny_shape.vocab, 80 + i);
  }
}

static void teardown(bench_t *b) {
  samples_free(b->s, 2);
  rig_close(&b->r);
  temp_remove(b->model);
  temp_remove(b->dir);
}

static void steps(bench_t *b, tinker__eng_train_t *t, int n) {
  for (int i = 0; i < n; i++) {
    tinker__eng_optim_metrics_t m;
    run_pass(t, b->s, 2, &cross_entropy, false);
    cr_assert_eq(b->r.api->optim_step(t, &adam, &m, NULL, 0), 0);
  }
}

static void save(bench_t *b, tinker__eng_train_t *t) {
  char why[256] = "";
  cr_assert_eq(b->r.api->train_save(t, b->dir, why, sizeof why), 0, "%s", why);
}

static tinker__eng_train_t *load(bench_t *b, bool optimizer) {
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
  bench_t b;
  tinker__eng_lora_config_t peeked;
  setup(&b);
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
  teardown(&b);
}

static void keep(bench_t *b, tinker__eng_train_t *t) {
  char why[256] = "";
  cr_assert_eq(b->r.api->train_keep(t, b->dir, why, sizeof why), 0, "%s", why);
}

static tinker__eng_train_t *resume(bench_t *b) {
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
  bench_t b;
  tinker__eng_optim_metrics_t m[2];
  setup(&b);
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
  teardown(&b);
}

/* Gradients that no step may use are kept as they are: it refuses them. */
Test(state, bad_gradients_stay_bad) {
  bench_t b;
  tinker__eng_optim_metrics_t m;
  setup(&b);
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
  teardown(&b);
}

/* A pass under way is in no file, and a folder with gradients is not taken for
 * a checkpoint. */
Test(state, gradients_are_no_checkpoint) {
  char why[256] = "";
  bench_t b;
  tinker__eng_pass_t *p = NULL;
  tinker__eng_train_t *none = NULL;
  setup(&b);
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
  teardown(&b);
}

static void allow(bench_t *b, uint64_t more) {
  b->r.mem.ceiling = atomic_load(&b->r.mem.live_bytes) + (size_t)more;
}

/* What a state is priced at covers its way out of a file, and its way into one
 * takes no copy of it. */
Test(state, files_within_the_price) {
  enum { REST = 300000 }; /* lists and heads */
  bench_t b;
  setup(&b);
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
  teardown(&b);
}

/* Every legal set of parts and every rank: trains, saves, loads; a PEFT
 * folder of it gives the same rows. */
static void hash_row(void *user, size_t position, const float *row, size_t n) {
  uint64_t *h = user;
  (void)position;
  *h = hash_bytes(*h, row, n * sizeof *row);
}

static uint64_t rows_of(bench_t *b, tinker__eng_adapter_t *a) {
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

static void peft_round_trip(bench_t *b, tinker__eng_train_t *t) {
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
static void check_seed(bench_t *b, uint32_t rank) {
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
  bench_t b;
  setup(&b);
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
  teardown(&b);
}

/* --- Broken files ------------------------------------------------------ */

static char *slurp(const char *dir, const char *name, size_t *len) {
  char path[300];
  char *text = malloc(1u << 20);
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  cr_assert(f && text);
  *len = fread(text, 1, (1u << 20) - 1, f);
  text[*len] = '\0';
  fclose(f);
  return text;
}

static void spew(const char *dir, const char *name, const char *data,
                 size_t len) {
  char path[300];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  cr_assert_not_null(f);
  cr_assert_eq(fwrite(data, 1, len, f), len);
  cr_assert_eq(fclose(f), 0);
}

/* Writes state.json with `from` replaced by `to` and expects a failure. */
static void expect_bad(bench_t *b, const char *json, const char *from,
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
  bench_t b;
  size_t json_len, len;
  char why[256] = "";
  tinker__eng_train_t *t = NULL;
  setup(&b);
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
  expect_bad(&b, json, "\"rank\":4", "\"rank\":99999999999", TINKER_EINVAL);
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
  teardown(&b);
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
  bench_t b;
  tinker__eng_adapter_t *a = NULL, *again = NULL;
  setup(&b);
  tinker__eng_train_t *t = random_train(&b.r, 4, 1);
  cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
  cr_assert_eq(b.r.api->adapter_save(a, b.dir, NULL, 0), 0);
  for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
      char why[400] = "";
      spew(b.dir, names[n], rows[i].data, strlen(rows[i].data));
      cr_expect_eq(
          b.r.api->adapter_load(b.r.base, b.dir, &again, why, sizeof why),
          TINKER_EFORMAT, "%s", why);
      cr_expect_not_null(strstr(why, names[n]), "%s", why);
      cr_expect_not_null(strstr(why, rows[i].said), "%s", why);
    }
  }
  b.r.api->adapter_release(a);
  b.r.api->train_free(t);
  teardown(&b);
}

/* --- Opening ----------------------------------------------------------- */

Test(state, opening) {
  bench_t b;
  tinker__engine_t *e = NULL;
  tinker__eng_base_t *base = NULL;
  tinker__eng_base_info_t info;
  uint64_t bytes = 0;
  char why[256] = "";
  setup(&b);
  tinker__engine_options_t o = {
      .mem = tinker__mem_allocator(&b.r.mem),
      .kernels = "abacus",
  };
  cr_assert_eq(b.r.api->open(&e, &o, why, sizeof why), TINKER_EINVAL);
  cr_assert_str_eq(why, "kernels: this machine has no set named \"abacus\"");
  cr_assert_lt(tinker__eng_backend_load(b.r.api, b.r.engine, b.dir, &base, why,
                                        sizeof why),
               0);
  cr_assert(e == NULL && base == NULL);
  cr_assert_lt(b.r.api->estimate(b.dir, &bytes, why, sizeof why), 0);
  cr_assert_eq(b.r.api->estimate(b.model, &bytes, why, sizeof why), 0);
  b.r.api->base_info(b.r.base, &info);
  cr_assert_geq(bytes, info.bytes);
  cr_assert_str_eq(info.arch, "qwen3");
  cr_assert_eq(info.vocab_size, (size_t)tiny_shape.vocab);
  cr_assert_eq(info.context_length, (size_t)tiny_shape.context);
  cr_assert_eq(info.num_layers, (size_t)tiny_shape.layers);
  cr_assert(info.num_eos == 1 && info.eos[0] == 0);
  cr_assert_eq(strlen(info.digest), 64u);
  teardown(&b);
}

/* --- Allocations ------------------------------------------------------- */

typedef struct {
  const char *model, *dir;
  sample_t s[2];
} sweep_t;

typedef struct {
  const tinker__engine_api_t *api;
  tinker__engine_t *e;
  tinker__eng_base_t *base;
  tinker__eng_train_t *t, *loaded, *resumed;
  tinker__eng_pass_t *p;
  tinker__eng_adapter_t *a, *peft;
  tinker__eng_slot_t *slot, *fork;
} things_t;

static void ignore_row(void *user, size_t position, const float *row,
                       size_t n) {
  (void)user;
  (void)position;
  (void)row;
  (void)n;
}

static int train_all(things_t *x, const sweep_t *s) {
  tinker__eng_train_datum_t d[2];
  tinker__eng_optim_metrics_t m;
  tinker__eng_lora_config_t c = {
      .rank = 2,
      .train_attn = true,
      .train_unembed = true,
  };
  int rc = x->api->train_new(x->base, &c, &x->t, NULL, 0);
  for (size_t i = 0; i < 2; i++) {
    d[i] = sample_datum(&s->s[i], TINKER__LOSS_CROSS_ENTROPY);
  }
  for (int i = 0; !rc && i < 2; i++) {
    rc = x->api->pass_begin(x->t, d, 2, &cross_entropy, false, &x->p, NULL, 0);
    if (!rc) rc = x->api->pass_step(x->p, NULL, NULL, 0);
    x->api->pass_end(x->p);
    x->p = NULL;
  }
  if (!rc) rc = x->api->optim_step(x->t, &adam, &m, NULL, 0);
  return rc;
}

static int store_all(things_t *x, const sweep_t *s) {
  int rc = x->api->train_save(x->t, s->dir, NULL, 0);
  if (!rc) rc = x->api->train_load(x->base, s->dir, true, &x->loaded, NULL, 0);
  x->t->has_grad = true; /* as after a pass */
  if (!rc) rc = x->api->train_keep(x->t, s->dir, NULL, 0);
  if (!rc) rc = x->api->train_resume(x->base, s->dir, &x->resumed, NULL, 0);
  if (!rc) rc = x->api->adapter_current(x->t, &x->a, NULL, 0);
  if (!rc) rc = x->api->adapter_save(x->a, s->dir, NULL, 0);
  if (!rc) rc = x->api->adapter_load(x->base, s->dir, &x->peft, NULL, 0);
  return rc;
}

static int sample_all(things_t *x, const sweep_t *s) {
  tinker__eng_decode_item_t item = {
      .tokens = s->s[0].tokens,
      .n = 3,
      .on_row = ignore_row,
  };
  int rc = x->api->slot_new(x->base, x->peft, 20, &x->slot, NULL, 0);
  item.slot = x->slot;
  if (!rc) rc = x->api->decode(x->e, &item, 1, NULL, NULL, 0);
  if (!rc) rc = x->api->slot_fork(x->slot, 2, 30, &x->fork, NULL, 0);
  return rc ? rc : x->api->slot_grow(x->slot, 40, NULL, 0);
}

static int everything(tinker__mem_t *mem, void *user) {
  const sweep_t *s = user;
  things_t x = {.api = tinker__cpu_engine()};
  tinker__engine_options_t o = {
      .mem = tinker__mem_allocator(mem),
      .threads = 1,
  };
  int rc = x.api->open(&x.e, &o, NULL, 0);
  if (rc) return rc;
  rc = tinker__eng_backend_load(x.api, x.e, s->model, &x.base, NULL, 0);
  if (!rc) rc = train_all(&x, s);
  if (!rc) rc = store_all(&x, s);
  if (!rc) rc = sample_all(&x, s);
  x.api->slot_free(x.fork);
  x.api->slot_free(x.slot);
  x.api->adapter_release(x.peft);
  x.api->adapter_release(x.a);
  x.api->train_free(x.resumed);
  x.api->train_free(x.loaded);
  x.api->train_free(x.t);
  x.api->base_release(x.base);
  x.api->close(x.e);
  return rc;
}

Test(state, every_allocation) {
  static const shape_t shape = {
      .arch = "Qwen2ForCausalLM",
      .vocab = 11,
      .hidden = 8,
      .layers = 1,
      .heads = 2,
      .kv_heads = 1,
      .head_dim = 4,
      .inter = 6,
      .context = 64,
      .dtype = "BF16",
  };
  char model[256], dir[256];
  temp_dir(model);
  temp_dir(dir);
  write_model(model, &shape);
  sweep_t s = {.model = model, .dir = dir};
  for (size_t i = 0; i < 2; i++) sample_random(&s.s[i], 5, 1, 11, i);
  int n = tinker__fail_sweep(everything, &s, TINKER_ENOMEM);
  cr_assert_gt(n, 100, "%d allocations", n);
  samples_free(s.s, 2);
  temp_remove(model);
  temp_remove(dir);
}
