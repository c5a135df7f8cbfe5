/* work: decoding and checking of the JSON calls. See work.h. Pure. */
#include "service/parse/work.h"

#include <math.h>
#include <string.h>

#include <tinker/error.h>

#include "service/parse/work.h"

#define MIN_TTL_S 3600
#define MAX_TTL_S (10ll * 366 * 24 * 3600)
#define MAX_NAME 200

void tinker__svc_work_free(tinker__svc_work_t *w) {
  if (!w) return;
  tinker__eng_gen_free(w->gen);
  tinker__arena_free(&w->arena);
  tinker__mem_free(w->mem, w->path);
  tinker__mem_free(w->mem, w->name);
  tinker__mem_free(w->mem, w->metadata);
  tinker__mem_free(w->mem, w);
}

static char *copy(tinker__svc_work_t *w, tinker__str_t s) {
  return tinker__mem_strndup(w->mem, s.ptr, s.len);
}

/* --- optim_step ----------------------------------------------------------- */

/* What the engine would refuse, refused before the call is accepted. */
static int check_adam(const tinker__eng_optim_params_t *a, char *why,
                      size_t why_len) {
  const struct {
    const char *name;
    double value, low, high; /* low <= value < high */
    const char *range;
  } rules[] = {
      {"learning_rate", a->learning_rate, 0, 1e30, "from 0 to below 1e30"},
      {"beta1", a->beta1, 0, 1, "from 0 to below 1"},
      {"beta2", a->beta2, 0, 1, "from 0 to below 1"},
      /* Above 0 as a float. */
      {"eps", a->eps, 1e-45, 1e30, "from 1e-45 to below 1e30"},
      {"weight_decay", a->weight_decay, 0, 1e30, "from 0 to below 1e30"},
      {"grad_clip_norm", a->grad_clip_norm, 0, HUGE_VAL, "from 0 up"}};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    if (rules[i].value < rules[i].low || rules[i].value >= rules[i].high) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "adam_params.%s is out of range: must be %s, not %g",
                         rules[i].name, rules[i].range, rules[i].value);
    }
  }
  return 0;
}

static int parse_adam(tinker__svc_work_t *w, tinker__str_t json, char *why,
                      size_t why_len) {
  tinker__svc_body_t b;
  tinker__eng_optim_params_t *a = &w->adam;
  *a = (tinker__eng_optim_params_t){
      .learning_rate = 1e-4,
      .beta1 = 0.9,
      .beta2 = 0.95,
      .eps = 1e-12,
  };
  const tinker__svc_field_t fields[] = {
      {"learning_rate", TINKER__FIELD_F64, false, &a->learning_rate, NULL},
      {"beta1", TINKER__FIELD_F64, false, &a->beta1, NULL},
      {"beta2", TINKER__FIELD_F64, false, &a->beta2, NULL},
      {"eps", TINKER__FIELD_F64, false, &a->eps, NULL},
      {"weight_decay", TINKER__FIELD_F64, false, &a->weight_decay, NULL},
      {"grad_clip_norm", TINKER__FIELD_F64, false, &a->grad_clip_norm, NULL}};
  int rc = tinker__svc_body_parse(&b, w->mem, json, "adam_params.", fields, 6,
                                  why, why_len);
  tinker__svc_body_done(&b);
  return rc ? rc : check_adam(a, why, why_len);
}

static int parse_optim(tinker__svc_work_t *w, tinker__svc_t *s,
                       tinker__str_t body, char *why, size_t why_len) {
  tinker__svc_body_t b;
  tinker__str_t adam = TINKER__STR(""), other = TINKER__STR("");
  bool has_adam = false, has_other = false;
  const tinker__svc_field_t fields[] = {
      {"adam_params", TINKER__FIELD_RAW, false, &adam, &has_adam},
      {"optimizer_params", TINKER__FIELD_RAW, false, &other, &has_other}};
  int rc =
      tinker__svc_body_parse(&b, w->mem, body, "", fields, 2, why, why_len);
  tinker__svc_body_done(&b);
  if (rc == 0 && has_other) {
    rc = tinker__svc_check_optimizer(s, other, "optimizer_params.", why,
                                     why_len);
  }
  if (rc == 0 && has_adam == has_other) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "exactly one of adam_params and optimizer_params is "
                     "required");
  }
  return rc ? rc : parse_adam(w, has_adam ? adam : other, why, why_len);
}

/* --- Saves ---------------------------------------------------------------- */

/* Names become part of a tinker path, never of a file's path. The two that
 * mean a folder would be cut out of a URL on its way, and clients put a '%'
 * into one as it is: it would name another checkpoint. */
