/* What comes while the service ends, over connections that were open before. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "rig.h"
#include "service/calls/calls.h"
#include "service/fault/fault.h"

static void begin_stop(rig_t *rig) {
  pthread_mutex_lock(&rig->s->lock);
  rig->s->stopping = true;
  pthread_mutex_unlock(&rig->s->lock);
}

static void arrives(rig_t *rig, const char *body, tinker__svc_filtered_t next) {
  static reply_t reply;
  rig_pending_t *p =
      rig_request(rig, "POST api/v1/session_heartbeat", NULL, body);
  tinker__svc_filtered_t seen = tinker__svc_fault_filter.arrive(rig_req(p));
  cr_assert_eq(seen, next, "%d", (int)seen);
  rig_wait(rig, p, &reply); /* not suspended, in no list */
}

/* A request that were held now would never be let go. */
Test(stop, nothing_is_held) {
  static rig_t rig;
  char plan[] = "/tmp/tinker-plan-XXXXXX", session[80], body[200];
  FILE *f = fdopen(mkstemp(plan), "w");
  fputs("{\"rules\":[{\"act\":\"delay\",\"ms\":1000000,\"nth\":1},"
        "{\"act\":\"hang\",\"nth\":1},{\"act\":\"reorder\",\"nth\":1},"
        "{\"act\":\"session_gone\",\"nth\":1}]}",
        f);
  fclose(f);
  rig_open(&rig);
  rig_stop(&rig);
  rig.faults = plan;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  begin_stop(&rig);
  arrives(&rig, body, TINKER__FILTER_GO);
  arrives(&rig, body, TINKER__FILTER_CLOSE);
  arrives(&rig, body, TINKER__FILTER_GO);
  arrives(&rig, body, TINKER__FILTER_GO);
  rig_stop(&rig);
  rig.faults = NULL;
  unlink(plan);
  static reply_t reply; /* the session has not ended either */
  rig_start(&rig);
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}

/* The operator is not told that a run is marked when it is not. */
Test(stop, marks_of_the_operator) {
  static rig_t rig;
  static reply_t reply;
  const char *route = "POST _operator/training_runs/*/corrupted";
  char session[80], model[120];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_refuse(&rig, "UPDATE OF broken ON models");
  rig_call(&rig, route, model, NULL, "{\"reason\":\"x\"}", &reply);
  cr_assert_eq(reply.status, 503, "%d %s", reply.status, reply.text);
  rig_stop(&rig);
  rig_start(&rig);
  begin_stop(&rig);
  rig_call(&rig, route, model, NULL, "{\"reason\":\"x\"}", &reply);
  cr_assert_eq(reply.status, 503, "%d %s", reply.status, reply.text);
  rig_close(&rig);
}

static rig_t *marked;
static atomic_int passes;

/* The operator is quicker than the pass, which has more steps to do. */
static int step_and_mark(tinker__eng_pass_t *p, const atomic_bool *cancel,
                         char *why, size_t why_len) {
  tinker__svc_t *s = marked->s;
  tinker__svc_model_t *m = TINKER__CONTAINER(tinker__list_first(&s->models),
                                             tinker__svc_model_t, link);
  int rc = tinker__cpu_engine()->pass_step(p, cancel, why, why_len);
  atomic_fetch_add(&passes, 1);
  pthread_mutex_lock(&s->lock);
  tinker__svc_model_break(m, "marked");
  pthread_mutex_unlock(&s->lock);
  return rc < 0 ? rc : 1;
}

static void count_end(tinker__eng_pass_t *p) {
  atomic_fetch_sub(&passes, 1);
  tinker__cpu_engine()->pass_end(p);
}

/* A pass that is given up is ended before its data goes. */
Test(stop, a_mark_within_a_pass) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  rig_open(&rig);
  rig_stop(&rig);
  marked = &rig;
  rig.api.pass_step = step_and_mark;
  rig.api.pass_end = count_end;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_fb_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  cr_assert_neq(strstr(reply.text, "can't go on: marked"), NULL, "%s",
                reply.text);
  cr_assert_eq(atomic_load(&passes), 0);
  rig_close(&rig);
}

/* --- In the middle of the engine's work ----------------------------------- */

static atomic_int inside;

/* As if there were no end to it, but for who asks to halt. */
static void endless(const atomic_bool *cancel) {
  atomic_fetch_add(&inside, cancel ? 1 : 100);
  while (cancel && !atomic_load(cancel)) {
  }
}

static int endless_step(tinker__eng_pass_t *p, const atomic_bool *cancel,
                        char *why, size_t why_len) {
  endless(cancel);
  return tinker__cpu_engine()->pass_step(p, cancel, why, why_len);
}

static int endless_decode(tinker__engine_t *e,
                          const tinker__eng_decode_item_t *items, size_t n,
                          const atomic_bool *cancel, char *why,
                          size_t why_len) {
  endless(cancel);
  return tinker__cpu_engine()->decode(e, items, n, cancel, why, why_len);
}

/* Sends it, stops when the engine is in it, and starts with a better one. */
static void interrupt(rig_t *rig, const char *route, const char *body,
                      reply_t *reply) {
  char id[200];
  atomic_store(&inside, 0);
  rig_call(rig, route, NULL, NULL, body, reply);
  cr_assert_eq(reply->status, 200, "%s", reply->text);
  rig_member(reply, "request_id", id, sizeof id);
  while (!atomic_load(&inside)) {
  }
  rig_stop(rig);
  rig->api = *tinker__cpu_engine();
  rig_start(rig);
  cr_assert_eq(atomic_load(&inside), 1, "it was not halted");
  rig_result(rig, id, reply);
  cr_assert_eq(reply->status, 200, "%s", reply->text);
}

/* What the engine is in is given up, and done at the next start. */
Test(stop, halts_the_engine, .timeout = 60) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], sampler[120], body[600];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  rig_stop(&rig);
  rig.api.pass_step = endless_step;
  rig_start(&rig);
  rig_fb_body(body, sizeof body, model, 1);
  interrupt(&rig, "POST api/v1/forward_backward", body, &reply);
  cr_assert_neq(strstr(reply.text, "loss:sum"), NULL, "%s", reply.text);

  rig_stop(&rig);
  rig.api.decode = endless_decode;
  rig.api.pick = NULL; /* every round calls decode */
  rig_start(&rig);
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":0,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1]}]},"
           "\"sampling_params\":{\"max_tokens\":9}}",
           sampler);
  interrupt(&rig, "POST api/v1/asample", body, &reply);
  cr_assert_neq(strstr(reply.text, "\"sequences\""), NULL, "%s", reply.text);
  rig_close(&rig);
}
