/* Base models: what a load gives, piece by piece or not at all, how long a
 * model lives, and what it knows of its positions and biases. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/kv.h"
#include "cpu/train.h"
#include "support.h"

Test(base, opening) {
  tiny_t b;
  tinker__engine_t *e = NULL;
  tinker__eng_base_t *base = NULL;
  tinker__eng_base_info_t info;
  uint64_t bytes = 0;
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
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
  tiny_close(&b);
}

/* As many workers, and the kernels, that were asked for. */
Test(base, takes_its_options) {
  tinker__mem_t mem;
  const tinker__engine_api_t *api = tinker__cpu_engine();
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; tinker__cpu_kernels_at(i); i++) {
    tinker__engine_t *e = NULL;
    tinker__engine_options_t o = {
        .mem = tinker__mem_allocator(&mem),
        .threads = (unsigned)i + 2,
        .kernels = tinker__cpu_kernels_at(i)->name,
    };
    cr_assert_eq(api->open(&e, &o, NULL, 0), 0);
    cr_assert_eq(tinker__cpu_pool_threads(e->pool), i + 2);
    cr_assert_eq(e->ks, tinker__cpu_kernels_at(i));
    api->close(e);
    o.kernels = NULL;
    cr_assert_eq(api->open(&e, &o, NULL, 0), 0);
    cr_assert_eq(e->ks, tinker__cpu_kernels_get());
    api->close(e);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0u);
}

/* --- Loads ---------------------------------------------------------------- */

static tinker__eng_load_t *begin(const tiny_t *b) {
  tinker__eng_load_t *l = NULL;
  char why[256] = "";
  cr_assert_eq(b->r.api->load_begin(b->r.engine, b->model, &l, why, sizeof why),
               0, "%s", why);
  return l;
}

/* A load that was given up is no model, however far it was. */
Test(base, a_part_is_no_model) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  size_t blocks = atomic_load(&b.r.mem.live_blocks), all = 1;
  tinker__eng_load_t *l = begin(&b);
  while (b.r.api->load_step(l, NULL, NULL, 0) == 1) all++;
  b.r.api->load_end(l, NULL); /* complete, and not wanted */
  cr_assert_eq(atomic_load(&b.r.mem.live_blocks), blocks);
  for (size_t n = 0; n < all; n++) {
    tinker__eng_base_t *base = b.r.base;
    l = begin(&b);
    for (size_t i = 0; i < n; i++) {
      cr_assert_eq(b.r.api->load_step(l, NULL, NULL, 0), 1);
    }
    b.r.api->load_end(l, &base);
    cr_assert_null(base, "after %zu of %zu steps", n, all);
    cr_assert_eq(atomic_load(&b.r.mem.live_blocks), blocks);
  }
  tiny_close(&b);
}

/* Between the steps of a load the engine can do other work: no step takes more
 * than a matrix, or the vectors of a layer. */
Test(base, loads_in_small_steps) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  tinker__eng_load_t *l = begin(&b);
  size_t largest = 64 * tiny_shape.hidden * sizeof(float), steps = 0, before;
  int rc;
  do {
    before = atomic_load(&b.r.mem.live_bytes);
    rc = b.r.api->load_step(l, NULL, NULL, 0);
    cr_assert_leq(atomic_load(&b.r.mem.live_bytes), before + largest + 1000);
    steps++;
  } while (rc == 1);
  cr_assert_eq(rc, 0);
  cr_assert_gt(steps, tiny_shape.layers * (TINKER__PROJS + 1));
  b.r.api->load_end(l, NULL);
  tiny_close(&b);
}

Test(base, a_load_is_cancelled) {
  tiny_t b;
  atomic_bool cancel = true;
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
  tinker__eng_base_t *base = b.r.base;
  tinker__eng_load_t *l = begin(&b);
  cr_assert_eq(b.r.api->load_step(l, NULL, NULL, 0), 1);
  cr_assert_eq(b.r.api->load_step(l, &cancel, why, sizeof why),
               TINKER_ECANCELED);
  cr_assert_str_eq(why, "canceled");
  b.r.api->load_end(l, &base);
  cr_assert_null(base);
  tiny_close(&b);
}

/* All ids that end a sequence, in the order of config.json. */
Test(base, several_ends_of_sequence) {
  tiny_t b;
  size_t len;
  char why[256] = "";
  tinker__eng_base_t *base = NULL;
  tinker__eng_base_info_t info;
  tiny_open(&b, &tiny_shape);
  char *json = slurp(b.model, "config.json", &len);
  char *at = strstr(json, "\"eos_token_id\":0}");
  cr_assert_not_null(at);
  strcpy(at, "\"eos_token_id\":[7,0,60]}");
  spew(b.model, "config.json", json, strlen(json));
  free(json);
  cr_assert_eq(tinker__eng_backend_load(b.r.api, b.r.engine, b.model, &base,
                                        why, sizeof why),
               0, "%s", why);
  b.r.api->base_info(base, &info);
  cr_assert_eq(info.num_eos, 3u);
  cr_assert(info.eos[0] == 7 && info.eos[1] == 0 && info.eos[2] == 60);
  b.r.api->base_release(base);
  tiny_close(&b);
}

