/* state_header: see state_header.h. */
#include "cpu/state_header.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "base/json_write.h"

#define FORMAT 1
#define ALPHA 32.0

void tinker__cpu_state_write(tinker__buf_t *buf,
                             const tinker__cpu_state_header_t *h) {
  const tinker__eng_lora_config_t *c = &h->lora;
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, buf);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "format");
  tinker__jsonw_u64(&w, FORMAT);
  tinker__jsonw_key(&w, "rank");
  tinker__jsonw_u64(&w, c->rank);
  tinker__jsonw_key(&w, "alpha");
  tinker__jsonw_f64(&w, ALPHA);
  tinker__jsonw_key(&w, "seed");
  tinker__jsonw_u64(&w, c->seed);
  tinker__jsonw_key(&w, "train_attn");
  tinker__jsonw_bool(&w, c->train_attn);
  tinker__jsonw_key(&w, "train_mlp");
  tinker__jsonw_bool(&w, c->train_mlp);
  tinker__jsonw_key(&w, "train_unembed");
  tinker__jsonw_bool(&w, c->train_unembed);
  tinker__jsonw_key(&w, "step");
  tinker__jsonw_u64(&w, h->step);
  tinker__jsonw_key(&w, "base_digest");
  tinker__jsonw_cstr(&w, h->base);
  tinker__jsonw_key(&w, "tensors_sha256");
  tinker__jsonw_cstr(&w, h->sha256);
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

#define FIELDS 10

/* One key; returns its bit, 0 for an unknown one. */
static unsigned read_field(tinker__json_t *j, tinker__str_t key,
                           tinker__cpu_state_header_t *h) {
  uint64_t rank = 0;
  double alpha = 0;
  if (tinker__str_eqs(key, "format")) {
    tinker__json_u64(j, &h->format);
    return 1u << 0;
  }
  if (tinker__str_eqs(key, "rank")) {
    if (tinker__json_u64(j, &rank)) {
      h->lora.rank = rank > UINT32_MAX ? 0 : (uint32_t)rank;
    }
    return 1u << 1;
  }
  if (tinker__str_eqs(key, "alpha")) {
    /* Always 32 today; another value is a file this engine can't honour. */
    if (tinker__json_f64(j, &alpha) && alpha != ALPHA) {
      tinker__json_fail(j, TINKER_EFORMAT, "alpha is not 32");
    }
    return 1u << 2;
  }
  if (tinker__str_eqs(key, "seed")) {
    tinker__json_u64(j, &h->lora.seed);
    return 1u << 3;
  }
  if (tinker__str_eqs(key, "train_attn")) {
    tinker__json_bool(j, &h->lora.train_attn);
    return 1u << 4;
  }
  if (tinker__str_eqs(key, "train_mlp")) {
    tinker__json_bool(j, &h->lora.train_mlp);
    return 1u << 5;
  }
  if (tinker__str_eqs(key, "train_unembed")) {
    tinker__json_bool(j, &h->lora.train_unembed);
    return 1u << 6;
  }
  if (tinker__str_eqs(key, "step")) {
    tinker__json_u64(j, &h->step);
    return 1u << 7;
  }
  if (tinker__str_eqs(key, "base_digest")) {
    read_hex(j, h->base);
    return 1u << 8;
  }
  if (tinker__str_eqs(key, "tensors_sha256")) {
    read_hex(j, h->sha256);
    return 1u << 9;
  }
  tinker__json_fail(j, TINKER_EFORMAT, "unknown key");
  return 0;
}

int tinker__cpu_state_parse(tinker__cpu_state_header_t *out, tinker__mem_t *mem,
                            tinker__str_t text, char *why, size_t why_len) {
  tinker__cpu_state_header_t parsed = {0}, *h = &parsed;
  tinker__json_t j;
  tinker__str_t key;
  unsigned seen = 0;
  tinker__json_init(&j, mem, text.ptr, text.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      unsigned bit = read_field(&j, key, h);
      if (seen & bit) tinker__json_fail(&j, TINKER_EFORMAT, "a key is twice");
      seen |= bit;
    }
  }
  int rc = tinker__json_end(&j);
  if (!rc && seen != (1u << FIELDS) - 1) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     TINKER__STATE_FILE ": a key is missing");
  } else if (!rc && h->format != FORMAT) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     TINKER__STATE_FILE ": format is not %d", FORMAT);
  } else if (rc) {
    rc = tinker__why(why, why_len, rc, TINKER__STATE_FILE ": %s at byte %zu",
                     j.reason ? j.reason : "malformed", j.error_at);
  }
  tinker__json_done(&j);
  if (!rc) *out = parsed;
  return rc;
}
