/* Each allocation of a running service fails once, from the handler to the
 * stored result: the call is refused (and works when it is sent again), its
 * future tells the failure, or it succeeds. Nothing is told that is not so:
 * what succeeded, and only that, is in the weights, also after a restart. A
 * model that had no memory for a result goes through its log again and then
 * gives it; the service lives on. */
#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

#define MAX_SWEEP 2000
#ifdef SERVICE_FEW_RUNS
#define STRIDE 7
#else
#define STRIDE 1
#endif

typedef struct sweep_s sweep_t;

typedef struct {
  const char *route;
  bool future; /* the answer is a future */
  /* Body, capture and key of try n. */
  void (*make)(sweep_t *w, int n);
  /* After a try whose call succeeded (or not). NULL = nothing. */
  void (*after)(sweep_t *w, bool ok);
} kind_t;

struct sweep_s {
  rig_t rig;
  char session[80], model[120], other[120], sampler[120], checkpoint[200];
  int seq, models, samplers, samples;
  char applied[4 * MAX_SWEEP]; /* 'f' or 'o', in order */
  char body[2000], capture[120], key[40];
  int tries, refused, failed, parked;
  reply_t reply;
};

/* --- One try -------------------------------------------------------------- */

static void send_call(sweep_t *w, const kind_t *k) {
  rig_call(&w->rig, k->route, w->capture, *w->key ? w->key : NULL, w->body,
           &w->reply);
  if (w->reply.status == 204) w->reply.status = 200;
}

/* The timer's look, which counts the models that are tried again. A result that
 * was not stored takes no memory meanwhile, or others would wait for it. */
static void look_again(sweep_t *w) {
  tinker__svc_t *s = w->rig.s;
  tinker__svc_lock(s);
  TINKER__LIST_EACH(l, tmp, &s->parked) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, parked);
    w->parked++;
    if (m->rewinds) cr_assert_eq(atomic_load(&s->results.used), 0);
  }
  tinker__svc_ops_retry(s);
  tinker__svc_models_retry(s, INT64_MAX);
  tinker__svc_unlock(s);
}

/* The result of the future that w->reply names, into it. */
static void take_result(sweep_t *w) {
  char id[200], poll[300];
  rig_member(&w->reply, "request_id", id, sizeof id);
  snprintf(poll, sizeof poll, "{\"request_id\":\"%s\"}", id);
  for (int i = 0; i < 1000; i++) {
    rig_call(&w->rig, "POST api/v1/retrieve_future", NULL, NULL, poll,
             &w->reply);
    if (!strstr(w->reply.text, "try_again")) return;
    look_again(w);
  }
  cr_assert_fail("%s is pending for ever: %s", id, w->reply.text);
}

/* While the model is parked the call is refused. */
static void send_until_taken(sweep_t *w, const kind_t *k) {
  send_call(w, k);
  for (int i = 0; i < 100000 && w->reply.status == 503; i++) {
    look_again(w);
    sched_yield();
    send_call(w, k);
  }
}

/* Something waits for the timer's look. */
static bool is_waiting(sweep_t *w) {
  tinker__svc_t *s = w->rig.s;
  tinker__svc_lock(s);
  bool waits = !tinker__list_empty(&s->parked) || atomic_load(&s->postponed);
  tinker__svc_unlock(s);
  return waits;
}

/* Polls until the future has a result, or there will be none for now. */
static void poll_disturbed(sweep_t *w, const kind_t *k, int n) {
  char id[200], poll[300];
  static reply_t result;
  rig_member(&w->reply, "request_id", id, sizeof id);
  snprintf(poll, sizeof poll, "{\"request_id\":\"%s\"}", id);
  do {
    rig_call(&w->rig, "POST api/v1/retrieve_future", NULL, NULL, poll, &result);
    cr_assert(result.status == 200 || result.status >= 500, "%s %d: %d %s",
              k->route, n, result.status, result.text);
  } while (strstr(result.text, "try_again") && !is_waiting(w));
}

/* The call as a client does it, with the n-th allocation failing; true when
 * there were that many. */
