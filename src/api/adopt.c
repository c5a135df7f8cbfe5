/* adopt: going on with what another process has begun: its session, its
 * trainers and samplers, its operations. Any thread; nothing here touches the
 * loop's. */
#include "api/call.h"
#include "api/handles.h"
#include "base/error.h"
#include "base/options.h"
#include "http/url.h"

#define BLOCK 1000000000 /* numbers of one incarnation */
#define NUMBERS_MAX INT32_MAX
#define SAMPLES_MAX (INT64_C(1000000000) * BLOCK) /* of a sampler */

/* --- the session --- */

static int check(const tinker_adoption_t *a, char *why, size_t why_len) {
  const struct {
    const char *name;
    int64_t value, min, max;
  } all[] = {
      {"incarnation", a->incarnation, 1, BLOCK},
      {"model_seq_id", a->model_seq_id, 0, INT64_MAX},
      {"sampling_session_seq_id", a->sampling_session_seq_id, 0, INT64_MAX},
      {"no_heartbeat", a->no_heartbeat, 0, 1},
      {"reserved0", a->reserved0, 0, 0},
  };
  if (!a->session_id || !tinker__segment_ok(a->session_id)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "adopt.session_id is %s: want the id of a session",
                       a->session_id ? "not one" : "NULL");
  }
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    bool unset = i < 3 && all[i].value == -1;
    if (unset || (all[i].value >= all[i].min && all[i].value <= all[i].max)) {
      continue;
    }
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "adopt.%s is %lld: want %lld to %lld", all[i].name,
                       (long long)all[i].value, (long long)all[i].min,
                       (long long)all[i].max);
  }
  if (a->incarnation == -1 &&
      (a->model_seq_id == -1 || a->sampling_session_seq_id == -1)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "adopt: want incarnation, or both model_seq_id and "
                       "sampling_session_seq_id: a number that was used before "
                       "gives what it gave then");
  }
  return 0;
}

int tinker__adoption_take(tinker__session_options_t *out,
                          const tinker_adoption_t *given, char *why,
                          size_t why_len) {
  static const tinker_adoption_t defaults = TINKER_ADOPTION_INIT;
  tinker_adoption_t a;
  if (!given) return 0;
  int rc = tinker__options_take(&a, sizeof a, &defaults, given, "adopt", why,
                                why_len);
  if (!rc) rc = check(&a, why, why_len);
  if (rc) return rc;
  const int64_t block = a.incarnation * BLOCK;
  out->adopt_id = a.session_id;
  out->adopt_silent = a.no_heartbeat != 0;
  out->model_seq = a.model_seq_id < 0 ? block : a.model_seq_id;
  out->sampling_seq =
      a.sampling_session_seq_id < 0 ? block : a.sampling_session_seq_id;
  return 0;
}

tinker_future_t *
tinker_client_finish_session(tinker_client_t *client,
                             const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_finish, call);
  tinker__call_open(&c, &tinker__result_done, 1);
  return tinker__call_end(&c);
}

/* --- sessions of others --- */

typedef struct beating_s {
  tinker__task_t task;
  tinker_client_t *core;
  tinker__ward_t *ward;
} beating_t;

static void beat_run(tinker__task_t *task) {
  beating_t *b = TINKER__CONTAINER(task, beating_t, task);
  tinker_client_t *core = b->core;
  tinker__session_ward(core->session, b->ward);
  tinker__mem_free(core->mem, b);
}

static int post_beating(tinker_client_t *core, beating_t *b) {
  pthread_mutex_lock(&core->lock);
  bool open = tinker__core_phase(core) == TINKER__CLIENT_OPEN;
  if (open) tinker__loop_post(core->loop, &b->task);
  pthread_mutex_unlock(&core->lock);
  return open ? 0 : TINKER_ECLOSED;
}

int tinker_client_beat_session(tinker_client_t *client, const char *session_id,
                               int on) {
  if (!client || !session_id || !tinker__segment_ok(session_id) || on < 0 ||
      on > 1) {
    return TINKER_EINVAL;
  }
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  beating_t *b = tinker__mem_zalloc(client->mem, sizeof *b);
  if (!b) return TINKER_ENOMEM;
  tinker__task_init(&b->task, beat_run);
  b->core = client;
  int rc = tinker__ward_new(&b->ward, client->mem, session_id, on != 0);
  if (!rc) {
    rc = post_beating(client, b);
    if (!rc) return 0;
    tinker__ward_free(b->ward);
  }
  tinker__mem_free(client->mem, b);
  return rc;
}

/* --- a trainer --- */

