/* state: see state.h. */
#include "cpu/state.h"

#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "cpu/tensors.h"

#define JSON_MAX TINKER__TRAIN_STATE_MAX_JSON
#define PARTS TINKER__TRAIN_STATE_PARTS

static void set_parts(const tinker__eng_train_t *t,
                      tinker__cpu_part_t out[PARTS]) {
  float *const data[PARTS] = {
      [TINKER__TRAIN_STATE_WEIGHTS] = t->current->w,
      [TINKER__TRAIN_STATE_EXP_AVG] = t->m,
      [TINKER__TRAIN_STATE_EXP_AVG_SQ] = t->v,
      [TINKER__TRAIN_STATE_GRAD] = t->g,
  };
  for (int p = 0; p < PARTS; p++) {
    out[p] = (tinker__cpu_part_t){
        .suffix = tinker__train_state_suffix((tinker__train_state_part_t)p),
        .data = data[p],
    };
  }
}

static int publish(tinker__mem_t *mem, tinker__buf_t *buf, const char *dir,
                   const char *file, char *why, size_t why_len) {
  char *path = tinker__cpu_path(mem, dir, file);
  int rc = tinker__buf_error(buf);
  if (!path || rc) {
    rc = tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  } else {
    rc = tinker__file_publish(tinker__world_real(), path, buf->data, buf->len,
                              0600, why, why_len);
  }
  tinker__mem_free(mem, path);
  tinker__buf_free(buf);
  return rc;
}

static int save(tinker__eng_train_t *t, bool has_grad, const char *dir,
                char *why, size_t why_len) {
  tinker__mem_t *mem = t->base->engine->mem;
  tinker__cpu_part_t parts[PARTS];
  tinker__buf_t buf;
  char hex[65];
  if (t->optim.stage != TINKER__OPTIM_IDLE) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "an optimizer step is under way");
  }
  const tinker__eng_lora_config_t *c = &t->lora->config;
  tinker__train_state_t h = {
      .rank = c->rank,
      .alpha = t->lora->alpha,
      .seed = c->seed,
      .train_attn = c->train_attn,
      .train_mlp = c->train_mlp,
      .train_unembed = c->train_unembed,
      .step = t->step,
      .has_grad = has_grad,
  };
  set_parts(t, parts);
  int rc = tinker__cpu_tensors_save(
      t->lora, parts, tinker__train_state_num_parts(&h), dir,
      TINKER__TRAIN_STATE_TENSORS, hex, why, why_len);
  if (rc) return rc;
  tinker__buf_init(&buf, mem, JSON_MAX);
  memcpy(h.base, t->base->digest, sizeof h.base);
  memcpy(h.sha256, hex, sizeof h.sha256);
  tinker__train_state_write(&buf, &h);
  return publish(mem, &buf, dir, TINKER__TRAIN_STATE_JSON, why, why_len);
}

int tinker__cpu_train_save(tinker__eng_train_t *t, const char *dir, char *why,
                           size_t why_len) {
  return save(t, false, dir, why, why_len);
}

int tinker__cpu_train_keep(tinker__eng_train_t *t, const char *dir, char *why,
                           size_t why_len) {
  if (t->busy) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "a pass is collecting gradients");
  }
  return save(t, t->has_grad, dir, why, why_len);
}

static int read_text(tinker__mem_t *mem, const char *dir, const char *file,
                     tinker__buf_t *buf, char *why, size_t why_len) {
  char *path = tinker__cpu_path(mem, dir, file);
  if (!path) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  int rc = tinker__file_read(tinker__world_real(), path, buf, why, why_len);
  tinker__mem_free(mem, path);
  return rc;
}

/* Reads state.json and checks that this engine can train such a state. */
static int read_header(tinker__mem_t *mem, const char *dir,
                       tinker__train_state_t *h,
                       tinker__eng_lora_config_t *config, char *why,
                       size_t why_len) {
  tinker__buf_t buf;
  *h = (tinker__train_state_t){0};
  tinker__buf_init(&buf, mem, JSON_MAX);
  int rc = read_text(mem, dir, TINKER__TRAIN_STATE_JSON, &buf, why, why_len);
  if (!rc) {
    rc = tinker__train_state_parse(h, mem, tinker__buf_str(&buf), why, why_len);
  }
  tinker__buf_free(&buf);
  if (rc) return rc;
  if (h->alpha != TINKER__LORA_ALPHA) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       TINKER__TRAIN_STATE_JSON ": alpha is not %g",
                       TINKER__LORA_ALPHA);
  }
  *config = (tinker__eng_lora_config_t){
      .rank = h->rank,
      .seed = h->seed,
      .train_attn = h->train_attn,
      .train_mlp = h->train_mlp,
      .train_unembed = h->train_unembed,
  };
  return tinker__cpu_lora_check(config, why, why_len);
}

int tinker__cpu_train_peek(const char *dir, tinker__eng_lora_config_t *out,
                           char *why, size_t why_len) {
  tinker__mem_t mem;
  tinker__train_state_t h;
  tinker__eng_lora_config_t config;
  tinker__mem_init(&mem, NULL, 0);
  int rc = read_header(&mem, dir, &h, &config, why, why_len);
  if (!rc) *out = config;
  return rc;
}

