/* Cancel, deadline, waiting, drain, close, lack of memory: every callback
 * exactly once. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "flow/internal.h"
#include "rig.h"

static void start(rig_t *rig, tinker_trainer_t **t) {
  rig_init(rig, NULL);
  cr_assert_eq(rig_client(rig), 0);
  *t = rig_trainer(rig);
}

static void park(rig_t *rig, const char *path) {
  script_expect(rig->script, TINKER__HTTP_POST, path,
                (script_reply_t){.delay_ms = -1});
}

/* Canceled in the queue: no number is spent, nothing is sent. */
Test(life, cancel_before_the_number) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen = {0};
  tinker_future_t *a, *b;
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.delay_ms = 100,
                       .body = "{\"request_id\":\"optim_step-1-0\"}"});
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &a);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      &b);
  rig_run(&rig);
  tinker_future_cancel(b);
  tinker_future_cancel(b);
  cr_assert_eq(seen.calls, 0);
  rig_run(&rig);
  cr_assert(seen.calls == 1 && seen.status == TINKER_ECANCELED);
  const tinker_error_t *e = tinker_future_error(b);
  cr_assert(!tinker_error_outcome_is_unknown(e));
  cr_assert(tinker_error_is_retriable(e));
  tinker_future_release(b);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &b);
  cr_assert_eq(tinker_future_wait(b, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 1)), 2);
  cr_assert_eq(tinker_future_status(a), 0);
  tinker_future_cancel(a); /* too late: nothing happens */
  rig_run(&rig);
  cr_assert_eq(tinker_future_status(a), 0);
  tinker_future_release(a);
  tinker_future_release(b);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Canceled after the numbers were taken: the waiting ends, all chunks are
 * still delivered, the next call gets the next number. */
Test(life, cancel_after_the_number) {
  rig_t rig;
  seen_t seen = {0};
  tinker_future_t *f, *g;
  rig_init(&rig, "{\"fwdbwd_max_chunk_len\":1}");
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  tinker_datum_t **batch = rig_batch(3, 3);
  script_expect(rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.status = 503, .body = "x"});
  calls_begun(tinker_trainer_forward_backward(
                  t, batch, 3, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
              &f);
  rig_run(&rig);
  tinker_future_cancel(f);
  rig_run(&rig);
  cr_assert(seen.calls == 1 && seen.status == TINKER_ECANCELED);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(f)));
  cr_assert_eq(rig_count(&rig, FB), 2u);
  fake_loop_advance(&rig.loop, 1000);
  cr_assert_eq(rig_count(&rig, FB), 4u); /* 2, 3, 2 again, 1 */
  cr_assert_eq(rig_seq(rig_request(&rig, FB, 3)), 1);
  cr_assert_eq(rig_polls(&rig, 1), 0u); /* nobody asks for results */
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &g);
  cr_assert_eq(tinker_future_wait(g, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 4);
  tinker_future_release(f);
  tinker_future_release(g);
  rig_batch_free(batch, 3);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(life, deadlines) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_call_options_t o;
  tinker_future_t *polling, *queued;
  start(&rig, &t);
  tinker_call_options_init(&o);
  o.timeout_ms = 5000;
  park(&rig, RETRIEVE);
  calls_begun(tinker_trainer_optim_step(t, NULL, &o), &polling);
  rig_run(&rig);
  int64_t start_ms = rig.loop.now_ms;
  cr_assert_eq(tinker_future_wait(polling, 1000), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_status(polling), TINKER_EAGAIN); /* goes on */
  cr_assert_eq(tinker_future_wait(polling, -1), TINKER_ETIMEDOUT);
  cr_assert_eq(rig.loop.now_ms - start_ms, 5000);
  cr_assert_eq(tinker_error_code(tinker_future_error(polling)),
               TINKER_ETIMEDOUT);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(polling)));
  cr_assert(strstr(tinker_error_message(tinker_future_error(polling)),
                   "its deadline of 5000 ms has passed"));
  tinker_future_release(polling);

  park(&rig, OPTIM); /* its turn does not come before the deadline */
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &polling);
  o.timeout_ms = 300;
  calls_begun(tinker_trainer_optim_step(t, NULL, &o), &queued);
  cr_assert_eq(tinker_future_wait(queued, -1), TINKER_ETIMEDOUT);
  cr_assert(!tinker_error_outcome_is_unknown(tinker_future_error(queued)));
  tinker_future_release(polling);
  tinker_future_release(queued);
  o.timeout_ms = -3;
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, &o), &queued),
               TINKER_EINVAL);
  tinker_trainer_release(t);
  rig_done(&rig);
}