static bool try_call(sweep_t *w, const kind_t *k, int n, bool *ok) {
  tinker__mem_t *mem = &w->rig.mem;
  uint64_t at = mem->count + (uint64_t)n;
  atomic_store(&mem->fail_at, at);
  send_call(w, k);
  if (w->reply.status == 200 && k->future) poll_disturbed(w, k, n);
  atomic_store(&mem->fail_at, 0);
  bool reached = mem->count >= at;
  if (w->reply.status != 200) {
    cr_assert(w->reply.status == 503 || w->reply.status == 500, "%s %d: %d %s",
              k->route, n, w->reply.status, w->reply.text);
    w->refused++;
    send_until_taken(w, k);
  }
  cr_assert_eq(w->reply.status, 200, "%s %d: %d %s", k->route, n,
               w->reply.status, w->reply.text);
  if (k->future) {
    take_result(w);
    cr_assert_eq(w->reply.status, 200, "%s %d: %d %s", k->route, n,
                 w->reply.status, w->reply.text);
  }
  cr_assert(!atomic_load(&w->rig.ended), "%s %d", k->route, n);
  *ok = !strstr(w->reply.text, "\"error\":");
  if (!*ok) {
    w->failed++;
    cr_assert_neq(strstr(w->reply.text, "\"category\":\"server\""), NULL,
                  "%s %d: %s", k->route, n, w->reply.text);
  }
  w->tries += reached;
  return reached;
}

static void sweep(sweep_t *w, const kind_t *k) {
  bool ok = false;
  int n = 1 - STRIDE;
  w->tries = w->refused = w->failed = w->parked = 0;
  do {
    n += STRIDE;
    cr_assert_lt(n, MAX_SWEEP);
    w->capture[0] = w->key[0] = 0;
    k->make(w, n);
    bool more = try_call(w, k, n, &ok);
    if (k->after) k->after(w, ok);
    if (!more) break;
  } while (true);
  cr_assert(ok, "%s: no failure, and yet %s", k->route, w->reply.text);
  fprintf(stderr, "%s: %d allocations, %d refused, %d failed, %d parked\n",
          k->route, w->tries, w->refused, w->failed, w->parked);
  cr_assert_geq(w->tries, 1);
}

/* --- The calls ------------------------------------------------------------ */

static void make_session(sweep_t *w, int n) {
  snprintf(w->body, sizeof w->body, "{\"user_metadata\":{\"n\":%d}}", n);
  snprintf(w->key, sizeof w->key, "key-%d", n);
}

static void make_finish(sweep_t *w, int n) {
  (void)n;
  rig_session(&w->rig, w->capture, sizeof w->capture);
  snprintf(w->body, sizeof w->body, "{\"reason\":{\"type\":\"success\"}}");
}

/* What was told to be finished is so after a restart: see the end. */
static char finished[MAX_SWEEP][120];
static int n_finished;

static void after_finish(sweep_t *w, bool ok) {
  if (ok) memcpy(finished[n_finished++], w->capture, 120);
}

static void make_heartbeat(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body, "{\"session_id\":\"%s\"}", w->session);
}

static void make_model(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"m\","
           "\"user_metadata\":{\"a\":\"b\"},\"lora_config\":{\"rank\":4}}",
           w->session, ++w->models);
}

static void make_load_new(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"path\":\"%s\","
           "\"optimizer\":true}",
           w->session, ++w->models, w->checkpoint);
}

static void make_load(sweep_t *w, int n) {
  (void)n;
  rig_model(&w->rig, w->session, ++w->models, w->other, sizeof w->other);
  snprintf(w->body, sizeof w->body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"%s\","
           "\"optimizer\":false}",
           w->other, w->checkpoint);
}

static void make_fb(sweep_t *w, int n) {
  (void)n;
  rig_fb_body(w->body, sizeof w->body, w->model, ++w->seq);
}

static void after_fb(sweep_t *w, bool ok) {
  w->applied[w->seq] = ok ? 'f' : '-';
}

static void make_optim(sweep_t *w, int n) {
  reply_t reply;
  if (n % 2) { /* gradients, sometimes */
    make_fb(w, n);
    rig_do(&w->rig, "POST api/v1/forward_backward", w->body, &reply);
    after_fb(w, true);
  }
  rig_optim_body(w->body, sizeof w->body, w->model, ++w->seq);
}

