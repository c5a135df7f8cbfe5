/* startup: client/config, then client/dynamic_config, then create_session,
 * each when something first needs what it gives. One request is out at a
 * time. A failure goes to all who wait and leaves the phase where the next
 * who asks begins again.
 *
 * dynamic_config is asked for once: what it can change in flight (canceling
 * abandoned samples) this client doesn't do. */

#include "http/url.h"
#include "session/session_internal.h"

#define STARTUP_BUDGET_MS 300000
#define CONFIG_TIMEOUT_MS 60000
#define DYNAMIC_TIMEOUT_MS 10000
#define CREATE_TIMEOUT_MS 60000

/* ---- reading a reply ---- */

/* Decodes the body of a reply, or builds the error that names the field. The
 * arena gets what the message points to. */
static tinker_error_t *decode(tinker__session_t *s, const char *what,
                              unsigned advice,
                              const tinker__bind_table_t *table, void *out,
                              tinker__arena_t *arena,
                              const tinker__http_reply_t *reply) {
  char why[256] = "";
  int rc = tinker__message_decode(
      table, out, arena, tinker__buf_str(&reply->body), why, sizeof(why));
  if (!rc) return NULL;
  tinker__error_spec_t spec = {
      .code = rc == TINKER_ENOMEM ? TINKER_ENOMEM : TINKER_EPROTO,
      .http_status = reply->status,
      .advice = advice,
      .request_id = reply->request_id,
      .where = s->where,
  };
  return tinker__error_new(s->mem, &spec, "%s: %s", what, why);
}

static tinker_error_t *refuse(tinker__session_t *s, int code, unsigned advice,
                              const char *sentence) {
  tinker__error_spec_t spec = {
      .code = code, .advice = advice, .where = s->where};
  return tinker__error_new(s->mem, &spec, "%s", sentence);
}

static void fail(tinker__session_t *s, tinker__session_phase_t back,
                 tinker_error_t *error) {
  s->phase = back;
  tinker__session_failed(s, error);
  tinker__error_release(error);
}

/* ---- 3: create_session ---- */

static void pass_messages(tinker__session_t *s,
                          const tinker__create_session_reply_t *m) {
  const char *texts[] = {m->info_message, m->warning_message, m->error_message};
  static const char *const names[] = {"info", "warning", "error"};
  for (int i = 0; i < 3; i++) {
    if (!texts[i] || !texts[i][0]) continue;
    tinker__session_say(
        s, i == 0 ? TINKER__SESSION_MESSAGE : TINKER__SESSION_TROUBLE,
        "%s of the service: %s", names[i], texts[i]);
  }
}

/* A session that can't be used was made all the same. */
#define MADE TINKER__ADVICE_UNKNOWN

static tinker_error_t *take_session(tinker__session_t *s,
                                    const tinker__http_reply_t *reply) {
  tinker__create_session_reply_t m;
  tinker__arena_t arena;
  tinker__arena_init(&arena, s->mem);
  tinker_error_t *e =
      decode(s, "create_session", MADE, &tinker__create_session_reply_msg, &m,
             &arena, reply);
  if (!e && !tinker__segment_ok(m.session_id)) {
    e = refuse(s, TINKER_EPROTO, MADE,
               "create_session: session_id: missing, longer than 256 bytes, "
               "or nothing that may be a part of a path");
  }
  if (!e) {
    s->id = tinker__arena_str(&s->arena, tinker__str(m.session_id));
    if (!s->id) {
      e = refuse(s, TINKER_ENOMEM, MADE, "create_session: out of memory");
    }
  }
  if (!e) pass_messages(s, &m);
  tinker__arena_free(&arena);
  return e;
}

static void on_created(tinker__exchange_t *x, tinker__http_reply_t *reply,
                       const tinker_error_t *error) {
  tinker__session_t *s = x->session;
  tinker_error_t *e =
      error ? tinker__error_retain(error) : take_session(s, reply);
  if (e) {
    fail(s, TINKER__PHASE_CONFIGURED, e);
    return;
  }
  s->phase = TINKER__PHASE_SESSION;
  tinker__beat_begin(s);
  tinker__session_reached(s);
}

/* The first beat shows whether it is still there. */
static void adopt_session(tinker__session_t *s) {
  s->phase = TINKER__PHASE_SESSION;
  if (!s->adopt_silent) tinker__beat_begin(s);
  tinker__session_reached(s);
}

static void create_session(tinker__session_t *s) {
  static const tinker__exchange_spec_t spec = {
      TINKER__RETRY_ONCE, STARTUP_BUDGET_MS, CREATE_TIMEOUT_MS, on_created, 0};
  tinker__create_session_t m = {
      .tags = s->tags,
      .user_metadata = tinker__str(s->metadata ? s->metadata : "{}"),
      .sdk_version = s->sdk_version,
      .project_id = s->project_id,
      .display_name = s->display_name,
  };
  s->phase = TINKER__PHASE_CREATING;
  tinker__exchange_begin(&s->startup, "create_session");
  tinker__exchange_start(&s->startup, &spec,
                         tinker__message_encode(&s->startup.body,
                                                &tinker__create_session_msg,
                                                &m));
}

/* ---- 2: client/dynamic_config ---- */