typedef struct inside_s {
  tinker_trainer_t *trainer;
  tinker_future_t *other;
  int calls, wait_rc, submit_rc;
  seen_t next;
} inside_t;

static void do_much(tinker_future_t *f, int status, void *user) {
  inside_t *in = user;
  (void)f;
  (void)status;
  in->calls++;
  in->wait_rc = tinker_future_wait(in->other, -1);
  in->submit_rc =
      calls_begun(tinker_trainer_optim_step(
                      in->trainer, NULL, CALLS_WITH(NULL, rig_seen, &in->next)),
                  NULL);
  in->trainer = tinker_trainer_release(in->trainer);
}

/* In a callback everything is allowed but waiting for what runs. */
Test(life, inside_a_callback) {
  rig_t rig;
  inside_t in = {0};
  start(&rig, &in.trainer);
  calls_begun(tinker_trainer_optim_step(in.trainer, NULL,
                                        CALLS_WITH(NULL, do_much, &in)),
              NULL);
  park(&rig, SAVE);
  calls_begun(tinker_trainer_save_state(in.trainer, "x", NULL, NULL),
              &in.other);
  rig_run(&rig);
  cr_assert_eq(in.calls, 1);
  cr_assert_eq(in.wait_rc, TINKER_EDEADLK);
  cr_assert_eq(in.submit_rc, 0);
  tinker_future_release(in.other);
  rig_done(&rig);
  cr_assert(in.next.calls == 1 && in.next.status == TINKER_ECLOSED);
}

typedef struct order_s {
  int at, ops[8], closed, refused;
} order_t;
static order_t order;

static void note_op(tinker_future_t *f, int status, void *user) {
  (void)f;
  cr_assert_eq(status, TINKER_ECLOSED);
  order.ops[(intptr_t)user]++;
  order.at++;
}

static void note_closed(tinker_future_t *f, int status, void *user) {
  (void)user;
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_CLOSE);
  if (status == TINKER_ECLOSED) { /* the second close, which is refused */
    order.refused++;
    return;
  }
  cr_assert_eq(status, 0);
  cr_assert_eq(order.closed++, 0);
  cr_assert_eq(order.at, 6); /* after all others */
}

/* Operations in every state; close ends each once, then says so. */
Test(life, close_with_everything_pending) {
  rig_t rig;
  tinker_trainer_t *t, *u;
  tinker_future_t *quiet, *got;
  order = (order_t){0};
  start(&rig, &t);
  u = rig_trainer(&rig);
  tinker_sampler_t *s = rig_sampler(&rig);
  tinker_input_t *p = NULL;
  tinker_input_new(&p, NULL, NULL);
  tinker_input_add_tokens(p, (const int32_t[]){1}, 1, NULL);
  park(&rig, RETRIEVE);
  park(&rig, SAVE);
  park(&rig, ASAMPLE);
  script_expect(rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.status = 503});
  calls_begun(tinker_trainer_save_weights_for_sampler(
                  t, "p", NULL, CALLS_WITH(NULL, note_op, (void *)0)),
              NULL); /* polling */
  calls_begun(tinker_trainer_save_state(t, "a", NULL,
                                        CALLS_WITH(NULL, note_op, (void *)1)),
              NULL); /* posting */
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, note_op, (void *)2)),
      NULL); /* queued */
  calls_begun(
      tinker_sampler_sample(s, p, NULL, CALLS_WITH(NULL, note_op, (void *)3)),
      NULL);
  calls_begun(
      tinker_trainer_optim_step(u, NULL, CALLS_WITH(NULL, note_op, (void *)4)),
      NULL); /* resting */
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &quiet);
  rig_run(&rig);
  cr_assert_eq(calls_begun(tinker_client_close(
                               rig.client, CALLS_WITH(NULL, note_closed, NULL)),
                           NULL),
               0);
  cr_assert_eq(order.at, 0);
  cr_assert_eq(calls_begun(tinker_client_close(
                               rig.client, CALLS_WITH(NULL, note_closed, NULL)),
                           NULL),
               TINKER_ECLOSED);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                               t, NULL, CALLS_WITH(NULL, note_op, (void *)5)),
                           NULL),
               TINKER_ECLOSED);
  fake_loop_advance(&rig.loop, 2000);
  for (int i = 0; i < 6; i++) cr_assert_eq(order.ops[i], 1, "%d", i);
  cr_assert(order.closed == 1 && order.refused == 1);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), 0);
  cr_assert_eq(got, quiet);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), TINKER_ENOENT);
  tinker_input_release(p);
  tinker_sampler_release(s);
  tinker_trainer_release(u);
  /* Handles outlive the client: they answer, and refuse. */
  rig.client = tinker_client_release(rig.client);
  cr_assert_eq(tinker_future_wait(quiet, -1), TINKER_ECLOSED);
  tinker_future_cancel(quiet);
  cr_assert_str_eq(tinker_trainer_model_id(t), "s1:train:0");
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &got),
               TINKER_ECLOSED);
  tinker_future_release(quiet);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Drain: what was accepted ends well, the session is finished, then closed. */