static void after_optim(sweep_t *w, bool ok) {
  w->applied[w->seq] = ok ? 'o' : '-';
}

static void make_save(sweep_t *w, int n) {
  snprintf(w->body, sizeof w->body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"c%d\","
           "\"overwrite\":true,\"user_metadata\":{\"a\":\"b\"}}",
           w->model, ++w->seq, n % 5);
}

static void after_save(sweep_t *w, bool ok) {
  (void)ok;
  w->applied[w->seq] = '-';
}

static void make_save_sampler(sweep_t *w, int n) {
  snprintf(w->body, sizeof w->body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"s%d\"}", w->model,
           ++w->seq, n);
}

static void make_save_ephemeral(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,"
           "\"sampling_session_seq_id\":%d}",
           w->model, ++w->seq, ++w->samplers);
}

static void make_sampler(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":%d,"
           "\"base_model\":\"m\"}",
           w->session, ++w->samplers);
}

static void after_sampler(sweep_t *w, bool ok) {
  if (ok) {
    rig_member(&w->reply, "sampling_session_id", w->sampler, sizeof w->sampler);
  }
}

static void make_sample(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"num_samples\":2,"
           "\"prompt\":{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":"
           "[1,2,3]}]},\"prompt_logprobs\":true,\"topk_prompt_logprobs\":2,"
           "\"sampling_params\":{\"max_tokens\":3,\"seed\":1,\"stop\":[]}}",
           w->sampler, ++w->samples);
}

/* A checkpoint of its own for each change. */
static void make_change(sweep_t *w, int n) {
  make_save(w, n);
  snprintf(w->body, sizeof w->body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"d%d\"}", w->model,
           w->seq, w->seq);
  rig_do(&w->rig, "POST api/v1/save_weights", w->body, &w->reply);
  after_save(w, true);
  snprintf(w->capture, sizeof w->capture, "%.100s/weights/d%d", w->model,
           w->seq);
  snprintf(w->body, sizeof w->body, "{\"ttl_seconds\":4000}");
}

static void make_empty(sweep_t *w, int n) {
  (void)n;
  w->body[0] = 0;
}

static void make_info(sweep_t *w, int n) {
  (void)n;
  snprintf(w->body, sizeof w->body, "{\"model_id\":\"%s\"}", w->model);
}

/* A run of its own for each mark. */
static void make_mark(sweep_t *w, int n) {
  (void)n;
  rig_model(&w->rig, w->session, ++w->models, w->other, sizeof w->other);
  snprintf(w->capture, sizeof w->capture, "%s", w->other);
  snprintf(w->body, sizeof w->body, "{\"reason\":\"a test\"}");
}

/* Nobody is told of a mark that is not there. */
static void after_mark(sweep_t *w, bool ok) {
  (void)ok;
  rig_call(&w->rig, "GET api/v1/training_runs/*", w->capture, NULL, "",
           &w->reply);
  cr_assert_neq(strstr(w->reply.text, "\"corrupted\":true"), NULL, "%s",
                w->reply.text);
}

static const kind_t kinds[] = {
    {"POST api/v1/create_session", false, make_session, NULL},
    {"POST api/v1/session_heartbeat", false, make_heartbeat, NULL},
    {"POST api/v1/create_model", true, make_model, NULL},
    {"POST api/v1/get_info", false, make_info, NULL},
    {"POST api/v1/forward_backward", true, make_fb, after_fb},
    {"POST api/v1/optim_step", true, make_optim, after_optim},
    {"POST api/v1/save_weights", true, make_save, after_save},
    {"POST api/v1/save_weights_for_sampler", true, make_save_sampler,
     after_save},
    {"POST api/v1/save_weights_for_sampler", true, make_save_ephemeral,
     after_save},
    {"POST api/v1/load_weights", true, make_load_new, NULL},
    {"POST api/v1/load_weights", true, make_load, NULL},
    {"POST api/v1/create_sampling_session", false, make_sampler, after_sampler},
    {"POST api/v1/asample", true, make_sample, NULL},
    {"PUT api/v1/training_runs/*/checkpoints/*/*/ttl", false, make_change,
     NULL},
    {"POST api/v1/training_runs/*/checkpoints/*/*/publish", false, make_change,
     NULL},
    {"DELETE api/v1/training_runs/*/checkpoints/*/*", false, make_change, NULL},
    {"POST _operator/training_runs/*/corrupted", false, make_mark, after_mark},
    {"GET api/v1/training_runs", false, make_empty, NULL},
    {"GET api/v1/checkpoints", false, make_empty, NULL},
    {"GET api/v1/get_server_capabilities", false, make_empty, NULL},
    {"POST api/v1/sessions/*/finish", false, make_finish, after_finish}};

