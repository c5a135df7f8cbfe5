/* fuzz_service_call: every call of a real service in this process, from its
 * target to its reply, without a socket. Whatever comes: an answer below 500,
 * JSON where it says so, no list that still knows the request, and a service
 * that goes on.
 *
 * Input: a byte for the route, a byte of flags (below), a line with what
 * stands for the route's "*"s and a query, then the body. "$S", "$M", "$P"
 * stand for the session, model and sampling session there are, "$n" for the
 * model's next number, "$k" for a number never used before: without them no
 * mutation would go far, since every number is taken once.
 *
 * The calls of one service are few: what it keeps grows. At the end it must
 * start again on what it has accepted. */
#include <dirent.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "service/boot/service.h"
#include "service/http/listener.h"
#include "service/tinker/handlers.h"

#define CALLS_PER_SERVICE 300
#define MAX_POLLS 20000

enum {
  ACCEPT_PROTO = 1,
  BODY_PROTO = 2,
  ZSTD = 4,
  OVER_TCP = 8,
  WITH_KEY = 16,
  LEAVE_PENDING = 32
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *__asan_default_options(void);

/* Threads come and go with blocks of their own; what the service owns is
 * counted where it is stopped. */
const char *__asan_default_options(void) {
  return "detect_leaks=0";
}

typedef struct {
  tinker__svc_req_t req; /* first: MHD's connection is this */
  bool parked, resumed;
  const char *key, *encoding;
  char *query;
} call_t;

static tinker__mem_t mem, request_mem;
static tinker__world_t world;
static _Atomic uint64_t draws;
static tinker__svc_t *service;
static char root[40], state[60], plan[60];
static char session[40], model[80], sampler[80];
static int64_t fresh; /* numbers of "$k" */
static int calls;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered = PTHREAD_COND_INITIALIZER;

static void must(bool good, const char *what, const call_t *c) {
  if (good) return;
  fprintf(stderr, "%s\n", what);
  if (c && c->req.route) {
    fprintf(stderr, "%s %s: %d %.*s\n", c->req.route->method,
            c->req.route->path, c->req.status, (int)c->req.reply.len,
            c->req.reply.data ? c->req.reply.data : "");
  }
  __builtin_trap();
}

/* --- What handlers ask of the HTTP library -------------------------------- */

void MHD_resume_connection(struct MHD_Connection *connection) {
  pthread_mutex_lock(&lock);
  ((call_t *)connection)->resumed = true;
  pthread_cond_signal(&answered);
  pthread_mutex_unlock(&lock);
}

static const char *query_value(call_t *c, const char *key) {
  size_t len = strlen(key);
  for (char *at = c->query; at; at = strchr(at, '&')) {
    if (*at == '&') at++;
    if (!strncmp(at, key, len) && at[len] == '=') {
      at[len + 1 + strcspn(at + len + 1, "&")] = 0;
      tinker__svc_http_unescape(at + len + 1);
      return at + len + 1;
    }
  }
  return NULL;
}

const char *MHD_lookup_connection_value(struct MHD_Connection *connection,
                                        enum MHD_ValueKind kind,
                                        const char *key) {
  call_t *c = (call_t *)connection;
  if (kind == MHD_GET_ARGUMENT_KIND) return query_value(c, key);
  if (!strcmp(key, "X-Idempotency-Key")) return c->key;
  return strcmp(key, "Content-Encoding") ? NULL : c->encoding;
}

/* --- The service ---------------------------------------------------------- */

/* Ids that a seed can name: the next number each time. */
static int next_random(void *user, void *out, size_t len) {
  uint64_t n = ++draws;
  (void)user;
  memset(out, 0, len);
  for (size_t i = 0; i < len && i < 8; i++) {
    ((unsigned char *)out)[len - 1 - i] = (unsigned char)(n >> (8 * i));
  }
  return 0;
}

static void on_log(void *user, const char *line, size_t len) {
  static const char mark[] = "\"level\":\"error\"";
  (void)user;
  for (size_t i = 0; i + sizeof mark <= len; i++) {
    if (memcmp(line + i, mark, sizeof mark - 1) != 0) continue;
    fprintf(stderr, "%.*s\n", (int)len, line);
    __builtin_trap();
  }
}

static void start(void) {
  char why[400] = "";
  tinker__svc_stage_t stage;
  tinker__svc_model_spec_t folder = {
      .name = "m",
      .dir = TINKER_SOURCE_DIR "/tests/golden/models/qwen3_tied",
  };
  tinker__svc_config_t config = {
      .mem = &mem,
      .world = &world,
      .engine = tinker__cpu_engine(),
      .threads = 1,
      .state_dir = state,
      .faults = plan,
      .models = &folder,
      .n_models = 1,
      .max_body = 1 << 16,
      .max_tokens = 256,
      .max_models = 8,
      .max_samples = 16,
      .inline_result = 64,
      .poll_ms = 2,
      .keep_ms = 1000,
      .snapshot_ms = 1,
      .log = on_log,
  };
  int rc = tinker__svc_start(&service, &config, &stage, why, sizeof why);
  must(rc == 0, why, NULL);
}

static void stop(void) {
  tinker__svc_stop(service);
  service = NULL;
  must(mem.live_blocks == 0, "the service left blocks behind", NULL);
}

static void remove_tree(const char *dir) {
  char path[600];
  struct dirent *e;
  DIR *d = opendir(dir);
  while (d && (e = readdir(d)) != NULL) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (unlink(path) != 0) remove_tree(path);
  }
  if (d) closedir(d);
  rmdir(dir);
}