/* A negative number is -1 or a mistake, wherever something is waited for. */
Test(life, limits_of_waiting) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f, *got;
  size_t at;
  start(&rig, &t);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  cr_assert_eq(tinker_shutdown(-2), TINKER_EINVAL);
  cr_assert_eq(tinker_shutdown(INT64_MIN), TINKER_EINVAL);
  cr_assert_eq(tinker_future_wait(f, -2), TINKER_EINVAL);
  cr_assert_eq(tinker_future_wait_any(&f, 1, -2, &at), TINKER_EINVAL);
  cr_assert_eq(tinker_future_wait_all(&f, 1, -2), TINKER_EINVAL);
  cr_assert_eq(tinker_client_next(rig.client, -2, &got), TINKER_EINVAL);
  cr_assert_eq(tinker_shutdown(0), 0);
  tinker_future_release(f);
  tinker_trainer_release(t);
  rig_done(&rig);
}

Test(life, drain) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t op = {0}, drained = {0}, again = {0}, refused = {0};
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.delay_ms = 3000,
                       .body = "{\"request_id\":\"optim_step-1-0\"}"});
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &op)),
      NULL);
  cr_assert_eq(calls_begun(tinker_client_drain(rig.client,
                                               CALLS_WITH(CALLS_TIMEOUT(60000),
                                                          rig_seen, &drained)),
                           NULL),
               0);
  cr_assert_eq(
      calls_begun(tinker_client_drain(rig.client, CALLS_WITH(CALLS_TIMEOUT(1),
                                                             rig_seen, &again)),
                  NULL),
      TINKER_ECLOSED);
  cr_assert_eq(calls_begun(tinker_trainer_optim_step(
                               t, NULL, CALLS_WITH(NULL, rig_seen, &refused)),
                           NULL),
               TINKER_ECLOSED);
  fake_loop_advance(&rig.loop, 2000);
  cr_assert(op.calls == 0 && drained.calls == 0);
  fake_loop_advance(&rig.loop, 2000);
  cr_assert(op.calls == 1 && op.status == 0 && drained.calls == 1);
  const script_request_t *q = rig_request(&rig, "api/v1/sessions/s1/finish", 0);
  cr_assert(q && strstr(q->body, "\"success\""));
  tinker_trainer_release(t);
  rig_done(&rig);
  cr_assert(again.calls == 1 && again.status == TINKER_ECLOSED);
  cr_assert(refused.calls == 1 && refused.status == TINKER_ECLOSED);
  cr_assert(drained.calls == 1 && drained.status == 0);
}

/* A limit beyond all time is none. */
Test(life, drain_with_the_largest_limit) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t op = {0}, drained = {0};
  start(&rig, &t);
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.delay_ms = 3000,
                       .body = "{\"request_id\":\"optim_step-1-0\"}"});
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &op)),
      NULL);
  cr_assert_eq(calls_begun(tinker_client_drain(
                               rig.client, CALLS_WITH(CALLS_TIMEOUT(INT64_MAX),
                                                      rig_seen, &drained)),
                           NULL),
               0);
  fake_loop_advance(&rig.loop, 2000);
  cr_assert(op.calls == 0 && drained.calls == 0);
  fake_loop_advance(&rig.loop, 2000);
  cr_assert(op.calls == 1 && op.status == 0 && drained.calls == 1);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* A drain that takes too long becomes a close; close also cuts one short. */