static int check_name(tinker__str_t name, char *why, size_t why_len) {
  bool ok = name.len > 0 && name.len <= MAX_NAME &&
            !tinker__str_eqs(name, ".") && !tinker__str_eqs(name, "..");
  for (size_t i = 0; ok && i < name.len; i++) {
    unsigned char c = (unsigned char)name.ptr[i];
    ok = c > 0x20 && c != 0x7f && !strchr("/\\?#%", c);
  }
  if (ok) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "path must be a checkpoint name of 1 to %d characters "
                     "without '/', '\\', '?', '#', '%%' or spaces, not '.' "
                     "or '..'",
                     MAX_NAME);
}

int tinker__svc_check_ttl(int64_t ttl, bool given, char *why, size_t why_len) {
  if (!given || (ttl >= MIN_TTL_S && ttl <= MAX_TTL_S)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "ttl_seconds must be from 3600 (an hour) to 10 years");
}

int tinker__svc_check_metadata(tinker__mem_t *mem, tinker__str_t json,
                               char *why, size_t why_len) {
  tinker__json_t j;
  tinker__str_t key, value;
  tinker__json_init(&j, mem, json.ptr, json.len);
  bool ok = tinker__json_object(&j);
  while (ok && tinker__json_key(&j, &key)) {
    ok = tinker__json_string(&j, &value);
  }
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  if (rc == 0) return 0;
  return tinker__why(why, why_len, rc == TINKER_ENOMEM ? rc : TINKER_EINVAL,
                     "user_metadata must be an object of strings");
}

typedef struct {
  tinker__str_t name, metadata, kind;
  bool has_name, has_ttl, has_metadata, has_seq;
} save_t;

/* Checks what both saves share and copies it. */
static int take_save(tinker__svc_work_t *w, const save_t *v, char *why,
                     size_t why_len) {
  int rc = tinker__svc_check_ttl(w->ttl_s, v->has_ttl, why, why_len);
  if (rc == 0 && v->has_name) rc = check_name(v->name, why, why_len);
  if (rc == 0 && v->has_metadata) {
    rc = tinker__svc_check_metadata(w->mem, v->metadata, why, why_len);
  }
  if (rc == 0 && v->has_name && !(w->name = copy(w, v->name))) {
    rc = TINKER_ENOMEM;
  }
  if (rc == 0 && v->has_metadata && !(w->metadata = copy(w, v->metadata))) {
    rc = TINKER_ENOMEM;
  }
  return rc;
}

static int parse_save(tinker__svc_work_t *w, tinker__str_t body, char *why,
                      size_t why_len) {
  tinker__svc_body_t b;
  save_t v = {.has_name = false};
  const tinker__svc_field_t fields[] = {
      {"path", TINKER__FIELD_STR, true, &v.name, &v.has_name},
      {"ttl_seconds", TINKER__FIELD_I64, false, &w->ttl_s, &v.has_ttl},
      {"overwrite", TINKER__FIELD_BOOL, false, &w->overwrite, NULL},
      {"user_metadata", TINKER__FIELD_RAW, false, &v.metadata,
       &v.has_metadata}};
  int rc =
      tinker__svc_body_parse(&b, w->mem, body, "", fields, 4, why, why_len);
  if (rc == 0) rc = take_save(w, &v, why, why_len);
  tinker__svc_body_done(&b);
  return rc;
}

static int check_sampler_save(const tinker__svc_work_t *w, const save_t *v,
                              char *why, size_t why_len) {
  bool inflight = tinker__str_eqs(v->kind, "inflight");
  if (!inflight && !tinker__str_eqs(v->kind, "snapshot")) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "kind must be 'snapshot' or 'inflight'");
  }
  if (inflight && (v->has_name || v->has_ttl)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "kind 'inflight' goes without path and ttl_seconds");
  }
  if (v->has_name == v->has_seq) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "exactly one of path and sampling_session_seq_id is "
                       "required");
  }
  if (v->has_seq && w->sampler_seq < 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "sampling_session_seq_id must not be negative");
  }
  return 0;
}

