/* work: decoding and checking of the JSON calls. See work.h. Pure. */
#include "service/parse/work.h"

#include <math.h>
#include <string.h>

#include <tinker/error.h>

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

/* --- optim_step ----------------------------------------------------------- */

/* Refuses before the call is accepted what the engine would refuse later. */
static int check_adam(const tinker__eng_optim_params_t *a, const char *prefix,
                      char *why, size_t why_len) {
  const struct {
    const char *name;
    double value, low, high; /* low <= value < high */
    const char *range;
  } rules[] = {
      {"learning_rate", a->learning_rate, 0, 1e30, "from 0 to below 1e30"},
      {"beta1", a->beta1, 0, 1, "from 0 to below 1"},
      {"beta2", a->beta2, 0, 1, "from 0 to below 1"},
      /* 1e-45 is the smallest value that is above 0 as a float. */
      {"eps", a->eps, 1e-45, 1e30, "from 1e-45 to below 1e30"},
      {"weight_decay", a->weight_decay, 0, 1e30, "from 0 to below 1e30"},
      {"grad_clip_norm", a->grad_clip_norm, 0, HUGE_VAL, "from 0 up"}};
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    if (rules[i].value < rules[i].low || rules[i].value >= rules[i].high) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "%s%s is out of range: must be %s, not %g", prefix,
                         rules[i].name, rules[i].range, rules[i].value);
    }
  }
  return 0;
}

static int take_adam(tinker__svc_work_t *w, const tinker__adam_wire_t *a,
                     const char *prefix, char *why, size_t why_len) {
  w->adam = (tinker__eng_optim_params_t){
      .learning_rate = a->learning_rate,
      .beta1 = a->beta1,
      .beta2 = a->beta2,
      .eps = a->eps,
      .weight_decay = a->weight_decay,
      .grad_clip_norm = a->grad_clip_norm,
  };
  return check_adam(&w->adam, prefix, why, why_len);
}

static int take_optim(tinker__svc_work_t *w, const tinker__optim_step_t *m,
                      char *why, size_t why_len) {
  const char *other = "optimizer_params.";
  tinker__adam_wire_t a;
  if (m->optimizer_params.len) {
    int rc = tinker__svc_check_optimizer(&w->arena, m->optimizer_params, other,
                                         why, why_len);
    if (rc != 0) return rc;
  }
  if (m->has_adam_params == (m->optimizer_params.len > 0)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "exactly one of adam_params and optimizer_params is "
                       "required");
  }
  if (m->has_adam_params) {
    return take_adam(w, &m->adam_params, "adam_params.", why, why_len);
  }
  int rc =
      tinker__message_decode_part(&tinker__adam_msg, &a, &w->arena,
                                  m->optimizer_params, other, why, why_len);
  return rc ? rc : take_adam(w, &a, other, why, why_len);
}

/* --- Saves ---------------------------------------------------------------- */

/* A name becomes part of a tinker path, never of a file's path. "." and ".."
 * are refused because they are cut out of a URL on its way; '%' is refused
 * because clients put it into a URL unescaped, where it would name another
 * checkpoint. */
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

/* The fields that both saves have. */
typedef struct {
  const char *name; /* NULL = ephemeral */
  bool has_ttl;
  int64_t ttl_s;
  tinker__str_t metadata; /* empty = none */
} save_t;

static int take_save(tinker__svc_work_t *w, const save_t *v, char *why,
                     size_t why_len) {
  int rc = tinker__svc_check_ttl(v->ttl_s, v->has_ttl, why, why_len);
  if (rc == 0 && v->name) rc = check_name(tinker__str(v->name), why, why_len);
  if (rc == 0 && v->metadata.len) {
    rc = tinker__svc_check_metadata(w->mem, v->metadata, why, why_len);
  }
  w->ttl_s = v->ttl_s;
  if (rc == 0 && v->name) {
    w->name = tinker__mem_strdup(w->mem, v->name);
    if (!w->name) rc = TINKER_ENOMEM;
  }
  if (rc == 0 && v->metadata.len) {
    w->metadata = tinker__mem_strndup(w->mem, v->metadata.ptr, v->metadata.len);
    if (!w->metadata) rc = TINKER_ENOMEM;
  }
  return rc;
}

