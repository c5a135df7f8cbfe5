/* Everything that the engine does once, with every allocation failing in turn:
 * the code is that of no memory, and nothing is left. */
#include <criterion/criterion.h>
#include <tinker/error.h>

#include "cpu/steps.h"
#include "cpu/train.h"
#include "support/fail_alloc.h"

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

Test(alloc, every_allocation) {
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
