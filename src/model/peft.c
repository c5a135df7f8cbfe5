/* peft: see peft.h. Pure, any thread. */
#include "model/peft.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "model/fields.h"

#define PREFIX "base_model.model."
#define MAX_TEXT (1u << 20)

enum {
  K_PEFT_TYPE,
  K_TASK_TYPE,
  K_RANK,
  K_ALPHA,
  K_TARGETS,
  K_BASE,
  K_BIAS,
  /* Read by no one here: they change nothing of what an adapter computes. */
  K_INIT,
  K_DROPOUT,
  K_INFERENCE,
  K_REVISION,
  K_AUTO_MAPPING,
  K_PEFT_VERSION,
  K_MEGATRON_CORE,
  K_QALORA_GROUP,
  K_COUNT
};

static const char *const keys[K_COUNT] = {
    [K_PEFT_TYPE] = "peft_type",
    [K_TASK_TYPE] = "task_type",
    [K_RANK] = "r",
    [K_ALPHA] = "lora_alpha",
    [K_TARGETS] = "target_modules",
    [K_BASE] = "base_model_name_or_path",
    [K_BIAS] = "bias",
    [K_INIT] = "init_lora_weights",
    [K_DROPOUT] = "lora_dropout",
    [K_INFERENCE] = "inference_mode",
    [K_REVISION] = "revision",
    [K_AUTO_MAPPING] = "auto_mapping",
    [K_PEFT_VERSION] = "peft_version",
    [K_MEGATRON_CORE] = "megatron_core",
    [K_QALORA_GROUP] = "qalora_group_size",
};

static const struct {
  const char *name;
  const char *block; /* NULL: not in a layer */
} targets[TINKER__LORA_COUNT] = {
    [TINKER__LORA_Q] = {"q_proj", "self_attn"},
    [TINKER__LORA_K] = {"k_proj", "self_attn"},
    [TINKER__LORA_V] = {"v_proj", "self_attn"},
    [TINKER__LORA_O] = {"o_proj", "self_attn"},
    [TINKER__LORA_GATE] = {"gate_proj", "mlp"},
    [TINKER__LORA_UP] = {"up_proj", "mlp"},
    [TINKER__LORA_DOWN] = {"down_proj", "mlp"},
    [TINKER__LORA_LM_HEAD] = {"lm_head", NULL},
};

const char *tinker__lora_name(tinker__lora_target_t target) {
  return targets[target].name;
}

void tinker__lora_dims(const tinker__model_config_t *config,
                       tinker__lora_target_t target, uint64_t *in,
                       uint64_t *out) {
  uint64_t q = (uint64_t)config->num_heads * config->head_dim;
  uint64_t kv = (uint64_t)config->num_kv_heads * config->head_dim;
  *in = config->hidden_size;
  switch (target) {
  case TINKER__LORA_Q: *out = q; break;
  case TINKER__LORA_K:
  case TINKER__LORA_V: *out = kv; break;
  case TINKER__LORA_O:
    *in = q;
    *out = config->hidden_size;
    break;
  case TINKER__LORA_DOWN:
    *in = config->intermediate_size;
    *out = config->hidden_size;
    break;
  case TINKER__LORA_LM_HEAD: *out = config->vocab_size; break;
  default: *out = config->intermediate_size;
  }
}

/* Finds a target by the name of its module. */
static bool find_target(tinker__str_t name, tinker__lora_target_t *out) {
  for (int t = 0; t < TINKER__LORA_COUNT; t++) {
    if (tinker__str_eqs(name, targets[t].name)) {
      *out = (tinker__lora_target_t)t;
      return true;
    }
  }
  return false;
}

static int read_target_list(tinker__fields_t *f, tinker__json_t *j,
                            unsigned *out) {
  tinker__str_t s;
  tinker__lora_target_t target;
  if (!tinker__json_array(j)) return 0;
  while (tinker__json_more(j)) {
    if (!tinker__json_string(j, &s)) return 0;
    if (!find_target(s, &target)) {
      return f->rc = tinker__why(
                 f->why, f->why_len, TINKER_ENOTSUP,
                 "%s: target_modules names %.*s: supported are q_proj, "
                 "k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj and "
                 "lm_head",
                 f->file, (int)(s.len < 100 ? s.len : 100), s.ptr);
    }
    *out |= TINKER__LORA_BIT(target);
  }
  return 0;
}

static int read_targets(tinker__fields_t *f, unsigned *out) {
  tinker__json_t j;
  tinker__str_t raw = f->raw[K_TARGETS];
  *out = 0;
  if (f->rc) return f->rc;
  if (tinker__str_eqs(raw, "\"all-linear\"")) {
    *out = TINKER__LORA_ATTN | TINKER__LORA_MLP;
    return 0;
  }
  if (raw.len && raw.ptr[0] == '"') {
    return tinker__field_refuse(f, K_TARGETS, "a list of module names");
  }
  tinker__json_init(&j, f->mem, raw.ptr, raw.len);
  int rc = read_target_list(f, &j, out);
  bool ok = tinker__json_end(&j) == 0;
  if (rc == 0 && j.error == TINKER_ENOMEM) {
    rc = f->rc =
        tinker__why(f->why, f->why_len, TINKER_ENOMEM, "out of memory");
  }
  tinker__json_done(&j);
  if (rc == 0 && (!ok || *out == 0)) {
    rc = tinker__field_bad(f, K_TARGETS, "a list of module names");
  }
  return rc;
}