/* --- Calls ---------------------------------------------------------------- */

static void call_open(call_t *c, unsigned flags) {
  tinker__svc_req_t *r = &c->req;
  *c = (call_t){
      .key = flags & WITH_KEY ? "k" : NULL,
      .encoding = flags & ZSTD ? "zstd" : NULL,
  };
  tinker__list_init(&r->link);
  tinker__list_init(&r->timer_link);
  r->service = service;
  r->conn = (struct MHD_Connection *)c;
  r->fd = -1;
  r->local = r->unix_socket = !(flags & OVER_TCP);
  r->body_proto = (flags & BODY_PROTO) != 0;
  r->accept_proto = (flags & ACCEPT_PROTO) != 0;
  r->dispatched = true;
  tinker__buf_init(&r->body, &request_mem, 1 << 18);
  tinker__buf_init(&r->reply, &request_mem, 1 << 24);
}

static void call_close(call_t *c) {
  tinker__buf_free(&c->req.body);
  tinker__buf_free(&c->req.reply);
}

static void check_reply(call_t *c) {
  tinker__svc_req_t *r = &c->req;
  tinker__json_t j;
  must(tinker__list_empty(&r->link) && tinker__list_empty(&r->timer_link),
       "answered and still in a list", c);
  must(r->status >= 200 && r->status < 500, "a status of failure", c);
  must(!tinker__buf_error(&r->reply), "a reply that can't be written", c);
  must(!atomic_load(&service->fatal), "the service can't go on", c);
  if (!r->content_type) {
    must(r->reply.len == 0, "content without a type", c);
  } else if (!strcmp(r->content_type, "application/json")) {
    tinker__json_init(&j, &request_mem, r->reply.data, r->reply.len);
    tinker__json_skip(&j);
    must(tinker__json_end(&j) == 0, "a reply that is no JSON", c);
    tinker__json_done(&j);
  }
}

static const tinker__svc_site_t site = {.tables = {tinker__svc_tinker_routes}};

/* Captures point into path, which outlives the call. */
static void call_do(call_t *c, const char *method, char *path) {
  tinker__svc_req_t *r = &c->req;
  r->path = path;
  r->route = tinker__svc_http_route(&site, r, method);
  if (r->route && tinker__svc_req_unpack(r)) {
    c->parked = r->route->handler(service, r) == TINKER__PARKED;
    pthread_mutex_lock(&lock);
    while (c->parked && !c->resumed) pthread_cond_wait(&answered, &lock);
    pthread_mutex_unlock(&lock);
  }
  check_reply(c);
}

/* The value of a string member, "" without. */
static void member(call_t *c, const char *name, char *out, size_t len) {
  char mark[60];
  const char *text = tinker__buf_cstr(&c->req.reply), *at;
  snprintf(mark, sizeof mark, "\"%s\":\"", name);
  at = text ? strstr(text, mark) : NULL;
  *out = 0;
  if (!at) return;
  at += strlen(mark);
  snprintf(out, len, "%.*s", (int)strcspn(at, "\""), at);
}