Test(life, drain_cut_short) {
  for (int by_close = 0; by_close < 2; by_close++) {
    rig_t rig;
    tinker_trainer_t *t;
    seen_t op = {0}, drained = {0}, closed = {0};
    start(&rig, &t);
    park(&rig, RETRIEVE);
    calls_begun(
        tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &op)),
        NULL);
    cr_assert_eq(calls_begun(tinker_client_drain(
                                 rig.client,
                                 CALLS_WITH(CALLS_TIMEOUT(by_close ? -1 : 700),
                                            rig_seen, &drained)),
                             NULL),
                 0);
    rig_run(&rig);
    if (by_close) {
      cr_assert_eq(
          calls_begun(tinker_client_close(rig.client,
                                          CALLS_WITH(NULL, rig_seen, &closed)),
                      NULL),
          0);
    }
    fake_loop_advance(&rig.loop, 3000);
    cr_assert(op.calls == 1 && op.status == TINKER_ECLOSED);
    cr_assert(drained.calls == 1 && closed.calls == by_close);
    cr_assert_eq(drained.status, by_close ? TINKER_ECLOSED : TINKER_ETIMEDOUT);
    const script_request_t *q =
        rig_request(&rig, "api/v1/sessions/s1/finish", 0);
    cr_assert(q && strstr(q->body, "\"interrupted\""));
    tinker_trainer_release(t);
    rig_done(&rig);
  }
}

/* Waits of a loop on which others are always faster: each ends early, and what
 * ended is gone. */
static struct {
  fake_loop_t *loop;
  int calls;
} robbed;

static int robbed_sleep(tinker__loop_t *loop, tinker__waiter_t *waiter,
                        bool (*ready)(void *user), void *user,
                        int64_t timeout_ms) {
  (void)loop;
  (void)waiter;
  (void)ready;
  (void)user;
  if (++robbed.calls == 10) return TINKER_EIO;
  if (timeout_ms < 60) return TINKER_ETIMEDOUT;
  robbed.loop->now_ms += 60;
  return 0;
}

/* The limit is one for all of the call, however often it has to wait anew. */
Test(life, next_keeps_its_limit) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f, *got;
  start(&rig, &t);
  park(&rig, OPTIM);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f);
  rig_run(&rig);
  const tinker__loop_ops_t *ops = rig.loop.base.ops;
  tinker__loop_ops_t other = *ops;
  other.sleep = robbed_sleep;
  rig.loop.base.ops = &other;
  robbed.loop = &rig.loop;
  cr_assert_eq(tinker_client_next(rig.client, 100, &got), TINKER_EAGAIN);
  cr_assert_eq(robbed.calls, 2);
  rig.loop.base.ops = ops;
  tinker_future_release(f);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* The form without callbacks: ended operations one by one, then none. */
Test(life, next) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *f[3], *got;
  start(&rig, &t);
  cr_assert_eq(tinker_client_next(rig.client, -1, &got), TINKER_ENOENT);
  for (int i = 0; i < 3; i++) {
    calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f[i]);
  }
  tinker_future_release(f[1]); /* nobody holds it: it is not listed */
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(tinker_client_next(rig.client, 10000, &got), 0);
    cr_assert_eq(got, f[2 * i]);
    cr_assert_eq(tinker_future_status(got), 0);
    tinker_future_release(got);
  }
  cr_assert_eq(tinker_client_next(rig.client, -1, &got), TINKER_ENOENT);
  tinker_future_release(f[0]);
  tinker_future_release(f[2]);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* The session can't be made: everybody who waits is told why, and the next
 * call tries again. */
Test(life, no_session) {
  rig_t rig;
  tinker_trainer_options_t o;
  seen_t seen[2] = {{0}};
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  script_expect(
      rig.script, TINKER__HTTP_POST, "api/v1/client/config",
      (script_reply_t){.status = 401, .body = "{\"detail\":\"who are you\"}"});
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  for (int i = 0; i < 2; i++) {
    calls_begun(tinker_client_create_trainer(
                    rig.client, &o, CALLS_WITH(NULL, rig_seen, &seen[i])),
                NULL);
  }
  fake_loop_advance(&rig.loop, 1000);
  for (int i = 0; i < 2; i++) {
    cr_assert(seen[i].calls == 1 && seen[i].status < 0);
  }
  tinker_trainer_release(rig_trainer(&rig));
  rig_done(&rig);
}

/* The only call that waits for the session gives up, and another one comes: the
 * session is asked for once, and the second call goes through. */
