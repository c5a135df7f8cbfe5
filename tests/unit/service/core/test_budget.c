/* One bound for all memory: its parts, and what is refused, or waits, when a
 * part of requests is full. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], model[120], sampler[120], body[900];

static uint64_t of_requests(const tinker__svc_t *s) {
  return TINKER__BODY_FACTOR * (uint64_t)atomic_load(&s->max_bodies) +
         s->max_held + atomic_load(&s->logs.limit) +
         atomic_load(&s->results.limit) + atomic_load(&s->replies.limit);
}

static uint64_t of_all(const tinker__svc_t *s) {
  uint64_t sum = of_requests(s) + s->slots.limit + atomic_load(&s->train_limit);
  for (size_t i = 0; i < s->n_bases; i++) sum += s->bases[i].bytes;
  return sum;
}

/* Nothing of it is promised twice, and nothing but what rounding loses is left
 * over. */
Test(budget, parts_of_one_bound) {
  static const int64_t bounds[] = {100 << 20, 600 << 20, (int64_t)3 << 30,
                                   (int64_t)64 << 30};
  rig_open(&rig);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
    rig_stop(&rig);
    rig.max_memory = bounds[i];
    rig_start(&rig);
    uint64_t sum = of_all(rig.s), bound = (uint64_t)bounds[i];
    cr_assert(sum <= bound + 2 && sum > bound - 100, "%" PRIu64 " of %" PRIu64,
              sum, bound);
    cr_assert_leq(of_requests(rig.s), bound / 4);
    /* The largest result can be sent as JSON. */
    cr_assert_leq(TINKER__JSON_FACTOR * (uint64_t)rig.s->max_result,
                  atomic_load(&rig.s->replies.limit));
  }
  cr_assert_eq(rig.s->max_bodies, (size_t)4 * (64 << 20));
  rig_close(&rig);
}

Test(budget, shares) {
  tinker__svc_share_t p = {.limit = 100};
  cr_assert(tinker__svc_share_take(&p, 60, false));
  cr_assert_not(tinker__svc_share_take(&p, 41, true));
  cr_assert(tinker__svc_share_take(&p, 40, false));
  cr_assert_not(tinker__svc_share_take(&p, 1, true));
  tinker__svc_share_give(&p, 100);
  cr_assert_not(tinker__svc_share_take(&p, 101, false));
  cr_assert(tinker__svc_share_take(&p, 101, true));
  cr_assert_not(tinker__svc_share_take(&p, UINT64_MAX, true));
  tinker__svc_share_give(&p, 101);
  cr_assert_eq(atomic_load(&p.used), 0);
}

static void open_all(void) {
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_sampler(&rig, session, sampler, sizeof sampler);
}

/* 3 tokens, 5 entries each, 8 bytes twice, and 3 of the prompt. */
#define PRICE ((3 * 5 + 3) * 8 * 2)

static void send_sample(int seq) {
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"num_samples\":1,"
           "\"prompt\":{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":"
           "[1,2,3]}]},\"prompt_logprobs\":true,\"topk_sample_logprobs\":5,"
           "\"sampling_params\":{\"max_tokens\":3,\"seed\":1,\"stop\":[]}}",
           sampler, seq);
  rig_call(&rig, "POST api/v1/asample", NULL, NULL, body, &reply);
}

static void expect(int status, const char *words) {
  cr_assert_eq(reply.status, status, "%d %s", reply.status, reply.text);
  cr_assert_neq(strstr(reply.text, words), NULL, "%s", reply.text);
}