static int take_weights_save(tinker__svc_work_t *w,
                             const tinker__save_weights_t *m, char *why,
                             size_t why_len) {
  save_t v = {m->path, m->has_ttl_seconds, m->ttl_seconds, m->user_metadata};
  w->overwrite = m->overwrite;
  return take_save(w, &v, why, why_len);
}

static int check_sampler_save(const tinker__save_sampler_t *m, char *why,
                              size_t why_len) {
  bool inflight = !strcmp(m->kind, "inflight");
  if (!inflight && strcmp(m->kind, "snapshot") != 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "kind must be 'snapshot' or 'inflight'");
  }
  if (inflight && (m->path || m->has_ttl_seconds)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "kind 'inflight' goes without path and ttl_seconds");
  }
  if ((m->path != NULL) == m->has_sampling_session_seq_id) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "exactly one of path and sampling_session_seq_id is "
                       "required");
  }
  if (m->has_sampling_session_seq_id && m->sampling_session_seq_id < 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "sampling_session_seq_id must not be negative");
  }
  return 0;
}

static int take_sampler_save(tinker__svc_work_t *w,
                             const tinker__save_sampler_t *m, char *why,
                             size_t why_len) {
  save_t v = {m->path, m->has_ttl_seconds, m->ttl_seconds, m->user_metadata};
  w->sampler_seq = m->sampling_session_seq_id;
  int rc = check_sampler_save(m, why, why_len);
  return rc ? rc : take_save(w, &v, why, why_len);
}

/* --- Loads ---------------------------------------------------------------- */

static int take_load(tinker__svc_work_t *w, const tinker__load_weights_t *m,
                     char *why, size_t why_len) {
  int rc = 0;
  w->optimizer = m->optimizer;
  if (m->optimizer_config.len) {
    rc = tinker__svc_check_optimizer(&w->arena, m->optimizer_config,
                                     "optimizer_config.", why, why_len);
  }
  if (rc == 0 && !(w->path = tinker__mem_strdup(w->mem, m->path))) {
    rc = TINKER_ENOMEM;
  }
  return rc;
}

int tinker__svc_work_check_tokens(const tinker__svc_work_t *w,
                                  const tinker__svc_terms_t *terms,
                                  size_t tokens, char *why, size_t why_len) {
  if (!terms->max_tokens || tokens <= (size_t)terms->max_tokens) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "%s: %zu tokens are more than --max-tokens lets in: %lld",
                     w->kind == TINKER__SVC_OP_SAMPLE
                         ? "prompt and num_samples times max_tokens"
                         : "data",
                     tokens, (long long)terms->max_tokens);
}

/* --- Reading -------------------------------------------------------------- */

static const tinker__bind_table_t *message_of(tinker__svc_op_kind_t kind) {
  switch (kind) {
  case TINKER__SVC_OP_LOAD_NEW:
  case TINKER__SVC_OP_LOAD: return &tinker__load_weights_msg;
  case TINKER__SVC_OP_OPTIM: return &tinker__optim_step_msg;
  case TINKER__SVC_OP_SAVE: return &tinker__save_weights_msg;
  case TINKER__SVC_OP_SAVE_SAMPLER: return &tinker__save_sampler_msg;
  default: return &tinker__call_head_msg; /* no other field is used */
  }
}

/* Copies the head of message m to call c. */
#define HEAD_OF(c, m)                                                          \
  ((c)->model_id = (m).model_id, (c)->has_seq_id = (m).has_seq_id,             \
   (c)->seq_id = (m).seq_id)

static void read_message(tinker__svc_call_t *c, tinker__str_t body) {
  tinker__svc_message_t *m = &c->message;
  c->rc =
      tinker__message_decode_call(message_of(c->kind), m, &c->arena, body, NULL,
                                  NULL, &c->head, c->why, sizeof c->why);
  switch (c->kind) {
  case TINKER__SVC_OP_LOAD_NEW:
  case TINKER__SVC_OP_LOAD:
    HEAD_OF(c, m->load);
    c->session_id = m->load.session_id;
    break;
  case TINKER__SVC_OP_OPTIM: HEAD_OF(c, m->optim); break;
  case TINKER__SVC_OP_SAVE: HEAD_OF(c, m->save); break;
  case TINKER__SVC_OP_SAVE_SAMPLER: HEAD_OF(c, m->save_sampler); break;
  default: HEAD_OF(c, m->head);
  }
}