/* The part of a stored state that a load takes. */
typedef enum { TAKE_WEIGHTS, TAKE_OPTIMIZER, TAKE_ALL } take_t;

static int load(tinker__eng_base_t *b, const char *dir, take_t take,
                tinker__eng_train_t **out, char *why, size_t why_len) {
  tinker__train_state_t h;
  tinker__eng_lora_config_t config;
  tinker__eng_train_t *t = NULL;
  tinker__cpu_part_t parts[PARTS];
  int rc = read_header(b->engine->mem, dir, &h, &config, why, why_len);
  if (rc) return rc;
  if (h.has_grad && take != TAKE_ALL) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       TINKER__TRAIN_STATE_JSON
                       ": the state has gradients that wait for an optimizer "
                       "step: it is not a checkpoint");
  }
  if (strcmp(h.base, b->digest) != 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "base_digest: saved for another base model");
  }
  rc = tinker__cpu_train_blank(b, &config, &t, why, why_len);
  if (rc) return rc;
  set_parts(t, parts);
  size_t n = take == TAKE_WEIGHTS ? 1 : tinker__train_state_num_parts(&h);
  rc = tinker__cpu_tensors_load(t->lora, parts, n, &h, dir, why, why_len);
  if (rc) {
    tinker__cpu_train_free(t);
    return rc;
  }
  t->has_grad = h.has_grad;
  if (take != TAKE_WEIGHTS) t->step = h.step;
  *out = t;
  return 0;
}

int tinker__cpu_train_load(tinker__eng_base_t *b, const char *dir,
                           bool optimizer, tinker__eng_train_t **out, char *why,
                           size_t why_len) {
  take_t take = optimizer ? TAKE_OPTIMIZER : TAKE_WEIGHTS;
  return load(b, dir, take, out, why, why_len);
}

int tinker__cpu_train_resume(tinker__eng_base_t *b, const char *dir,
                             tinker__eng_train_t **out, char *why,
                             size_t why_len) {
  return load(b, dir, TAKE_ALL, out, why, why_len);
}

int tinker__cpu_adapter_save(tinker__eng_adapter_t *a, const char *dir,
                             char *why, size_t why_len) {
  tinker__cpu_lora_t *l = a->lora;
  tinker__mem_t *mem = l->base->engine->mem;
  tinker__cpu_part_t part = {.suffix = "", .data = a->w};
  tinker__peft_config_t config = {.rank = (uint32_t)l->rank, .alpha = l->alpha};
  tinker__buf_t buf;
  int rc = tinker__cpu_tensors_save(
      l, &part, 1, dir, "adapter_model.safetensors", NULL, why, why_len);
  if (rc) return rc;
  for (size_t p = 0; p < TINKER__LORA_COUNT; p++) {
    size_t target = p < TINKER__PROJS ? p : l->num_targets - 1;
    if (l->targets[target].on) config.targets |= TINKER__LORA_BIT(p);
  }
  tinker__buf_init(&buf, mem, JSON_MAX);
  tinker__peft_config_write(&buf, &config);
  return publish(mem, &buf, dir, "adapter_config.json", why, why_len);
}

static int load_adapter(tinker__eng_base_t *b, const char *dir,
                        const tinker__peft_config_t *peft,
                        tinker__eng_adapter_t **out, char *why,
                        size_t why_len) {
  tinker__eng_lora_config_t config = {
      .rank = peft->rank,
      .train_attn = (peft->targets & TINKER__LORA_ATTN) != 0,
      .train_mlp = (peft->targets & TINKER__LORA_MLP) != 0,
      .train_unembed =
          (peft->targets & TINKER__LORA_BIT(TINKER__LORA_LM_HEAD)) != 0};
  bool on[TINKER__LORA_COUNT];
  tinker__cpu_lora_t *lora = NULL;
  tinker__eng_adapter_t *a = NULL;
  for (size_t p = 0; p < TINKER__LORA_COUNT; p++) {
    on[p] = (peft->targets & TINKER__LORA_BIT(p)) != 0;
  }
  int rc = tinker__cpu_lora_new(&lora, b, &config, peft->alpha, on);
  if (!rc) rc = tinker__cpu_adapter_new(&a, lora);
  tinker__cpu_lora_release(lora);
  if (rc) return tinker__why(why, why_len, rc, "no memory for the adapter");
  rc = tinker__cpu_tensors_load_peft(a->lora, a->w, peft, dir, why, why_len);
  if (rc) {
    tinker__cpu_adapter_release(a);
  } else {
    *out = a;
  }
  return rc;
}

int tinker__cpu_adapter_load(tinker__eng_base_t *b, const char *dir,
                             tinker__eng_adapter_t **out, char *why,
                             size_t why_len) {
  tinker__mem_t *mem = b->engine->mem;
  tinker__peft_config_t peft = {0};
  tinker__buf_t buf;
  tinker__buf_init(&buf, mem, JSON_MAX);
  int rc = read_text(mem, dir, "adapter_config.json", &buf, why, why_len);
  if (!rc) {
    rc = tinker__peft_config_parse(&peft, mem, tinker__buf_str(&buf), why,
                                   why_len);
  }
  tinker__buf_free(&buf);
  if (rc) return rc;
  rc = load_adapter(b, dir, &peft, out, why, why_len);
  tinker__mem_free(mem, peft.base_model);
  return rc;
}