static int parse_sampler_save(tinker__svc_work_t *w, tinker__str_t body,
                              char *why, size_t why_len) {
  tinker__svc_body_t b;
  save_t v = {.kind = TINKER__STR("snapshot")};
  const tinker__svc_field_t fields[] = {
      {"path", TINKER__FIELD_STR, false, &v.name, &v.has_name},
      {"sampling_session_seq_id", TINKER__FIELD_I64, false, &w->sampler_seq,
       &v.has_seq},
      {"kind", TINKER__FIELD_STR, false, &v.kind, NULL},
      {"ttl_seconds", TINKER__FIELD_I64, false, &w->ttl_s, &v.has_ttl},
      {"user_metadata", TINKER__FIELD_RAW, false, &v.metadata,
       &v.has_metadata}};
  int rc =
      tinker__svc_body_parse(&b, w->mem, body, "", fields, 5, why, why_len);
  if (rc == 0) rc = check_sampler_save(w, &v, why, why_len);
  if (rc == 0) rc = take_save(w, &v, why, why_len);
  tinker__svc_body_done(&b);
  return rc;
}

/* --- Loads ---------------------------------------------------------------- */

static int parse_load(tinker__svc_work_t *w, tinker__svc_t *s,
                      tinker__str_t body, char *why, size_t why_len) {
  tinker__svc_body_t b;
  tinker__str_t path, optimizer_config = TINKER__STR("");
  bool has_config = false;
  const tinker__svc_field_t fields[] = {
      {"path", TINKER__FIELD_STR, true, &path, NULL},
      {"optimizer", TINKER__FIELD_BOOL, true, &w->optimizer, NULL},
      {"optimizer_config", TINKER__FIELD_RAW, false, &optimizer_config,
       &has_config}};
  int rc =
      tinker__svc_body_parse(&b, w->mem, body, "", fields, 3, why, why_len);
  if (rc == 0 && has_config) {
    rc = tinker__svc_check_optimizer(s, optimizer_config, "optimizer_config.",
                                     why, why_len);
  }
  if (rc == 0 && !(w->path = copy(w, path))) rc = TINKER_ENOMEM;
  tinker__svc_body_done(&b);
  return rc;
}

int tinker__svc_work_check_tokens(const tinker__svc_work_in_t *in,
                                  size_t tokens, char *why, size_t why_len) {
  if (!in->max_tokens || tokens <= (size_t)in->max_tokens) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "%s: %zu tokens are more than --max-tokens lets in: %lld",
                     in->kind == TINKER__SVC_OP_SAMPLE
                         ? "prompt and num_samples times max_tokens"
                         : "data",
                     tokens, (long long)in->max_tokens);
}

static int parse(tinker__svc_work_t *w, tinker__svc_t *s,
                 const tinker__svc_work_in_t *in, char *why, size_t why_len) {
  switch (in->kind) {
  case TINKER__SVC_OP_CREATE: return 0;
  case TINKER__SVC_OP_LOAD_NEW:
  case TINKER__SVC_OP_LOAD: return parse_load(w, s, in->body, why, why_len);
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return tinker__svc_work_forward_backward(w, in, why, why_len);
  case TINKER__SVC_OP_OPTIM: return parse_optim(w, s, in->body, why, why_len);
  case TINKER__SVC_OP_SAVE: return parse_save(w, in->body, why, why_len);
  case TINKER__SVC_OP_SAVE_SAMPLER:
    return parse_sampler_save(w, in->body, why, why_len);
  default: return tinker__svc_work_sample(w, in, why, why_len);
  }
}

int tinker__svc_work_parse(tinker__svc_work_t **out, tinker__svc_t *s,
                           const tinker__svc_work_in_t *in, int *status,
                           char *why, size_t why_len) {
  tinker__svc_work_t *w = tinker__mem_zalloc(s->mem, sizeof *w);
  if (!w) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  w->mem = s->mem;
  w->kind = in->kind;
  tinker__arena_init(&w->arena, s->mem);
  int rc = parse(w, s, in, why, why_len);
  if (rc != 0) {
    if (rc != TINKER_ENOMEM) {
      *status = rc == TINKER_EINVAL ? 400 : 422;
      rc = TINKER_EINVAL;
    }
    tinker__svc_work_free(w);
    return rc;
  }
  *out = w;
  return 0;
}

int tinker__svc_check_optimizer(tinker__svc_t *s, tinker__str_t json,
                                const char *prefix, char *why, size_t why_len) {
  tinker__svc_body_t b;
  tinker__str_t type = TINKER__STR("");
  const tinker__svc_field_t fields[] = {
      {"type", TINKER__FIELD_STR, true, &type, NULL}};
  int rc =
      tinker__svc_body_parse(&b, s->mem, json, prefix, fields, 1, why, why_len);
  if (rc == 0 && !tinker__str_eqs(type, "adamw")) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "%stype '%.*s' is not an optimizer of this service: only "
                     "adamw is",
                     prefix, (int)(type.len < 60 ? type.len : 60), type.ptr);
  }
  tinker__svc_body_done(&b);
  return rc;
}