/* Polls a future until it has its result or waits for a gap. */
static void settle(const char *id, unsigned flags) {
  call_t c;
  char path[] = "api/v1/retrieve_future", type[20], queue[40];
  for (int i = 0; i < MAX_POLLS; i++) {
    call_open(&c, flags & ACCEPT_PROTO);
    tinker__buf_addf(&c.req.body,
                     "{\"request_id\":\"%s\",\"allow_metadata_only\":%s}", id,
                     flags & WITH_KEY ? "true" : "false");
    call_do(&c, "POST", path);
    member(&c, "type", type, sizeof type);
    member(&c, "queue_state", queue, sizeof queue);
    call_close(&c);
    if (strcmp(type, "try_again") != 0 || strcmp(queue, "active") != 0) return;
  }
  must(false, "a future without an end", NULL);
}

/* --- What there is to be named -------------------------------------------- */

/* A call that must do; name's value goes to out. */
static void make(const char *name, char *out, size_t len, const char *endpoint,
                 const char *body) {
  call_t c;
  char path[60], id[120];
  snprintf(path, sizeof path, "api/v1/%s", endpoint);
  call_open(&c, 0);
  tinker__buf_adds(&c.req.body, body);
  call_do(&c, "POST", path);
  must(c.req.status == 200, "what is to be named can't be made", &c);
  member(&c, name, out, len);
  member(&c, "request_id", id, sizeof id);
  call_close(&c);
  if (*id) settle(id, 0);
}

static void make_model(int number) {
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"m\","
           "\"user_metadata\":{\"a\":1},\"lora_config\":{\"rank\":2,"
           "\"seed\":7}}",
           session, number);
  make("model_id", model, sizeof model, "create_model", body);
}

/* Model 1 is for the one call that must be a model's first. */
static void make_all(void) {
  char body[400], id[120];
  make("session_id", session, sizeof session, "create_session", "{}");
  make_model(1);
  make_model(0);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"w\"}", model);
  make("request_id", id, sizeof id, "save_weights", body);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":2,\"path\":\"s\"}", model);
  make("request_id", id, sizeof id, "save_weights_for_sampler", body);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":0,"
           "\"model_path\":\"tinker://%s/sampler_weights/s\"}",
           session, model);
  make("sampling_session_id", sampler, sizeof sampler,
       "create_sampling_session", body);
}

static bool has(tinker__svc_model_t *m, tinker__svc_ckpt_kind_t kind,
                const char *name) {
  tinker__svc_checkpoint_t *c =
      tinker__svc_checkpoint_find(m, kind, tinker__str(name));
  return c && c->durable;
}

/* A call ended the session, took a checkpoint away, or made too many models. */
static bool is_worn(void) {
  size_t models = 0;
  pthread_mutex_lock(&service->lock);
  tinker__svc_session_t *n =
      tinker__map_get(service->session_by_id, tinker__str(session));
  tinker__svc_model_t *m = tinker__svc_model_find(service, tinker__str(model));
  if (n) TINKER__LIST_EACH(l, tmp, &n->models) models++;
  bool good = n && m && n->state == TINKER__SVC_SESSION_LIVE && !m->broken &&
              models < 7 && has(m, TINKER__CKPT_TRAINING, "w") &&
              has(m, TINKER__CKPT_SAMPLER, "s");
  pthread_mutex_unlock(&service->lock);
  return !good;
}

static void finish(void) {
  call_t c;
  char path[100];
  snprintf(path, sizeof path, "api/v1/sessions/%s/finish", session);
  call_open(&c, 0);
  tinker__buf_adds(&c.req.body, "{}");
  call_do(&c, "POST", path);
  call_close(&c);
}

/* The model's first number that no call has. */
static int64_t next_number(void) {
  char id[120];
  pthread_mutex_lock(&service->lock);
  tinker__svc_model_t *m = tinker__svc_model_find(service, tinker__str(model));
  int64_t n = m ? m->next_seq : 0;
  do {
    snprintf(id, sizeof id, "%s:%lld", model, (long long)n++);
  } while (tinker__map_get(service->op_by_id, tinker__str(id)));
  pthread_mutex_unlock(&service->lock);
  return n - 1;
}

