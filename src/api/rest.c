/* rest: the calls about what there is at the service, see tinker/rest.h, with
 * their kinds. Each is one request without a session. On the caller's thread,
 * which builds the whole request. */
#include "api/call.h"
#include "wire/path.h"

#define RUNS "api/v1/training_runs"
#define CHECKPOINTS "api/v1/checkpoints"
#define SESSIONS "api/v1/sessions"
#define OWNED "access_scope=owned"

/* Three segments, each byte of which may become three. */
#define TARGET_MAX (4 * 3 * TINKER__SEGMENT_MAX)

/* Entries of a page, as the official client asks for them. */
#define FEW 20
#define MANY 100

#define KIND(id_, name_)                                                       \
  .id = TINKER_KIND_##id_, .name = (name_), .lane = TINKER__LANE_CONTROL,      \
  .needs = TINKER__NEEDS_CONFIG
#define LOOKUP(id_, name_)                                                     \
  KIND(id_, name_), .retry = TINKER__RETRY_LOOKUP, .method = TINKER__HTTP_GET
#define CHANGE(id_, name_)                                                     \
  KIND(id_, name_), .retry = TINKER__RETRY_REPEAT,                             \
                    .effect = TINKER__EFFECT_CHANGE

static const tinker__kind_t get_run = {LOOKUP(GET_RUN, "get_run")};
static const tinker__kind_t list_runs = {LOOKUP(LIST_RUNS, "list_runs")};
static const tinker__kind_t list_run_checkpoints = {
    LOOKUP(LIST_RUN_CHECKPOINTS, "list_run_checkpoints")};
static const tinker__kind_t list_checkpoints = {
    LOOKUP(LIST_CHECKPOINTS, "list_checkpoints")};
static const tinker__kind_t list_sessions = {
    LOOKUP(LIST_SESSIONS, "list_sessions")};
static const tinker__kind_t get_session = {LOOKUP(GET_SESSION, "get_session")};
static const tinker__kind_t weights_info = {
    KIND(WEIGHTS_INFO, "weights_info"),
    .path = "api/v1/weights_info",
    .retry = TINKER__RETRY_LOOKUP,
    .method = TINKER__HTTP_POST,
};
static const tinker__kind_t set_checkpoint_ttl = {
    CHANGE(SET_CHECKPOINT_TTL, "set_checkpoint_ttl"),
    .method = TINKER__HTTP_PUT,
};
static const tinker__kind_t delete_checkpoint = {
    CHANGE(DELETE_CHECKPOINT, "delete_checkpoint"),
    .method = TINKER__HTTP_DELETE,
};

/* --- arguments --- */

static void check_id(tinker__call_t *c, const char *name, const char *id) {
  tinker__call_text(c, name, id);
  const char *fault = c->rc ? NULL : tinker__segment_fault(tinker__str(id));
  if (!fault) return;
  tinker__call_refuse(c, TINKER_EINVAL, "%s is \"%.300s\", which %s", name, id,
                      fault);
}

static bool is_kind(tinker__str_t word) {
  return tinker__str_eqs(word, TINKER__PATH_TRAINING) ||
         tinker__str_eqs(word, TINKER__PATH_SAMPLER) ||
         tinker__str_eqs(word, TINKER__PATH_EXTERNAL);
}

/* Takes a checkpoint's path apart; false when the call is refused. */
static bool take_path(tinker__call_t *c, const char *path,
                      tinker__str_t part[3]) {
  tinker__call_text(c, "path", path);
  if (c->rc) return false;
  const char *fault = NULL;
  bool whole = tinker__path_split(tinker__str(path), part) && is_kind(part[1]);
  for (int i = 0; whole && !fault && i < 3; i += 2) {
    fault = tinker__segment_fault(part[i]);
  }
  if (!whole || fault) {
    tinker__call_refuse(
        c, TINKER_EINVAL,
        "path is \"%.200s\"%s%s: want \"tinker://RUN/KIND/NAME\" with the kind "
        "weights, sampler_weights or external_weights",
        path, fault ? ", a part of which " : "", fault ? fault : "");
  }
  return c->rc == 0;
}

static void take_page(tinker__call_t *c, tinker_page_t *page,
                      const tinker_page_t *given, int64_t limit) {
  static const tinker_page_t defaults = TINKER_PAGE_INIT;
  tinker__call_take(c, page, sizeof *page, &defaults, given, "page");
  if (c->rc) return;
  tinker__call_want(c, page->offset >= 0, "offset", (double)page->offset,
                    "0 or more");
  tinker__call_want(c, page->limit >= 0, "limit", (double)page->limit,
                    "1 or more, or 0 for the default");
  if (!page->limit) page->limit = limit;
}

/* --- the address --- */

static void begin_target(tinker__call_t *c, tinker__buf_t *b,
                         const char *text) {
  tinker__buf_init(b, c->core->mem, TARGET_MAX);
  tinker__buf_adds(b, text);
}

/* Gives it to the operation, or refuses the call. */
static void end_target(tinker__call_t *c, tinker__buf_t *b) {
  size_t len;
  tinker__buf_cstr(b);
  tinker__call_check(c, tinker__buf_error(b));
  if (!c->rc) c->op->path = tinker__buf_take(b, &len);
  tinker__buf_free(b);
}

static void add_segment(tinker__buf_t *b, tinker__str_t segment) {
  tinker__buf_addc(b, '/');
  tinker__segment_add(b, segment);
}