static void on_dynamic(tinker__exchange_t *x, tinker__http_reply_t *reply,
                       const tinker_error_t *error) {
  tinker__session_t *s = x->session;
  tinker_error_t *e = NULL;
  s->dynamic = tinker__dynamic_config_default;
  /* Servers of before it answer 404: the defaults hold. */
  if (error && reply->status != 404) {
    e = tinker__error_retain(error);
  } else if (!error) {
    tinker__arena_t arena;
    tinker__arena_init(&arena, s->mem);
    e = decode(s, "client/dynamic_config", 0, &tinker__dynamic_config_msg,
               &s->dynamic, &arena, reply);
    tinker__arena_free(&arena);
  }
  if (e) {
    fail(s, TINKER__PHASE_START, e);
    return;
  }
  s->phase = TINKER__PHASE_CONFIGURED;
  s->configured = true;
  tinker__session_reached(s);
}

static void ask_config(tinker__session_t *s, const char *path,
                       const tinker__exchange_spec_t *spec) {
  tinker__config_request_t m = {s->sdk_version};
  tinker__exchange_begin(&s->startup, path);
  tinker__exchange_start(&s->startup, spec,
                         tinker__message_encode(&s->startup.body,
                                                &tinker__config_request_msg,
                                                &m));
}

static void ask_dynamic(tinker__session_t *s) {
  static const tinker__exchange_spec_t spec = {
      TINKER__RETRY_START, STARTUP_BUDGET_MS, DYNAMIC_TIMEOUT_MS, on_dynamic,
      404};
  s->phase = TINKER__PHASE_DYNAMIC;
  ask_config(s, "client/dynamic_config", &spec);
}

/* ---- 1: client/config ---- */

static tinker_error_t *check_limits(tinker__session_t *s) {
  const tinker__client_config_t *c = &s->config;
  const struct {
    const char *name;
    int64_t value, min, max;
  } limits[] = {
      {"fwdbwd_max_chunk_len", c->fwdbwd_max_chunk_len, 1, INT64_MAX},
      {"fwdbwd_max_chunk_bytes_count", c->fwdbwd_max_chunk_bytes, 1, INT64_MAX},
      {"sample_dispatch_bytes_semaphore_size", c->sample_dispatch_bytes, 0,
       INT64_MAX},
      {"inflight_response_bytes_semaphore_size", c->inflight_response_bytes, 0,
       INT64_MAX},
      {"fwdbwd_dispatch_bytes_semaphore_size", c->fwdbwd_dispatch_bytes, 0,
       INT64_MAX},
      {"billing_exception_max_pause_duration_sec", c->billing_max_pause_s, 0,
       INT64_MAX / 1000},
      {"sample_max_concurrent_requests", c->sample_max_concurrent_requests, 0,
       INT64_MAX},
  };
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    if (limits[i].value >= limits[i].min && limits[i].value <= limits[i].max) {
      continue;
    }
    char text[160];
    tinker__why(text, sizeof text, 0,
                "client/config: %s: must be %lld to %lld, not %lld",
                limits[i].name, (long long)limits[i].min,
                (long long)limits[i].max, (long long)limits[i].value);
    return refuse(s, TINKER_EPROTO, 0, text);
  }
  return NULL;
}

/* Refuses a configuration that would bring the client to a halt, or that it
 * does not support. */
static tinker_error_t *check_config(tinker__session_t *s) {
  const tinker__client_config_t *c = &s->config;
  if (c->pjwt_auth_enabled) {
    return refuse(s, TINKER_ENOTSUP, 0,
                  "client/config: pjwt_auth_enabled: the service demands that "
                  "the key is exchanged for a token, which this version can't "
                  "do");
  }
  return check_limits(s);
}

static void on_config(tinker__exchange_t *x, tinker__http_reply_t *reply,
                      const tinker_error_t *error) {
  tinker__session_t *s = x->session;
  tinker_error_t *e =
      error ? tinker__error_retain(error)
            : decode(s, "client/config", 0, &tinker__client_config_msg,
                     &s->config, &s->arena, reply);
  if (!e) e = check_config(s);
  if (e) {
    fail(s, TINKER__PHASE_START, e);
    return;
  }
  ask_dynamic(s);
}

static void ask_client(tinker__session_t *s) {
  static const tinker__exchange_spec_t spec = {
      TINKER__RETRY_START, STARTUP_BUDGET_MS, CONFIG_TIMEOUT_MS, on_config, 0};
  s->phase = TINKER__PHASE_CONFIG;
  ask_config(s, "client/config", &spec);
}

/* ---- the next request ---- */

static bool someone_needs(const tinker__session_t *s,
                          tinker__session_need_t need) {
  TINKER__LIST_EACH(it, tmp, &s->waiters) {
    if (TINKER__CONTAINER(it, tinker__session_waiter_t, link)->need >= need) {
      return true;
    }
  }
  return false;
}

void tinker__startup_go_on(tinker__session_t *s) {
  if (s->closing || s->finishing) return;
  if (s->phase == TINKER__PHASE_START &&
      someone_needs(s, TINKER__NEED_CONFIG)) {
    ask_client(s);
  } else if (s->phase == TINKER__PHASE_CONFIGURED &&
             someone_needs(s, TINKER__NEED_SESSION)) {
    if (s->adopted) {
      adopt_session(s);
    } else {
      create_session(s);
    }
  }
}