/* Ways to start A and B that leave the base weights as they are. */
static int check_init(tinker__fields_t *f) {
  static const char *const harmless[] = {"true", "false", "\"gaussian\""};
  if (f->rc || !tinker__field_has(f, K_INIT)) return f->rc;
  for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
    if (tinker__str_eqs(f->raw[K_INIT], harmless[i])) return 0;
  }
  return tinker__field_refuse(f, K_INIT, "true, false or \"gaussian\"");
}

static int read_base(tinker__fields_t *f, tinker__peft_config_t *c) {
  char text[4096];
  tinker__field_text(f, K_BASE, text, sizeof text, "");
  if (f->rc || text[0] == 0) return f->rc;
  c->base_model = tinker__mem_strdup(f->mem, text);
  if (!c->base_model) {
    f->rc = tinker__why(f->why, f->why_len, TINKER_ENOMEM, "out of memory");
  }
  return f->rc;
}

int tinker__peft_config_parse(tinker__peft_config_t *out, tinker__mem_t *mem,
                              tinker__str_t text, char *why, size_t why_len) {
  tinker__fields_t f;
  tinker__str_t raw[K_COUNT];
  tinker__peft_config_t c = {0, 0, 0, NULL};
  char type[32], task[32], bias[32];
  const uint32_t rank = 8;
  const double alpha = 8;
  tinker__fields_init(&f, mem, "adapter_config.json", why, why_len);
  tinker__fields_file(&f, text, MAX_TEXT, keys, raw, K_COUNT, true);
  tinker__field_text(&f, K_PEFT_TYPE, type, sizeof type, NULL);
  tinker__field_text(&f, K_TASK_TYPE, task, sizeof task, "CAUSAL_LM");
  tinker__field_text(&f, K_BIAS, bias, sizeof bias, "none");
  /* The defaults are PEFT's. */
  tinker__field_u32(&f, K_RANK, 1, TINKER__PEFT_MAX_RANK, &rank, &c.rank);
  tinker__field_f64(&f, K_ALPHA, 0, 1e6, &alpha, &c.alpha);
  read_targets(&f, &c.targets);
  check_init(&f);
  if (f.rc == 0 && strcmp(type, "LORA") != 0) {
    tinker__field_refuse(&f, K_PEFT_TYPE, "LORA");
  }
  if (f.rc == 0 && strcmp(task, "CAUSAL_LM") != 0) {
    tinker__field_refuse(&f, K_TASK_TYPE, "CAUSAL_LM");
  }
  if (f.rc == 0 && strcmp(bias, "none") != 0) {
    tinker__field_refuse(&f, K_BIAS, "none");
  }
  if (read_base(&f, &c) == 0) *out = c;
  return f.rc;
}

void tinker__peft_config_write(tinker__buf_t *out,
                               const tinker__peft_config_t *config) {
  tinker__jsonw_t w;
  char alpha[32];
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, keys[K_BASE]);
  tinker__jsonw_cstr(&w, config->base_model);
  tinker__jsonw_key(&w, keys[K_BIAS]);
  tinker__jsonw_cstr(&w, "none");
  tinker__jsonw_key(&w, "fan_in_fan_out");
  tinker__jsonw_bool(&w, false);
  tinker__jsonw_key(&w, keys[K_INFERENCE]);
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, keys[K_INIT]);
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, keys[K_ALPHA]);
  size_t n = tinker__format_f64(alpha, config->alpha);
  tinker__jsonw_raw(&w, (tinker__str_t){alpha, n}); /* PEFT's is an integer */
  tinker__jsonw_key(&w, keys[K_DROPOUT]);
  tinker__jsonw_f64(&w, 0);
  tinker__jsonw_key(&w, keys[K_PEFT_TYPE]);
  tinker__jsonw_cstr(&w, "LORA");
  tinker__jsonw_key(&w, keys[K_RANK]);
  tinker__jsonw_u64(&w, config->rank);
  tinker__jsonw_key(&w, keys[K_TARGETS]);
  tinker__jsonw_begin_array(&w);
  for (int t = 0; t < TINKER__LORA_COUNT; t++) {
    if (config->targets & TINKER__LORA_BIT(t)) {
      tinker__jsonw_cstr(&w, targets[t].name);
    }
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_key(&w, keys[K_TASK_TYPE]);
  tinker__jsonw_cstr(&w, "CAUSAL_LM");
  tinker__jsonw_end_object(&w);
}

