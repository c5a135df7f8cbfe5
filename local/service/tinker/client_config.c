/* client_config: see client_config.h. A flag that the operator does not set is
 * not sent, so the client's own default holds; flags with `sent` are sent
 * always. */
#include "service/tinker/client_config.h"

#include <string.h>

#include <tinker/error.h>

#include "base/json_read.h"
#include "service/tinker/handlers.h"

typedef enum { FLAG_BOOL, FLAG_INT, FLAG_TEXT } flag_type_t;

typedef struct {
  const char *name;
  tinker__svc_config_kind_t kind;
  flag_type_t type;
  int64_t min, max;     /* FLAG_INT */
  const char *words[3]; /* FLAG_TEXT: all allowed values */
  const char *sent;     /* JSON, sent unless the operator sets another value */
  bool absent;          /* never true: the endpoint for it is not here */
} flag_t;

#define INT(name, kind, min, max)                                              \
  { name, kind, FLAG_INT, min, max, {NULL}, NULL, false }
#define BOOL(name, kind, sent, absent)                                         \
  { name, kind, FLAG_BOOL, 0, 0, {NULL}, sent, absent }
#define CLIENT TINKER__CONFIG_CLIENT
#define DYNAMIC TINKER__CONFIG_DYNAMIC
#define MAX_BYTES ((int64_t)1 << 40)

/* A chunk may be as large as a request that this service reads. A client treats
 * a refresh below 10 seconds as 10, so smaller values are refused. */
static const flag_t flags[] = {
    BOOL("pjwt_auth_enabled", CLIENT, "false", true),
    BOOL("create_model_via_load_weights", CLIENT, "true", false),
    BOOL("proto_compress_fwdbwd", CLIENT, "false", false),
    {"credential_default_source",
     CLIENT,
     FLAG_TEXT,
     0,
     0,
     {"api_key", "credential_cmd", NULL},
     NULL,
     false},
    INT("sample_dispatch_bytes_semaphore_size", CLIENT, 1, MAX_BYTES),
    INT("inflight_response_bytes_semaphore_size", CLIENT, 1, MAX_BYTES),
    BOOL("parallel_fwdbwd_chunks", CLIENT, NULL, false),
    INT("fwdbwd_max_chunk_len", CLIENT, 1, TINKER__MAX_DATUMS),
    INT("fwdbwd_max_chunk_bytes_count", CLIENT, 1, INT32_MAX),
    INT("fwdbwd_dispatch_bytes_semaphore_size", CLIENT, 1, MAX_BYTES),
    INT("billing_exception_max_pause_duration_sec", CLIENT, 0, INT32_MAX),
    BOOL("sample_no_retries", CLIENT, NULL, false),
    BOOL("sample_enable_stuck_detection", CLIENT, NULL, false),
    INT("sample_max_concurrent_requests", CLIENT, 1, 1000000),
    BOOL("use_pyqwest_transport", CLIENT, NULL, false),
    BOOL("sample_use_retrieve_futures", CLIENT, NULL, true),
    BOOL("sample_join_sampling_session", CLIENT, NULL, true),
    BOOL("custom_loss_server_side", CLIENT, NULL, true),
    {"refresh_interval_sec",
     DYNAMIC,
     FLAG_INT,
     10,
     1000000,
     {NULL},
     "300",
     false},
    BOOL("sample_cancel_enabled", DYNAMIC, NULL, true),
    INT("sample_cancel_max_batch_size", DYNAMIC, 1, 4096)};

enum { FLAGS = sizeof flags / sizeof *flags };

typedef struct {
  tinker__svc_config_kind_t kind;
  tinker__json_t j;
  tinker__str_t set[FLAGS]; /* the value's JSON; len 0 = not given */
  char *why;
  size_t why_len;
} reader_t;

static const char *file_of(tinker__svc_config_kind_t kind) {
  return kind == CLIENT ? "client config" : "dynamic config";
}

static int refuse(const reader_t *r, const flag_t *f, const char *text) {
  return tinker__why(r->why, r->why_len, TINKER_EINVAL, "%s: %s: %s",
                     file_of(r->kind), f->name, text);
}

static int check_bool(const reader_t *r, const flag_t *f, tinker__json_t *j) {
  bool on = false;
  if (!tinker__json_bool(j, &on)) return refuse(r, f, "must be true or false");
  return on && f->absent
             ? refuse(r, f, "this service does not have what it turns on")
             : 0;
}