static void want_number(tinker__call_t *c, const char *name, int64_t seq,
                        int64_t min, int64_t max) {
  if (seq >= min && seq <= max) return;
  tinker__call_refuse(c, TINKER_EINVAL, "%s is %lld: want %lld to %lld", name,
                      (long long)seq, (long long)min, (long long)max);
}

static void want_id(tinker__call_t *c, const char *name, const char *id) {
  tinker__call_text(c, name, id);
  if (!c->rc && !tinker__segment_ok(id)) {
    tinker__call_refuse(c, TINKER_EINVAL, "%s may not be a part of a path",
                        name);
  }
}

tinker_future_t *
tinker_client_adopt_trainer(tinker_client_t *client, const char *model_id,
                            int64_t next_seq_id,
                            const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_adopt_trainer, call);
  want_id(&c, "model_id", model_id);
  want_number(&c, "next_seq_id", next_seq_id, 1, NUMBERS_MAX);
  if (tinker__call_open(&c, &tinker__result_trainer, 1)) {
    tinker__job_t *job = tinker__call_job(&c);
    job->used_seq = next_seq_id - 1;
    job->model_id = tinker__job_str(job, model_id);
    if (!job->model_id) tinker__call_check(&c, TINKER_ENOMEM);
  }
  return tinker__call_end(&c);
}

tinker_future_t *
tinker_client_adopt_sampler(tinker_client_t *client, const char *sampler_id,
                            int64_t next_seq_id,
                            const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  tinker__call_begin(&c, client, NULL, &tinker__kind_adopt_sampler, call);
  want_id(&c, "sampler_id", sampler_id);
  want_number(&c, "next_seq_id", next_seq_id, 0, SAMPLES_MAX);
  if (tinker__call_open(&c, &tinker__result_sampler, 1)) {
    tinker__job_t *job = tinker__call_job(&c);
    job->used_seq = next_seq_id;
    job->sampler_id = tinker__job_str(job, sampler_id);
    if (!job->sampler_id) tinker__call_check(&c, TINKER_ENOMEM);
  }
  return tinker__call_end(&c);
}

/* --- a creation --- */

static const tinker__kind_t *creation(tinker_kind_t kind) {
  switch (kind) {
  case TINKER_KIND_CREATE_TRAINER: return &tinker__kind_create_model;
  case TINKER_KIND_CREATE_TRAINER_FROM_STATE: return &tinker__kind_load_new;
  case TINKER_KIND_CREATE_SAMPLER: return &tinker__kind_create_sampling;
  default: return NULL;
  }
}

static void check_creation(tinker__call_t *c, const tinker__kind_t *kind,
                           const tinker_operation_request_t *q) {
  if (!q) {
    tinker__call_refuse(c, TINKER_EINVAL, "request is NULL");
    return;
  }
  want_number(c, "request.seq_id", q->seq_id, 0, INT64_MAX - 1);
  tinker__call_want(c, q->datums == 0, "request.datums", (double)q->datums,
                    "0");
  if (!q->request_id == !(q->body && q->body_len)) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "request has %s: want request_id or body",
                        q->request_id ? "both" : "neither");
  }
  if (!q->request_id) return;
  tinker__call_text(c, "request.request_id", q->request_id);
  if (!kind->request_type) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "request.request_id is set: want body, since the "
                        "service has no request ids for %s",
                        kind->name);
  }
}

/* The number is in the body, too, which is not read. */
static int fill_creation(tinker__op_t *op,
                         const tinker_operation_request_t *q) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__part_t *part = &op->parts[0];
  op->adopted = true;
  if (op->kind == &tinker__kind_create_sampling) {
    job->request.sampling.sampling_session_seq_id = q->seq_id;
  } else if (op->kind == &tinker__kind_load_new) {
    job->request.load.model_seq_id = q->seq_id;
  } else {
    job->request.create.model_seq_id = q->seq_id;
  }
  if (!q->request_id) return tinker__buf_add(&part->text, q->body, q->body_len);
  part->request_id = tinker__mem_strdup(op->mem, q->request_id);
  return part->request_id ? 0 : TINKER_ENOMEM;
}

tinker_future_t *
tinker_client_adopt_creation(tinker_client_t *client, tinker_kind_t kind,
                             const tinker_operation_request_t *request,
                             const tinker_call_options_t *call) {
  if (!client) return tinker__call_no_handle();
  tinker__call_t c;
  const tinker__kind_t *what = creation(kind);
  tinker__call_begin(&c, client, NULL,
                     what ? what : &tinker__kind_adopt_trainer, call);
  if (what) {
    check_creation(&c, what, request);
  } else {
    tinker__call_refuse(&c, TINKER_EINVAL,
                        "kind is %d, which is not a creation that can be "
                        "adopted",
                        (int)kind);
  }
  bool sampler = what == &tinker__kind_create_sampling;
  if (tinker__call_open(
          &c, sampler ? &tinker__result_sampler : &tinker__result_trainer, 1)) {
    tinker__call_check(&c, fill_creation(c.op, request));
  }
  return tinker__call_end(&c);
}