void tinker__peft_tensor_name(char out[TINKER__PEFT_NAME_MAX],
                              tinker__lora_target_t target, uint32_t layer,
                              tinker__lora_side_t side) {
  char ab = side == TINKER__LORA_A ? 'A' : 'B';
  if (targets[target].block) {
    snprintf(out, TINKER__PEFT_NAME_MAX,
             PREFIX "model.layers.%u.%s.%s.lora_%c.weight", (unsigned)layer,
             targets[target].block, targets[target].name, ab);
  } else {
    snprintf(out, TINKER__PEFT_NAME_MAX, PREFIX "%s.lora_%c.weight",
             targets[target].name, ab);
  }
}

/* The layer number after "...layers."; 0 for a name without one. The rest of
 * the name is checked by writing the whole name again. */
static bool guess_layer(tinker__str_t name, uint32_t *layer) {
  static const char head[] = PREFIX "model.layers.";
  uint64_t n = 0;
  *layer = 0;
  if (!tinker__str_starts(name, head)) return true;
  const char *digits = name.ptr + sizeof head - 1;
  size_t rest = name.len - (sizeof head - 1);
  const char *dot = memchr(digits, '.', rest);
  if (!dot ||
      tinker__parse_u64((tinker__str_t){digits, (size_t)(dot - digits)}, &n) ||
      n > UINT32_MAX) {
    return false;
  }
  *layer = (uint32_t)n;
  return true;
}

bool tinker__peft_tensor_parse(tinker__str_t name,
                               tinker__lora_target_t *target, uint32_t *layer,
                               tinker__lora_side_t *side) {
  char text[TINKER__PEFT_NAME_MAX];
  uint32_t number;
  if (!guess_layer(name, &number)) return false;
  for (int i = 0; i < 2 * TINKER__LORA_COUNT; i++) {
    tinker__lora_target_t t = (tinker__lora_target_t)(i / 2);
    tinker__lora_side_t s = i % 2 ? TINKER__LORA_B : TINKER__LORA_A;
    tinker__peft_tensor_name(text, t, number, s);
    if (!tinker__str_eqs(name, text)) continue;
    *target = t;
    *layer = number;
    *side = s;
    return true;
  }
  return false;
}

/* The values that the tensors of one part are checked against. */
typedef struct part_s {
  const tinker__safetensors_t *st;
  const tinker__model_config_t *model;
  uint64_t rank;
  const char *suffix;
  char *why;
  size_t why_len;
} part_t;

static int check_one(const part_t *p, tinker__lora_target_t target,
                     uint32_t layer) {
  uint64_t in, out;
  tinker__lora_dims(p->model, target, &in, &out);
  for (int s = TINKER__LORA_A; s <= TINKER__LORA_B; s++) {
    char name[TINKER__PEFT_NAME_MAX], full[TINKER__PEFT_NAME_MAX + 16];
    uint64_t rows = s == TINKER__LORA_A ? p->rank : out;
    uint64_t cols = s == TINKER__LORA_A ? in : p->rank;
    tinker__peft_tensor_name(name, target, layer, (tinker__lora_side_t)s);
    snprintf(full, sizeof full, "%s%s", name, p->suffix);
    const tinker__tensor_t *t =
        tinker__safetensors_find(p->st, tinker__str(full));
    if (!t) {
      return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                         "tensor %s is missing", full);
    }
    if (t->rank != 2 || t->shape[0] != rows || t->shape[1] != cols) {
      return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                         "tensor %s must have shape [%llu, %llu]", full,
                         (unsigned long long)rows, (unsigned long long)cols);
    }
  }
  return 0;
}

int tinker__peft_check_part(const tinker__safetensors_t *st, uint32_t rank,
                            unsigned trained, const char *suffix,
                            const tinker__model_config_t *model, size_t *n,
                            char *why, size_t why_len) {
  part_t p = {st, model, rank, suffix, why, why_len};
  for (int t = 0; t < TINKER__LORA_COUNT; t++) {
    tinker__lora_target_t target = (tinker__lora_target_t)t;
    uint32_t layers = target == TINKER__LORA_LM_HEAD ? 1 : model->num_layers;
    if (!(trained & TINKER__LORA_BIT(t))) continue;
    for (uint32_t layer = 0; layer < layers; layer++) {
      int rc = check_one(&p, target, layer);
      if (rc) return rc;
      *n += 2;
    }
  }
  return 0;
}

int tinker__peft_check(const tinker__safetensors_t *st,
                       const tinker__peft_config_t *config,
                       const tinker__model_config_t *model, char *why,
                       size_t why_len) {
  size_t n = 0;
  int rc = tinker__peft_check_part(st, config->rank, config->targets, "", model,
                                   &n, why, why_len);
  if (rc) return rc;
  for (size_t i = 0; i < tinker__safetensors_len(st); i++) {
    tinker__str_t name = tinker__safetensors_at(st, i)->name;
    tinker__lora_target_t target;
    tinker__lora_side_t side;
    uint32_t layer;
    if (!tinker__peft_tensor_parse(name, &target, &layer, &side) ||
        layer >= model->num_layers ||
        !(config->targets & TINKER__LORA_BIT(target))) {
      return tinker__why(why, why_len, TINKER_EFORMAT,
                         "tensor %.*s has no place in this adapter",
                         (int)(name.len < 200 ? name.len : 200), name.ptr);
    }
  }
  return 0;
}