/* --- What must hold at the end -------------------------------------------- */

/* The model's weights, as log-probs in a result. */
static void take_logprobs(const reply_t *reply, char *out, size_t len) {
  const char *at = strstr(reply->text, "\"logprobs\"");
  cr_assert_neq(at, NULL, "%s", reply->text);
  snprintf(out, len, "%.*s", (int)strcspn(at, "}"), at);
}

/* Log-probs that the model's weights give now. */
static void look(sweep_t *w, const char *model, int seq, char *out,
                 size_t len) {
  rig_fb_body(w->body, sizeof w->body, model, seq);
  rig_do(&w->rig, "POST api/v1/forward_backward", w->body, &w->reply);
  take_logprobs(&w->reply, out, len);
}

/* The calls that were told to have succeeded, on a model of their own. */
static void look_undisturbed(sweep_t *w, char *out, size_t len) {
  char id[120];
  int seq = 0;
  rig_model(&w->rig, w->session, ++w->models, id, sizeof id);
  for (int i = 1; i <= w->seq; i++) {
    if (w->applied[i] == 'f') {
      rig_fb_body(w->body, sizeof w->body, id, i);
      char *at = strstr(w->body, "\"seq_id\":"), rest[1500];
      snprintf(rest, sizeof rest, "%s", strchr(at, ','));
      snprintf(at, 1700, "\"seq_id\":%d%s", ++seq, rest);
      rig_do(&w->rig, "POST api/v1/forward_backward", w->body, &w->reply);
    } else if (w->applied[i] == 'o') {
      rig_optim_body(w->body, sizeof w->body, id, ++seq);
      rig_do(&w->rig, "POST api/v1/optim_step", w->body, &w->reply);
    }
  }
  look(w, id, ++seq, out, len);
}

static void check_finished(sweep_t *w) {
  for (int i = 0; i < n_finished; i++) {
    snprintf(w->body, sizeof w->body, "{\"session_id\":\"%.40s\"}",
             finished[i]);
    rig_call(&w->rig, "POST api/v1/session_heartbeat", NULL, NULL, w->body,
             &w->reply);
    cr_assert_eq(w->reply.status, 410, "session %d: %d %s", i, w->reply.status,
                 w->reply.text);
  }
}

Test(alloc, every_call, .timeout = 250) {
  static sweep_t w;
  char before[600], after[600], clean[600];
  rig_open(&w.rig);
  w.rig.s->config.poll_ms = 20;
  rig_session(&w.rig, w.session, sizeof w.session);
  rig_model(&w.rig, w.session, 0, w.model, sizeof w.model);
  make_save(&w, 9);
  rig_do(&w.rig, "POST api/v1/save_weights", w.body, &w.reply);
  after_save(&w, true);
  rig_member(&w.reply, "path", w.checkpoint, sizeof w.checkpoint);
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    sweep(&w, &kinds[i]);
  }
  look(&w, w.model, ++w.seq, before, sizeof before);
  rig_stop(&w.rig);
  rig_start(&w.rig);
  check_finished(&w);
  look(&w, w.model, ++w.seq, after, sizeof after);
  cr_assert_str_eq(before, after);
  w.applied[w.seq] = w.applied[w.seq - 1] = 0;
  look_undisturbed(&w, clean, sizeof clean);
  cr_assert_str_eq(before, clean);
  rig_close(&w.rig);
}