/* What is said to be held is what was taken. */
Test(base, bytes_that_are_held) {
  tiny_t b;
  tinker__eng_base_t *base = NULL;
  tinker__eng_base_info_t info;
  tiny_open(&b, &tiny_shape);
  size_t before = atomic_load(&b.r.mem.live_bytes);
  cr_assert_eq(
      tinker__eng_backend_load(b.r.api, b.r.engine, b.model, &base, NULL, 0),
      0);
  size_t held = atomic_load(&b.r.mem.live_bytes) - before;
  b.r.api->base_info(base, &info);
  /* Each matrix has an edge of 64 bytes and a head; the model has lists. */
  size_t matrices = tiny_shape.layers * TINKER__PROJS + 1;
  cr_assert_leq(info.bytes, held);
  cr_assert_geq(info.bytes + 200 * matrices + 4000, held);
  b.r.api->base_release(base);
  tiny_close(&b);
}

/* --- How long a model lives ----------------------------------------------- */

/* Released by who loaded it, a model lives on in what was made from it. */
Test(base, lives_as_long_as_what_it_made) {
  tiny_t b;
  tinker__eng_adapter_t *a = NULL;
  tinker__eng_slot_t *s = NULL;
  tiny_open(&b, &tiny_shape);
  tinker__eng_lora_config_t c = {.rank = 2, .train_mlp = true};
  for (int what = 0; what < 3; what++) {
    tinker__eng_train_t *t = NULL;
    tinker__eng_base_t *base = NULL;
    size_t before = atomic_load(&b.r.mem.live_blocks);
    cr_assert_eq(
        tinker__eng_backend_load(b.r.api, b.r.engine, b.model, &base, NULL, 0),
        0);
    if (what == 0) {
      cr_assert_eq(b.r.api->slot_new(base, NULL, 5, &s, NULL, 0), 0);
    } else {
      cr_assert_eq(b.r.api->train_new(base, &c, &t, NULL, 0), 0);
    }
    if (what == 2) {
      cr_assert_eq(b.r.api->adapter_current(t, &a, NULL, 0), 0);
      b.r.api->train_free(t);
    }
    size_t held = atomic_load(&b.r.mem.live_blocks);
    b.r.api->base_release(base);
    cr_assert_eq(atomic_load(&b.r.mem.live_blocks), held, "%d", what);
    if (what == 0) b.r.api->slot_free(s);
    if (what == 1) b.r.api->train_free(t);
    if (what == 2) b.r.api->adapter_release(a);
    cr_assert_eq(atomic_load(&b.r.mem.live_blocks), before, "%d", what);
  }
  tiny_close(&b);
}

/* --- Positions and biases ------------------------------------------------- */

/* However the table has grown, a position has the angles of that position. */
Test(base, every_position_has_its_angles) {
  static const size_t lengths[] = {1, 200, 300, 2000, 1100};
  enum { HALF = 5 };
  tiny_t b;
  float c[HALF], s[HALF];
  tiny_open(&b, &tiny_shape);
  cr_assert_eq(tiny_shape.head_dim, 2u * HALF);
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    cr_assert_eq(tinker__cpu_base_rope(b.r.base, lengths[i]), 0);
    for (size_t pos = 0; pos < lengths[i]; pos++) {
      const float *row = b.r.base->rope + pos * 2 * HALF;
      tinker__cpu_rope_angles(c, s, b.r.base->inv_freq, HALF, pos);
      cr_assert_eq(memcmp(row, c, sizeof c), 0, "%zu", pos);
      cr_assert_eq(memcmp(row + HALF, s, sizeof s), 0, "%zu", pos);
    }
  }
  tiny_close(&b);
}

/* Moves the bias of the values into the one of the output. The weights of
 * attention sum to one, so each head's output has the bias of its values, and
 * o_proj is linear: the model computes the same. */
static void move_value_bias(tinker__eng_base_t *b, tinker__cpu_layer_t *y) {
  const tinker__cpu_dims_t *d = &b->d;
  float *v = y->bias[TINKER__LORA_V], *x = calloc(d->q_dim, sizeof *x);
  cr_assert(v && x && y->bias[TINKER__LORA_O]);
  for (size_t i = 0; i < d->q_dim; i++) {
    size_t head = i / d->head_dim / (d->heads / d->kv_heads);
    x[i] = v[head * d->head_dim + i % d->head_dim];
  }
  tinker__cpu_linear(b->engine->ks, b->engine->pool, y->w[TINKER__LORA_O], x,
                     d->q_dim, 1, y->bias[TINKER__LORA_O], d->hidden, true);
  memset(v, 0, d->kv_dim * sizeof *v);
  free(x);
}

Test(base, biases_of_values_and_output_are_one) {
  tiny_t b;
  shape_t shape = tiny_shape;
  float want[12];
  shape.arch = "LlamaForCausalLM";
  shape.biases = true;
  tiny_open(&b, &shape);
  tinker__eng_train_t *t = random_train(&b.r, 4, 5);
  /* Without LoRA, which o_proj's share of the bias would pass through. */
  float *none = calloc(t->lora->floats, sizeof *none);
  move_weights(t, none, none, 0);
  run_pass(t, b.s, 1, &cross_entropy, true);
  cr_assert_eq(b.s[0].n, sizeof want / sizeof *want);
  memcpy(want, b.s[0].logprobs, sizeof want);
  for (size_t i = 0; i < shape.layers; i++) {
    move_value_bias(b.r.base, &b.r.base->layers[i]);
  }
  run_pass(t, b.s, 1, &cross_entropy, true);
  for (size_t i = 0; i < b.s[0].n; i++) {
    cr_assert_lt(fabsf(b.s[0].logprobs[i] - want[i]), 1e-4f, "%zu", i);
  }
  free(none);
  b.r.api->train_free(t);
  tiny_close(&b);
}