Test(life, another_call_waits_for_the_session, .timeout = 10) {
  rig_t rig;
  tinker_future_t *first, *second;
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  script_expect(rig.script, TINKER__HTTP_POST, "api/v1/client/config",
                (script_reply_t){.delay_ms = 500, .body = "{}"});
  first = tinker_client_create_sampler(rig.client, "tiny", NULL);
  rig_run(&rig);
  tinker_future_cancel(first);
  rig_run(&rig);
  cr_assert_eq(tinker_future_status(first), TINKER_ECANCELED);
  second = tinker_client_create_sampler(rig.client, "tiny", NULL);
  cr_assert_eq(tinker_future_wait(second, 60000), 0);
  cr_assert_eq(rig_count(&rig, "api/v1/create_session"), 1u);
  tinker_future_release(first);
  tinker_future_release(second);
  rig_done(&rig);
}

/* What holds operations up is said after two seconds and then every thirty, on
 * the delivery thread. */
Test(life, log) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen = {0};
  start(&rig, &t);
  for (int i = 0; i < 5; i++) {
    script_expect(
        rig.script, TINKER__HTTP_POST, RETRIEVE,
        (script_reply_t){.delay_ms = 30000,
                         .body = "{\"type\":\"try_again\",\"request_id\":\"x\","
                                 "\"queue_state\":\"paused_capacity\"}"});
  }
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      NULL);
  fake_loop_advance(&rig.loop, 200000);
  cr_assert_eq(seen.calls, 1);
  cr_assert_eq(rig.log_lines, 4); /* at 32, 62, 92 and 122 s */
  cr_assert_str_eq(rig.log_line,
                   "flow: #2 optim_step: held for 92 s: the service is short "
                   "of capacity, please wait");
  script_expect(rig.script, TINKER__HTTP_POST, "api/v1/sessions/s1/finish",
                (script_reply_t){.status = 404, .body = "gone"});
  tinker_trainer_release(t);
  rig_done(&rig);
  cr_assert_eq(rig.log_lines, 5);
  cr_assert(strstr(rig.log_line, "session could not be finished"));
}

static void let_go(tinker_future_t *f, int status, void *user) {
  rig_t *rig = user;
  (void)f;
  (void)status;
  rig->client = tinker_client_release(rig->client);
}

Test(life, released_in_a_callback) {
  rig_t rig;
  tinker_trainer_t *t;
  start(&rig, &t);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, let_go, &rig)), NULL);
  fake_loop_advance(&rig.loop, 3000);
  cr_assert_null(rig.client);
  tinker_trainer_release(t);
  rig_done(&rig);
}

/* Each allocation fails in turn: no leak, no lost or second callback, and what
 * a call returned is what happens. */
typedef struct scene_s {
  seen_t seen[6];
  int rc[6];
} scene_t;

static void play(rig_t *rig, scene_t *scene) {
  tinker_trainer_options_t o;
  tinker_trainer_t *t = NULL;
  tinker_sampler_t *s = NULL;
  tinker_future_t *f = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  for (int i = 0; i < 6; i++) scene->rc[i] = 1; /* not called */
  scene->rc[0] = calls_begun(
      tinker_client_create_trainer(rig->client, &o,
                                   CALLS_WITH(NULL, rig_seen, &scene->seen[0])),
      &f);
  fake_loop_advance(&rig->loop, 400000);
  if (!scene->rc[0]) tinker_future_get_trainer(f, &t);
  tinker_future_release(f);
  if (!t) return;
  tinker_datum_t **batch = rig_batch(3, 3);
  scene->rc[1] = calls_begun(
      tinker_trainer_forward_backward(
          t, batch, 3, NULL, CALLS_WITH(NULL, rig_seen, &scene->seen[1])),
      NULL);
  scene->rc[2] =
      calls_begun(tinker_trainer_optim_step(
                      t, NULL, CALLS_WITH(NULL, rig_seen, &scene->seen[2])),
                  NULL);
  scene->rc[3] =
      calls_begun(tinker_trainer_create_sampler(
                      t, CALLS_WITH(NULL, rig_seen, &scene->seen[3])),
                  &f);
  fake_loop_advance(&rig->loop, 400000);
  if (!scene->rc[3]) {
    tinker_future_get_sampler(f, &s);
    tinker_future_release(f);
  }
  if (s) {
    tinker_input_t *p = NULL;
    tinker_input_new(&p, NULL, NULL);
    tinker_input_add_tokens(p, (const int32_t[]){1}, 1, NULL);
    scene->rc[4] = calls_begun(
        tinker_sampler_sample(s, p, NULL,
                              CALLS_WITH(NULL, rig_seen, &scene->seen[4])),
        NULL);
    scene->rc[5] = calls_begun(
        tinker_client_get_capabilities(
            rig->client, CALLS_WITH(NULL, rig_seen, &scene->seen[5])),
        NULL);
    tinker_input_release(p);
  }
  fake_loop_advance(&rig->loop, 400000);
  rig_batch_free(batch, 3);
  tinker_sampler_release(s);
  tinker_trainer_release(t);
}