static int check_int(const reader_t *r, const flag_t *f, tinker__json_t *j) {
  int64_t v = 0;
  if (tinker__json_i64(j, &v) && v >= f->min && v <= f->max) return 0;
  return tinker__why(r->why, r->why_len, TINKER_EINVAL,
                     "%s: %s: must be an integer from %lld to %lld",
                     file_of(r->kind), f->name, (long long)f->min,
                     (long long)f->max);
}

static int check_text(const reader_t *r, const flag_t *f, tinker__json_t *j) {
  tinker__str_t s;
  bool text = tinker__json_string(j, &s);
  for (size_t i = 0; text && f->words[i]; i++) {
    if (tinker__str_eqs(s, f->words[i])) return 0;
  }
  return tinker__why(r->why, r->why_len, TINKER_EINVAL,
                     "%s: %s: must be \"%s\" or \"%s\"", file_of(r->kind),
                     f->name, f->words[0], f->words[1]);
}

static int check_value(const reader_t *r, const flag_t *f,
                       tinker__str_t value) {
  tinker__json_t j;
  tinker__json_init(&j, r->j.mem, value.ptr, value.len);
  int rc = f->type == FLAG_BOOL  ? check_bool(r, f, &j)
           : f->type == FLAG_INT ? check_int(r, f, &j)
                                 : check_text(r, f, &j);
  if (j.error == TINKER_ENOMEM) rc = TINKER_ENOMEM;
  tinker__json_done(&j);
  return rc;
}

static int take_flag(reader_t *r, tinker__str_t key) {
  size_t i = 0;
  while (i < FLAGS &&
         (flags[i].kind != r->kind || !tinker__str_eqs(key, flags[i].name))) {
    i++;
  }
  if (i == FLAGS) {
    return tinker__why(r->why, r->why_len, TINKER_EINVAL,
                       "%s: unknown flag '%.*s'", file_of(r->kind),
                       (int)(key.len < 80 ? key.len : 80), key.ptr);
  }
  if (r->set[i].len) return refuse(r, &flags[i], "given twice");
  if (!tinker__json_raw(&r->j, &r->set[i])) return 0; /* r->j.error is set */
  return check_value(r, &flags[i], r->set[i]);
}

static int read_flags(reader_t *r) {
  tinker__str_t key;
  int rc = 0;
  tinker__json_object(&r->j);
  while (rc == 0 && tinker__json_key(&r->j, &key)) rc = take_flag(r, key);
  if (rc != 0 || tinker__json_end(&r->j) == 0) return rc;
  if (r->j.error == TINKER_ENOMEM) return TINKER_ENOMEM;
  return tinker__why(r->why, r->why_len, TINKER_EINVAL,
                     "%s: no JSON object of flags: byte %zu: %s",
                     file_of(r->kind), r->j.error_at, r->j.reason);
}

static void write_flags(tinker__buf_t *out, const reader_t *r) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  for (size_t i = 0; i < FLAGS; i++) {
    const char *sent = flags[i].kind == r->kind ? flags[i].sent : NULL;
    if (!r->set[i].len && !sent) continue;
    tinker__jsonw_key(&w, flags[i].name);
    tinker__jsonw_raw(&w, r->set[i].len ? r->set[i] : tinker__str(sent));
  }
  tinker__jsonw_end_object(&w);
}

int tinker__svc_client_config_write(tinker__buf_t *out,
                                    tinker__svc_config_kind_t kind,
                                    const char *json, char *why,
                                    size_t why_len) {
  reader_t r = {.kind = kind, .why = why, .why_len = why_len};
  int rc = 0;
  tinker__json_init(&r.j, out->mem, json, json ? strlen(json) : 0);
  if (json) rc = read_flags(&r);
  if (rc == 0) write_flags(out, &r);
  tinker__json_done(&r.j);
  return rc ? rc : tinker__buf_error(out);
}

/* --- Calls ---------------------------------------------------------------- */

/* Checks the body, which has the client's version, and answers with the reply
 * that was made at the start. */
static tinker__svc_handled_t answer(tinker__svc_req_t *r,
                                    const tinker__buf_t *reply) {
  tinker__arena_t a;
  tinker__config_request_t m;
  if (tinker__svc_body_read(r, &a, &tinker__config_request_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__arena_free(&a);
  return tinker__svc_reply_bytes(r, 200, "application/json", reply->data,
                                 reply->len);
}

tinker__svc_handled_t tinker__svc_handle_client_config(tinker__svc_t *s,
                                                       tinker__svc_req_t *r) {
  return answer(r, &s->config_reply[TINKER__CONFIG_CLIENT]);
}

tinker__svc_handled_t tinker__svc_handle_dynamic_config(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  return answer(r, &s->config_reply[TINKER__CONFIG_DYNAMIC]);
}