/* <base>/<id><rest> */
static void address(tinker__call_t *c, const char *base, const char *id,
                    const char *rest) {
  tinker__buf_t b;
  begin_target(c, &b, base);
  add_segment(&b, tinker__str(id));
  tinker__buf_adds(&b, rest);
  end_target(c, &b);
}

static void address_page(tinker__call_t *c, const char *base,
                         const tinker_page_t *page, const char *rest) {
  tinker__buf_t b;
  begin_target(c, &b, base);
  tinker__buf_addf(&b, "?limit=%lld&offset=%lld%s", (long long)page->limit,
                   (long long)page->offset, rest);
  end_target(c, &b);
}

static void address_checkpoint(tinker__call_t *c, const tinker__str_t part[3],
                               const char *rest) {
  tinker__buf_t b;
  begin_target(c, &b, RUNS);
  add_segment(&b, part[0]);
  tinker__buf_adds(&b, "/checkpoints");
  add_segment(&b, part[1]);
  add_segment(&b, part[2]);
  tinker__buf_adds(&b, rest);
  end_target(c, &b);
}

/* --- questions --- */

/* About one thing: <base>/<id><rest>. */
static tinker_future_t *ask(tinker_client_t *client, const tinker__kind_t *kind,
                            const tinker__future_ops_t *result,
                            const char *base, const char *name, const char *id,
                            const char *rest,
                            const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, kind, call);
  check_id(&c, name, id);
  if (tinker__call_open(&c, result, 1)) address(&c, base, id, rest);
  return tinker__call_end(&c);
}

/* About a part of a list. limit: the one of the default. */
static tinker_future_t *ask_page(tinker_client_t *client,
                                 const tinker__kind_t *kind,
                                 const tinker__future_ops_t *result,
                                 const char *base, int64_t limit,
                                 const char *rest, const tinker_page_t *page,
                                 const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker_page_t p;
  tinker__call_begin(&c, client, NULL, kind, call);
  take_page(&c, &p, page, limit);
  if (tinker__call_open(&c, result, 1)) address_page(&c, base, &p, rest);
  return tinker__call_end(&c);
}

tinker_future_t *tinker_client_get_run(tinker_client_t *client,
                                       const char *run_id,
                                       const tinker_call_options_t *call) {
  return ask(client, &get_run, &tinker__result_run, RUNS, "run_id", run_id,
             "?" OWNED, call);
}

tinker_future_t *tinker_client_list_runs(tinker_client_t *client,
                                         const tinker_page_t *page,
                                         const tinker_call_options_t *call) {
  return ask_page(client, &list_runs, &tinker__result_run_list, RUNS, FEW,
                  "&" OWNED, page, call);
}

tinker_future_t *
tinker_client_list_run_checkpoints(tinker_client_t *client, const char *run_id,
                                   const tinker_call_options_t *call) {
  return ask(client, &list_run_checkpoints, &tinker__result_checkpoint_list,
             RUNS, "run_id", run_id, "/checkpoints", call);
}

tinker_future_t *
tinker_client_list_checkpoints(tinker_client_t *client,
                               const tinker_page_t *page,
                               const tinker_call_options_t *call) {
  return ask_page(client, &list_checkpoints, &tinker__result_checkpoint_list,
                  CHECKPOINTS, MANY, "", page, call);
}

tinker_future_t *
tinker_client_list_sessions(tinker_client_t *client, const tinker_page_t *page,
                            const tinker_call_options_t *call) {
  return ask_page(client, &list_sessions, &tinker__result_session_list,
                  SESSIONS, FEW, "&" OWNED, page, call);
}

tinker_future_t *tinker_client_get_session(tinker_client_t *client,
                                           const char *session_id,
                                           const tinker_call_options_t *call) {
  return ask(client, &get_session, &tinker__result_session, SESSIONS,
             "session_id", session_id, "?" OWNED, call);
}

tinker_future_t *tinker_client_weights_info(tinker_client_t *client,
                                            const char *path,
                                            const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &weights_info, call);
  tinker__call_path(&c, "path", path);
  if (tinker__call_open(&c, &tinker__result_weights_info, 1)) {
    tinker__weights_info_t m = {.tinker_path = path};
    tinker__call_check(&c,
                       tinker__message_encode(&c.op->parts[0].text,
                                              &tinker__weights_info_msg, &m));
  }
  return tinker__call_end(&c);
}

/* --- changes --- */

tinker_future_t *
tinker_client_set_checkpoint_ttl(tinker_client_t *client, const char *path,
                                 int64_t ttl_seconds,
                                 const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__str_t part[3];
  tinker__call_begin(&c, client, NULL, &set_checkpoint_ttl, call);
  take_path(&c, path, part);
  tinker__call_ttl(&c, ttl_seconds);
  if (tinker__call_open(&c, &tinker__result_done, 1)) {
    tinker__set_ttl_t m = {.has_ttl_seconds = ttl_seconds != TINKER_NO_TTL,
                           .ttl_seconds = ttl_seconds};
    tinker__call_check(&c, tinker__message_encode(&c.op->parts[0].text,
                                                  &tinker__set_ttl_msg, &m));
    address_checkpoint(&c, part, "/ttl");
  }
  return tinker__call_end(&c);
}

tinker_future_t *
tinker_client_delete_checkpoint(tinker_client_t *client, const char *path,
                                const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__str_t part[3];
  tinker__call_begin(&c, client, NULL, &delete_checkpoint, call);
  take_path(&c, path, part);
  if (tinker__call_open(&c, &tinker__result_done, 1)) {
    address_checkpoint(&c, part, "");
  }
  return tinker__call_end(&c);
}