Test(life, memory_sweep, .timeout = 60) {
  uint64_t n = 1, made = 0;
  for (bool failed = true; failed; n++) {
    rig_t rig;
    scene_t scene = {.rc = {0}};
    rig_init(&rig, "{\"fwdbwd_max_chunk_len\":2}");
    rig.mem.fail_at = n;
    int rc = rig_client(&rig);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM, "%llu: %d", (unsigned long long)n,
              rc);
    if (rc == 0) play(&rig, &scene);
    made = atomic_load(&rig.mem.count);
    failed = n <= made;
    if (rc == 0) {
      rig_done(&rig);
    } else {
      rig_drop(&rig);
    }
    for (int i = 0; i < 6 && rc == 0; i++) {
      cr_assert_eq(scene.seen[i].calls, scene.rc[i] == 0, "%llu: call %d",
                   (unsigned long long)n, i);
      cr_assert(scene.rc[i] >= 0 || scene.rc[i] == TINKER_ENOMEM ||
                    scene.rc[i] == TINKER_EFATAL,
                "%llu: call %d: %d", (unsigned long long)n, i, scene.rc[i]);
      if (!failed) cr_assert(scene.rc[i] == 0 && scene.seen[i].status == 0);
    }
  }
  cr_assert_gt(made, 50u);
}

typedef struct bug_s {
  tinker__task_t task;
  tinker__flow_t *flow;
} bug_t;

static void have_bug(tinker__task_t *task) {
  tinker__flow_t *flow = TINKER__CONTAINER(task, bug_t, task)->flow;
  tinker__op_t *op = TINKER__CONTAINER(flow->ops.next, tinker__op_t, all);
  tinker__op_on(op, TINKER__ON_STEP);
  tinker__flow_tick(flow, flow->now_ms);
}

/* What only a bug could bring about, on the loop's thread. */
static void impossible(rig_t *rig) {
  bug_t bug = {.flow = &rig->client->flow};
  tinker__task_init(&bug.task, have_bug);
  tinker__loop_post(rig->on, &bug.task);
  rig_run(rig);
}

#if TINKER_TEST_ASSERTS
Test(life, a_bug_stops_a_build_with_assertions, .signal = SIGABRT) {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_future_t *a;
  start(&rig, &t);
  park(&rig, OPTIM);
  calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &a);
  rig_run(&rig);
  impossible(&rig);
}
#else
/* The operation ends with an error, what is queued after it too, and the log
 * says why. Nothing hangs, nothing is sent under a later number. */
Test(life, a_bug_ends_the_operation_and_its_trainer) {
  rig_t rig;
  tinker_trainer_t *t;
  seen_t seen = {0}, late = {0};
  tinker_future_t *a, *b;
  start(&rig, &t);
  park(&rig, OPTIM);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &seen)),
      &a);
  calls_begun(
      tinker_trainer_optim_step(t, NULL, CALLS_WITH(NULL, rig_seen, &late)),
      &b);
  rig_run(&rig);
  impossible(&rig);
  cr_assert(seen.calls == 1 && seen.status == TINKER_EINTERNAL);
  const tinker_error_t *e = tinker_future_error(a);
  cr_assert_str_eq(tinker_error_message(e),
                   "optim_step is sending and can't take \"step\": a bug of "
                   "this library");
  cr_assert(strstr(rig.log_line, tinker_error_message(e)));
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert(tinker_error_is_fatal(e));
  cr_assert(late.calls == 1 && late.status == TINKER_EFATAL);
  cr_assert_eq(rig_count(&rig, OPTIM), 1u);
  tinker_future_release(a);
  tinker_future_release(b);
  tinker_trainer_release(t);
  rig_done(&rig);
}
#endif
