/* train_state: see train_state.h. Pure, any thread. */
#include "model/train_state.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "base/json_write.h"

#define FORMAT 1
#define FORMAT_GRAD 2 /* with gradients that wait */
#define FIELDS 10

static const char *const suffixes[TINKER__TRAIN_STATE_PARTS] = {
    [TINKER__TRAIN_STATE_WEIGHTS] = "",
    [TINKER__TRAIN_STATE_EXP_AVG] = ".exp_avg",
    [TINKER__TRAIN_STATE_EXP_AVG_SQ] = ".exp_avg_sq",
    [TINKER__TRAIN_STATE_GRAD] = ".grad",
};

/* A state as it is read, before it is known to be whole. */
typedef struct reading_s {
  tinker__train_state_t state;
  uint64_t format;
} reading_t;

void tinker__train_state_write(tinker__buf_t *out,
                               const tinker__train_state_t *state) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "format");
  tinker__jsonw_u64(&w, state->has_grad ? FORMAT_GRAD : FORMAT);
  tinker__jsonw_key(&w, "rank");
  tinker__jsonw_u64(&w, state->rank);
  tinker__jsonw_key(&w, "alpha");
  tinker__jsonw_f64(&w, state->alpha);
  tinker__jsonw_key(&w, "seed");
  tinker__jsonw_u64(&w, state->seed);
  tinker__jsonw_key(&w, "train_attn");
  tinker__jsonw_bool(&w, state->train_attn);
  tinker__jsonw_key(&w, "train_mlp");
  tinker__jsonw_bool(&w, state->train_mlp);
  tinker__jsonw_key(&w, "train_unembed");
  tinker__jsonw_bool(&w, state->train_unembed);
  tinker__jsonw_key(&w, "step");
  tinker__jsonw_u64(&w, state->step);
  tinker__jsonw_key(&w, "base_digest");
  tinker__jsonw_cstr(&w, state->base);
  tinker__jsonw_key(&w, "tensors_sha256");
  tinker__jsonw_cstr(&w, state->sha256);
  tinker__jsonw_end_object(&w);
}

static void read_hex(tinker__json_t *j, char out[65]) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s)) return;
  bool hex = s.len == 64;
  for (size_t i = 0; hex && i < s.len; i++) {
    char c = s.ptr[i];
    hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  }
  if (!hex) {
    tinker__json_fail(j, TINKER_EFORMAT, "a digest is 64 hex digits");
    return;
  }
  memcpy(out, s.ptr, 64);
  out[64] = '\0';
}

/* A rank out of range becomes 0, which no engine takes. */
static void read_rank(tinker__json_t *j, uint32_t *out) {
  uint64_t rank = 0;
  if (tinker__json_u64(j, &rank)) *out = rank > UINT32_MAX ? 0 : (uint32_t)rank;
}

/* One key; returns its bit, 0 for an unknown one. */
static unsigned read_field(tinker__json_t *j, tinker__str_t key, reading_t *r) {
  static const char *const keys[FIELDS] = {
      "format",    "rank",          "alpha", "seed",        "train_attn",
      "train_mlp", "train_unembed", "step",  "base_digest", "tensors_sha256"};
  tinker__train_state_t *s = &r->state;
  unsigned k = 0;
  while (k < FIELDS && !tinker__str_eqs(key, keys[k])) k++;
  switch (k) {
  case 0: tinker__json_u64(j, &r->format); break;
  case 1: read_rank(j, &s->rank); break;
  case 2: tinker__json_f64(j, &s->alpha); break;
  case 3: tinker__json_u64(j, &s->seed); break;
  case 4: tinker__json_bool(j, &s->train_attn); break;
  case 5: tinker__json_bool(j, &s->train_mlp); break;
  case 6: tinker__json_bool(j, &s->train_unembed); break;
  case 7: tinker__json_u64(j, &s->step); break;
  case 8: read_hex(j, s->base); break;
  case 9: read_hex(j, s->sha256); break;
  default: tinker__json_fail(j, TINKER_EFORMAT, "unknown key"); return 0;
  }
  return 1u << k;
}

int tinker__train_state_parse(tinker__train_state_t *out, tinker__mem_t *mem,
                              tinker__str_t text, char *why, size_t why_len) {
  reading_t r;
  tinker__json_t j;
  tinker__str_t key;
  unsigned seen = 0;
  memset(&r, 0, sizeof r);
  tinker__json_init(&j, mem, text.ptr, text.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      unsigned bit = read_field(&j, key, &r);
      if (seen & bit) tinker__json_fail(&j, TINKER_EFORMAT, "a key is twice");
      seen |= bit;
    }
  }
  int rc = tinker__json_end(&j);
  if (rc) {
    tinker__why(why, why_len, rc, TINKER__TRAIN_STATE_JSON ": %s at byte %zu",
                j.reason ? j.reason : "malformed", j.error_at);
  } else if (seen != (1u << FIELDS) - 1) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     TINKER__TRAIN_STATE_JSON ": a key is missing");
  } else if (r.format != FORMAT && r.format != FORMAT_GRAD) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     TINKER__TRAIN_STATE_JSON ": format is not %d or %d",
                     FORMAT, FORMAT_GRAD);
  }
  tinker__json_done(&j);
  r.state.has_grad = r.format == FORMAT_GRAD;
  if (!rc) *out = r.state;
  return rc;
}

unsigned tinker__train_state_targets(const tinker__train_state_t *state) {
  return (state->train_attn ? TINKER__LORA_ATTN : 0) |
         (state->train_mlp ? TINKER__LORA_MLP : 0) |
         (state->train_unembed ? TINKER__LORA_BIT(TINKER__LORA_LM_HEAD) : 0);
}

size_t tinker__train_state_num_parts(const tinker__train_state_t *state) {
  return state->has_grad ? TINKER__TRAIN_STATE_PARTS : TINKER__TRAIN_STATE_GRAD;
}

const char *tinker__train_state_suffix(tinker__train_state_part_t part) {
  return suffixes[part];
}

int tinker__train_state_check(const tinker__safetensors_t *st,
                              const tinker__train_state_t *state,
                              const tinker__model_config_t *model, char *why,
                              size_t why_len) {
  unsigned targets = tinker__train_state_targets(state);
  size_t expected = 0;
  for (size_t p = 0; p < tinker__train_state_num_parts(state); p++) {
    int rc = tinker__peft_check_part(st, state->rank, targets, suffixes[p],
                                     model, &expected, why, why_len);
    if (rc) return rc;
  }
  if (tinker__safetensors_len(st) == expected) return 0;
  return tinker__why(why, why_len, TINKER_EFORMAT,
                     "%zu tensors, a state of this kind has %zu",
                     tinker__safetensors_len(st), expected);
}