static void expand(tinker__buf_t *out, const char *text, size_t len) {
  for (size_t i = 0; i < len; i++) {
    char what = text[i] == '$' && i + 1 < len ? text[i + 1] : 0;
    const char *name = what == 'S'   ? session
                       : what == 'M' ? model
                       : what == 'P' ? sampler
                                     : NULL;
    if (name) {
      tinker__buf_adds(out, name);
    } else if (what == 'n' || what == 'k') {
      tinker__buf_addf(out, "%lld",
                       (long long)(what == 'n' ? next_number() : ++fresh));
    } else {
      tinker__buf_addc(out, text[i]);
      continue;
    }
    i++;
  }
}

/* --- Life ----------------------------------------------------------------- */

static void begin(void) {
  draws = 0;
  fresh = 100;
  calls = 0;
  start();
  make_all();
}

static void end(void) {
  if (service) tinker__svc_stop(service);
  remove_tree(root);
}

static void open_root(void) {
  const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  tinker__mem_init(&mem, NULL, 0);
  tinker__mem_init(&request_mem, NULL, 0);
  world = *tinker__world_real();
  world.random = next_random;
  snprintf(root, sizeof root, "%s/tinker-fuzz-XXXXXX", place);
  must(mkdtemp(root) != NULL, "no folder", NULL);
  snprintf(state, sizeof state, "%s/state", root);
  snprintf(plan, sizeof plan, "%s/plan.json", root);
  FILE *f = fopen(plan, "w"); /* for the ledger: no request gets to its rule */
  must(f &&
           fputs("{\"seed\":0,\"rules\":[{\"endpoint\":\"asample\",\"act\":"
                 "\"delay\",\"ms\":1}]}",
                 f) >= 0 &&
           !fclose(f),
       "no plan", NULL);
  atexit(end);
  begin();
}

/* It starts on what it has accepted, and knows the session. */
static void start_again(void) {
  call_t c;
  char path[100];
  stop();
  start();
  snprintf(path, sizeof path, "api/v1/sessions/%s", session);
  call_open(&c, 0);
  call_do(&c, "GET", path);
  must(c.req.status == 200, "a session was lost", &c);
  call_close(&c);
  stop();
  remove_tree(state);
  begin();
}

static void prepare(void) {
  if (!service) {
    open_root();
  } else if (++calls == CALLS_PER_SERVICE) {
    start_again();
  } else if (is_worn()) {
    finish();
    make_all();
  }
}

/* --- Input ---------------------------------------------------------------- */

static const tinker__svc_route_t *pick(unsigned n) {
  size_t count = 0;
  while (tinker__svc_tinker_routes[count].method) count++;
  return &tinker__svc_tinker_routes[n % count];
}

/* The route's path with the parts of line in it, cut at its query. */
static char *take_target(call_t *c, const tinker__svc_route_t *t,
                         tinker__buf_t *path, char *line) {
  c->query = strchr(line, '?');
  if (c->query) *c->query++ = 0;
  for (const char *p = t->path; *p; p++) {
    size_t part = strcspn(line, "/");
    if (*p != '*') {
      tinker__buf_addc(path, *p);
    } else {
      tinker__buf_add(path, line, part);
      line += part + (line[part] ? 1 : 0);
    }
  }
  must(tinker__buf_cstr(path) != NULL, "no path", NULL);
  tinker__svc_http_unescape(path->data);
  return path->data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  call_t c;
  tinker__buf_t line, path;
  char id[120];
  if (size < 2) return 0;
  const tinker__svc_route_t *t = pick(data[0]);
  unsigned flags = data[1];
  const char *text = (const char *)data + 2;
  const char *newline = memchr(text, '\n', size - 2);
  size_t cut = newline ? (size_t)(newline - text) : size - 2;
  prepare();
  call_open(&c, flags);
  tinker__buf_init(&line, &request_mem, 1 << 20);
  tinker__buf_init(&path, &request_mem, 1 << 20);
  expand(&line, text, cut);
  if (newline) expand(&c.req.body, newline + 1, size - 3 - cut);
  must(tinker__buf_cstr(&line) != NULL, "no line", NULL);
  call_do(&c, t->method, take_target(&c, t, &path, line.data));
  member(&c, "request_id", id, sizeof id);
  if (*id && c.parked && c.req.status == 200 && !(flags & LEAVE_PENDING)) {
    settle(id, flags);
  }
  call_close(&c);
  tinker__buf_free(&line);
  tinker__buf_free(&path);
  must(request_mem.live_blocks == 0, "a request left blocks behind", NULL);
  return 0;
}