/* --- an operation --- */

typedef struct adoptable_s {
  const tinker__kind_t *kind;
  const tinker__future_ops_t *result;
  bool data; /* it may have several requests */
} adoptable_t;

static const adoptable_t *adoptable(tinker_kind_t kind) {
  static const adoptable_t all[] = {
      {&tinker__kind_forward, &tinker__result_forward, true},
      {&tinker__kind_forward_backward, &tinker__result_forward, true},
      {&tinker__kind_optim_step, &tinker__result_optim, false},
      {&tinker__kind_save_weights, &tinker__result_path, false},
      {&tinker__kind_load_weights, &tinker__result_none, false},
      {&tinker__kind_save_sampler, &tinker__result_path, false},
      {&tinker__kind_save_ephemeral, &tinker__result_ephemeral, false},
  };
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    if (all[i].kind->id == kind) return &all[i];
  }
  return NULL;
}

static void check_request(tinker__call_t *c,
                          const tinker_operation_request_t *all, size_t i) {
  const tinker_operation_request_t *q = &all[i];
  char name[64];
  tinker__why(name, sizeof name, 0, "requests[%zu].seq_id", i);
  want_number(c, name, q->seq_id, 1, NUMBERS_MAX);
  if (!q->request_id == !(q->body && q->body_len)) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "requests[%zu] has %s: want request_id or body", i,
                        q->request_id ? "both" : "neither");
  }
  if (!q->request_id != !all[0].request_id) {
    tinker__call_refuse(c, TINKER_EINVAL,
                        "requests[%zu] %s a request_id, requests[0] %s: want "
                        "one for all or for none",
                        i, q->request_id ? "has" : "has not",
                        q->request_id ? "has not" : "has");
  }
  if (q->request_id) tinker__call_text(c, "request_id", q->request_id);
}

static void check_requests(tinker__call_t *c, const adoptable_t *what,
                           const tinker_operation_request_t *requests,
                           size_t n) {
  if (!requests || n == 0) {
    tinker__call_refuse(c, TINKER_EINVAL, "requests: there are none");
  } else if (n > 1 && !what->data) {
    tinker__call_refuse(c, TINKER_EINVAL, "n is %zu: want 1 for %s", n,
                        what->kind->name);
  }
  for (size_t i = 0; i < n && !c->rc; i++) check_request(c, requests, i);
}

static int fill_part(tinker__part_t *part,
                     const tinker_operation_request_t *q) {
  part->seq = q->seq_id;
  if (!q->request_id) {
    return tinker__wire_body_given(&part->body,
                                   (tinker__str_t){q->body, q->body_len});
  }
  part->request_id = tinker__mem_strdup(part->op->mem, q->request_id);
  return part->request_id ? 0 : TINKER_ENOMEM;
}

static int fill(tinker__op_t *op, const tinker_operation_request_t *requests) {
  size_t first = 0;
  op->adopted = op->partial_ok = true;
  op->judged = requests[0].request_id != NULL;
  for (size_t i = 0; i < op->count; i++) {
    int rc = fill_part(&op->parts[i], &requests[i]);
    if (rc) return rc;
    op->parts[i].first = first;
    op->parts[i].datums = requests[i].datums;
    first += requests[i].datums;
  }
  return 0;
}

tinker_future_t *
tinker_trainer_adopt_operation(tinker_trainer_t *trainer, tinker_kind_t kind,
                               const tinker_operation_request_t *requests,
                               size_t n, const tinker_call_options_t *call) {
  if (!trainer) return tinker__call_no_handle();
  tinker__call_t c;
  const adoptable_t *what = adoptable(kind);
  tinker__call_begin(&c, trainer->core, trainer->turn,
                     what ? what->kind : &tinker__kind_adopt_trainer, call);
  if (!what) {
    tinker__call_refuse(&c, TINKER_EINVAL, "kind is %d, which can't be adopted",
                        (int)kind);
  } else {
    check_requests(&c, what, requests, n);
  }
  if (what && tinker__call_open(&c, what->result, n)) {
    tinker__call_check(&c, fill(c.op, requests));
  }
  /* It is not missing in the step: another client has called it. */
  if (c.rc) c.turn = NULL;
  return tinker__call_end(&c);
}