static void read_sample(tinker__svc_call_t *c, tinker__str_t body) {
  tinker__sample_request_t *q = &c->message.sample;
  c->rc = tinker__sample_request_decode(q, &c->arena, body, c->digest, c->why,
                                        sizeof c->why);
  c->head = q->head;
  c->has_seq_id = q->seq_id >= 0;
  c->seq_id = q->seq_id;
}

void tinker__svc_call_read(tinker__svc_call_t *out, tinker__mem_t *mem,
                           tinker__svc_op_kind_t kind, int format,
                           tinker__str_t body) {
  memset(out, 0, sizeof *out);
  out->kind = kind;
  tinker__arena_init(&out->arena, mem);
  switch (kind) {
  case TINKER__SVC_OP_CREATE: break; /* its work has no fields */
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    tinker__svc_call_read_fb(out, format, body);
    break;
  case TINKER__SVC_OP_SAMPLE: read_sample(out, body); break;
  default: read_message(out, body);
  }
}

void tinker__svc_call_free(tinker__svc_call_t *c) {
  tinker__arena_free(&c->arena);
}

/* --- Checking ------------------------------------------------------------- */

static int take(tinker__svc_work_t *w, const tinker__svc_call_t *c,
                const tinker__svc_terms_t *terms, char *why, size_t why_len) {
  const tinker__svc_message_t *m = &c->message;
  memcpy(w->digest, c->digest, sizeof w->digest);
  switch (w->kind) {
  case TINKER__SVC_OP_CREATE: return 0;
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return tinker__svc_work_forward_backward(w, &m->fb, terms, why, why_len);
  case TINKER__SVC_OP_SAMPLE:
    return tinker__svc_work_sample(w, &m->sample, terms, why, why_len);
  case TINKER__SVC_OP_OPTIM: return take_optim(w, &m->optim, why, why_len);
  case TINKER__SVC_OP_SAVE: return take_weights_save(w, &m->save, why, why_len);
  case TINKER__SVC_OP_SAVE_SAMPLER:
    return take_sampler_save(w, &m->save_sampler, why, why_len);
  default: return take_load(w, &m->load, why, why_len);
  }
}

int tinker__svc_work_take(tinker__svc_work_t **out, tinker__svc_call_t *c,
                          const tinker__svc_terms_t *terms, int *status,
                          char *why, size_t why_len) {
  tinker__mem_t *mem = c->arena.mem;
  tinker__svc_work_t *w = tinker__mem_zalloc(mem, sizeof *w);
  if (!w) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  w->mem = mem;
  w->kind = c->kind;
  w->arena = c->arena;
  tinker__arena_init(&c->arena, mem);
  int rc = take(w, c, terms, why, why_len);
  if (rc == 0) {
    *out = w;
    return 0;
  }
  c->arena = w->arena; /* the caller still uses the call, and frees it */
  tinker__arena_init(&w->arena, mem);
  tinker__svc_work_free(w);
  if (rc == TINKER_ENOMEM) return rc;
  *status = rc == TINKER_EINVAL ? 400 : 422;
  return TINKER_EINVAL;
}

int tinker__svc_work_parse(tinker__svc_work_t **out, tinker__svc_t *s,
                           const tinker__svc_work_in_t *in, int *status,
                           char *why, size_t why_len) {
  tinker__svc_call_t c;
  const tinker__svc_terms_t terms = {
      .base = in->base, .seed = in->seed, .max_tokens = in->max_tokens};
  tinker__svc_call_read(&c, s->mem, in->kind, in->format, in->body);
  int rc = c.rc;
  if (rc == 0) {
    rc = tinker__svc_work_take(out, &c, &terms, status, why, why_len);
  } else {
    tinker__why(why, why_len, rc, "%s", c.why);
    *status = rc == TINKER_EINVAL ? 400 : 422;
    if (rc != TINKER_ENOMEM) rc = TINKER_EINVAL;
  }
  tinker__svc_call_free(&c);
  return rc;
}

int tinker__svc_check_optimizer(tinker__arena_t *arena, tinker__str_t json,
                                const char *prefix, char *why, size_t why_len) {
  tinker__optimizer_t m;
  int rc = tinker__message_decode_part(&tinker__optimizer_msg, &m, arena, json,
                                       prefix, why, why_len);
  if (rc != 0 || !strcmp(m.type, "adamw")) return rc;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "%stype '%.60s' is not an optimizer of this service: only "
                     "adamw is",
                     prefix, m.type);
}