Test(budget, results_of_samples) {
  char words[120];
  open_all();
  tinker__svc_share_t *p = &rig.s->results;
  atomic_store(&p->limit, PRICE - 1);
  send_sample(0);
  snprintf(words, sizeof words,
           "needs %d bytes of memory, %d are there for results", PRICE,
           PRICE - 1);
  expect(400, words);
  atomic_store(&p->limit, PRICE + 99);
  tinker__svc_share_add(p, 100);
  send_sample(0);
  snprintf(words, sizeof words,
           "needs %d bytes of memory for its result, others use 100 of %d",
           PRICE, PRICE + 99);
  expect(503, words);
  tinker__svc_share_give(p, 100);
  send_sample(0);
  expect(200, "request_id");
  char id[200];
  rig_member(&reply, "request_id", id, sizeof id);
  rig_result(&rig, id, &reply);
  expect(200, "sequences");
  tinker__svc_lock(rig.s); /* its commit gives it back under the lock */
  cr_assert_eq(atomic_load(&p->used), 0);
  tinker__svc_unlock(rig.s);
  rig_close(&rig);
}

static void send_pass(int seq) {
  rig_fb_body(body, sizeof body, model, seq);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, body, &reply);
}

/* Three tokens: log-probs and losses. */
Test(budget, results_of_passes) {
  open_all();
  uint64_t limit = atomic_load(&rig.s->results.limit);
  atomic_store(&rig.s->results.limit, 46);
  send_pass(1);
  expect(400, "the result has 24 bytes, there is memory for 23");
  atomic_store(&rig.s->results.limit, limit);
  send_pass(2);
  expect(200, "request_id");
  rig_close(&rig);
}

static void poll(const char *owner, int seq) {
  snprintf(body, sizeof body, "{\"request_id\":\"%s:%d\"}", owner, seq);
  rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
}

static void until(const char *words) {
  for (int i = 0; i < 300; i++) {
    poll(model, 1);
    if (strstr(reply.text, words)) return;
    tinker__svc_lock(rig.s);
    tinker__svc_models_retry(rig.s, INT64_MAX);
    tinker__svc_unlock(rig.s);
  }
  cr_assert_fail("never %s: %s", words, reply.text);
}

/* New results wait until those before them are stored. */
Test(budget, passes_wait_for_results) {
  open_all();
  tinker__svc_share_t *p = &rig.s->results;
  uint64_t limit = atomic_load(&p->limit);
  tinker__svc_share_add(p, limit - 23);
  send_pass(1);
  expect(200, "request_id");
  until("waiting for memory: needs 24 bytes");
  tinker__svc_share_give(p, limit - 23);
  until("logprobs");
  cr_assert_eq(atomic_load(&p->used), 0);
  rig_close(&rig);
}

/* So do calls whose bodies are in the log alone. */
Test(budget, bodies_of_the_log_wait) {
  open_all();
  tinker__svc_share_t *p = &rig.s->logs;
  rig.s->max_held = 0;
  tinker__svc_share_add(p, atomic_load(&p->limit));
  send_pass(1);
  expect(200, "request_id");
  until("for bodies from the log");
  tinker__svc_share_give(p, atomic_load(&p->limit));
  until("logprobs");
  cr_assert_eq(atomic_load(&p->used), 0);
  rig_close(&rig);
}

Test(budget, replies) {
  open_all();
  tinker__svc_share_t *p = &rig.s->replies;
  send_pass(1);
  until("logprobs");
  rig.s->large = 10;
  tinker__svc_share_add(p, atomic_load(&p->limit));
  poll(model, 1);
  expect(503, "bytes of memory for the result, others use");
  tinker__svc_share_give(p, atomic_load(&p->limit));
  poll(model, 1);
  expect(200, "logprobs");
  cr_assert_eq(atomic_load(&p->used), 0);
  rig_close(&rig);
}

/* What a body has become counts, too; alone it is let in. */
Test(budget, decoded_bodies) {
  static char large[20000];
  open_all();
  atomic_store(&rig.s->max_bodies, 5000);
  rig_fb_body(large, sizeof large, model, 1);
  memset(large + strlen(large), ' ', sizeof large - strlen(large) - 1);
  atomic_store(&rig.s->body_bytes, 99);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, large, &reply);
  expect(503, "may hold 5000 bytes together, and hold 99");
  atomic_store(&rig.s->body_bytes, 0);
  rig_do(&rig, "POST api/v1/forward_backward", large, &reply);
  cr_assert_eq(atomic_load(&rig.s->body_bytes), 0);
  rig_close(&rig);
}
