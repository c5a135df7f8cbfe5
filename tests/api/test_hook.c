/* The program's journal and fence: what they hear, and what their answers do.
 * Times are the fake loop's; on real threads nothing is timed. */
#include "base/digest.h"
#include "journal.h"

#define SESSION "api/v1/create_session"

/* --- hearing --- */

/* From the session to its end, in order, and nothing that is no mutation. */
Test(hook, hears_every_mutation) {
  journal_t j;
  open_journal(&j, on_fake_loop);
  j.trainer = rig_trainer(&j.rig);
  heard(&j, "create_session? =0 create_trainer? +0:create_model-9999-0 =0");
  cr_assert(j.next_model == 1 && j.next_sampling == 0);
  cr_assert_eq(code_of(forward(&j, 1)), 0);
  heard(&j, "forward_backward?1 +0:forward_backward-1-1 =0");
  cr_assert_eq(code_of(tinker_trainer_optim_step(j.trainer, NULL, NULL)), 0);
  heard(&j, "optim_step?2 +0:optim_step-2-0 =0");
  tinker_sampler_t *s = rig_sampler(&j.rig);
  heard(&j, "create_sampler? =0");
  cr_assert(j.next_model == 1 && j.next_sampling == 1);
  tinker_input_t *prompt;
  int32_t token = 1;
  cr_assert_eq(tinker_input_from_tokens(&prompt, &token, 1, NULL, NULL), 0);
  cr_assert_eq(code_of(tinker_sampler_sample(s, prompt, NULL, NULL)), 0);
  cr_assert_eq(code_of(tinker_trainer_get_info(j.trainer, NULL)), 0);
  heard(&j, "");
  tinker_input_release(prompt);
  tinker_sampler_release(s);
  cr_assert_eq(code_of(tinker_client_close(j.rig.client, NULL)), 0);
  heard(&j, "finish_session? =0");
  end(&j);
}

/* The bytes that it sees, and their hash, are those that are sent. */
Test(hook, sees_the_bytes) {
  journal_t j;
  unsigned char sha256[32];
  begin(&j);
  cr_assert_eq(code_of(forward(&j, 2)), 0);
  const script_request_t *q = rig_request(&j.rig, FB, 0);
  cr_assert(q->body_len == j.body_len && !memcmp(q->body, j.body, j.body_len));
  cr_assert_eq(tinker__sha256(q->body, q->body_len, sha256), 0);
  cr_assert(!memcmp(sha256, j.sha256, sizeof sha256));
  end(&j);
}

/* --- answering --- */

/* A veto ends the operation, and its number goes to the next one. */
Test(hook, a_veto_spends_no_number) {
  journal_t j;
  begin(&j);
  j.refuse = "save_state";
  fails(tinker_trainer_save_state(j.trainer, "a", NULL, NULL), TINKER_ESTATE,
        "save_state was not sent: the journal refused it: the disk is full");
  cr_assert_eq(rig_count(&j.rig, SAVE), 0u);
  heard(&j, "save_state?1 -");
  cr_assert_eq(code_of(forward(&j, 1)), 0);
  heard(&j, "forward_backward?1 +0:forward_backward-1-1 =0");
  end(&j);
}

/* An answer that is not there yet holds its own trainer up, nothing else. */
Test(hook, a_late_answer_delays_one_trainer) {
  journal_t j;
  begin(&j);
  tinker_trainer_t *other = rig_trainer(&j.rig);
  j.heard[0] = 0;
  j.keep = true;
  tinker_future_t *a = tinker_trainer_optim_step(j.trainer, NULL, NULL);
  tinker_future_t *b = tinker_trainer_optim_step(j.trainer, NULL, NULL);
  rig_run(&j.rig);
  heard(&j, "optim_step?1"); /* b is not asked about before a went */
  j.keep = false;
  cr_assert_eq(code_of(tinker_trainer_optim_step(other, NULL, NULL)), 0);
  cr_assert_eq(code_of(tinker_trainer_get_info(j.trainer, NULL)), 0);
  fake_loop_advance(&j.rig.loop, 1000);
  cr_assert_eq(rig_count(&j.rig, OPTIM), 1u);
  j.heard[0] = 0;
  cr_assert_eq(
      tinker_admission_answer(j.rig.client, j.kept[0], TINKER_VERDICT_GO, NULL),
      0);
  cr_assert_eq(code_of(a), 0);
  cr_assert_eq(code_of(b), 0);
  heard(&j, "+0:optim_step-1-0 optim_step?2 =0 +0:optim_step-2-0 =0");
  tinker_trainer_release(other);
  end(&j);
}

/* Canceled while its answer is awaited: it is withdrawn, and an answer comes
 * too late. */
Test(hook, a_cancel_withdraws) {
  journal_t j;
  begin(&j);
  j.keep = true;
  tinker_future_t *f = tinker_trainer_save_state(j.trainer, "a", NULL, NULL);
  rig_run(&j.rig);
  tinker_future_cancel(f);
  cr_assert_eq(code_of(f), TINKER_ECANCELED);
  heard(&j, "save_state?1 -");
  cr_assert_eq(
      tinker_admission_answer(j.rig.client, j.kept[0], TINKER_VERDICT_GO, NULL),
      TINKER_ENOENT);
  j.keep = false;
  cr_assert_eq(code_of(tinker_trainer_save_state(j.trainer, "b", NULL, NULL)),
               0);
  heard(&j, "save_state?1 +0:save_weights-1-0 =0");
  end(&j);
}

/* Nobody waits for it any more: its result is asked for all the same. */
Test(hook, results_without_a_caller) {
  journal_t j;
  begin(&j);
  script_expect(
      j.rig.script, TINKER__HTTP_POST, RETRIEVE,
      (script_reply_t){.delay_ms = 500, .body = "{\"type\":\"try_again\"}"});
  tinker_future_t *f = tinker_trainer_save_state(j.trainer, "a", NULL, NULL);
  rig_run(&j.rig);
  tinker_future_cancel(f);
  cr_assert_eq(code_of(f), TINKER_ECANCELED);
  heard(&j, "save_state?1 +0:save_weights-1-0");
  fake_loop_advance(&j.rig.loop, 5000);
  heard(&j, "=0");
  end(&j);
}

/* Close hands over what is open: a chunk that was taken, one that is out, and
 * one that was not sent. What still waits for an answer is withdrawn. */
Test(hook, close_hands_over) {
  journal_t j;
  open_journal(&j, on_fake_loop);
  j.rig.config = "{\"fwdbwd_max_chunk_len\":1}";
  j.trainer = rig_trainer(&j.rig);
  tinker_trainer_t *other = rig_trainer(&j.rig);
  j.heard[0] = 0;
  script_expect(j.rig.script, TINKER__HTTP_POST, RETRIEVE,
                (script_reply_t){.delay_ms = -1});
  script_expect(
      j.rig.script, TINKER__HTTP_POST, FB,
      (script_reply_t){.body = "{\"request_id\":\"forward_backward-2-1\"}"});
  script_expect(j.rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.delay_ms = -1});
  tinker_future_t *f = forward(&j, 3);
  rig_run(&j.rig);
  heard(&j, "forward_backward?1,2,3 +1:forward_backward-2-1");
  j.keep = true;
  tinker_future_t *g = tinker_trainer_save_state(other, "a", NULL, NULL);
  rig_run(&j.rig);
  j.keep = false;
  heard(&j, "save_state?1");
  cr_assert_eq(code_of(tinker_client_close(j.rig.client, NULL)), 0);
  cr_assert_eq(code_of(f), TINKER_ECLOSED);
  cr_assert_eq(code_of(g), TINKER_ECLOSED);
  heard(&j, "_0 ~1 ~2 - finish_session? =0");
  tinker_trainer_release(other);
  end(&j);
}

/* --- the session --- */

Test(hook, a_veto_of_the_session) {
  journal_t j;
  open_journal(&j, on_fake_loop);
  j.refuse = "create_session";
  fails(tinker_client_create_sampler(j.rig.client, "tiny", NULL), TINKER_ESTATE,
        "create_session was not sent: the journal refused it");
  cr_assert_eq(rig_count(&j.rig, SESSION), 0u);
  heard(&j, "create_session? -");
  j.refuse = NULL;
  tinker_sampler_release(rig_sampler(&j.rig)); /* asked again */
  j.refuse = "finish_session";
  j.heard[0] = 0;
  cr_assert_eq(code_of(tinker_client_close(j.rig.client, NULL)), 0);
  heard(&j, "finish_session? -");
  cr_assert_eq(rig_count(&j.rig, "api/v1/sessions/s1/finish"), 0u);
  end(&j);
}

/* A close does not wait for an answer for ever. */
Test(hook, a_finish_without_an_answer) {
  journal_t j;
  begin(&j);
  j.keep = true;
  tinker_future_t *f = tinker_client_close(j.rig.client, NULL);
  fake_loop_advance(&j.rig.loop, 1899);
  heard(&j, "finish_session?");
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  fake_loop_advance(&j.rig.loop, 1);
  cr_assert_eq(code_of(f), 0);
  heard(&j, "-");
  end(&j);
}

/* Until then it obeys the answer, and the service has what is left, at most a
 * second. */
Test(hook, a_late_answer_about_the_finish) {
  static const struct {
    int64_t answer_ms, end_ms; /* -1 = the service answers */
    const char *heard;
  } all[] = {{1500, -1, "finish_session? =0"},
             {1500, 1900, "finish_session? ~0"},
             {300, 1300, "finish_session? !0"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    journal_t j;
    begin(&j);
    j.keep = true;
    if (all[i].end_ms >= 0) {
      script_expect(j.rig.script, TINKER__HTTP_POST,
                    "api/v1/sessions/s1/finish",
                    (script_reply_t){.delay_ms = -1});
    }
    tinker_future_t *f = tinker_client_close(j.rig.client, NULL);
    fake_loop_advance(&j.rig.loop, all[i].answer_ms);
    cr_assert_eq(tinker_admission_answer(j.rig.client, j.kept[0],
                                         TINKER_VERDICT_GO, NULL),
                 0);
    rig_run(&j.rig);
    cr_assert_eq(rig_count(&j.rig, "api/v1/sessions/s1/finish"), 1u);
    if (all[i].end_ms >= 0) {
      int64_t left = all[i].end_ms - all[i].answer_ms;
      fake_loop_advance(&j.rig.loop, left - 1);
      cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN, "%zu", i);
      fake_loop_advance(&j.rig.loop, 1);
    }
    cr_assert_eq(tinker_future_status(f), 0, "%zu", i);
    heard(&j, all[i].heard);
    tinker_future_release(f);
    end(&j);
  }
}

/* --- the fence --- */

/* It is asked last, for what has no number too, and takes none. */
Test(hook, fence) {
  journal_t j;
  begin(&j);
  j.fenced = "the lease is lost";
  fails(tinker_trainer_save_state(j.trainer, "a", NULL, NULL), TINKER_ESTATE,
        "save_state was not sent: the fence refused it: the lease is lost");
  heard(&j, "save_state?1 |s1:train:0 -");
  fails(tinker_client_create_sampler(j.rig.client, "tiny", NULL), TINKER_ESTATE,
        "the lease is lost");
  heard(&j, "create_sampler? | -");
  j.fenced = NULL;
  cr_assert_eq(code_of(tinker_trainer_save_state(j.trainer, "a", NULL, NULL)),
               0);
  heard(&j, "save_state?1 +0:save_weights-1-0 =0");
  end(&j);
}

static void only_a_fence(journal_t *j) {
  on_fake_loop(j);
  j->seams.intent = NULL;
  j->seams.withdrawn = NULL;
  j->seams.accepted = NULL;
  j->seams.ended = NULL;
}

Test(hook, fence_without_a_journal) {
  journal_t j;
  open_journal(&j, only_a_fence);
  j.fenced = "no lease";
  fails(tinker_client_create_sampler(j.rig.client, "tiny", NULL), TINKER_ESTATE,
        "create_session was not sent: the fence refused it: no lease");
  heard(&j, "|");
  j.fenced = NULL;
  j.trainer = rig_trainer(&j.rig);
  j.fenced = "no lease";
  fails(tinker_trainer_save_state(j.trainer, "a", NULL, NULL), TINKER_ESTATE,
        "the fence refused it");
  j.fenced = NULL;
  cr_assert_eq(code_of(tinker_trainer_save_state(j.trainer, "a", NULL, NULL)),
               0);
  cr_assert_eq(rig_seq(rig_request(&j.rig, SAVE, 0)), 1);
  end(&j);
}

/* --- options and codes --- */

Test(hook, codes) {
  journal_t j;
  begin(&j);
  tinker_client_t *c = j.rig.client;
  cr_assert_eq(tinker_admission_answer(NULL, 1, TINKER_VERDICT_GO, NULL),
               TINKER_EINVAL);
  cr_assert_eq(tinker_admission_answer(c, 1, (tinker_verdict_t)2, NULL),
               TINKER_EINVAL);
  cr_assert_eq(tinker_admission_answer(c, 99, TINKER_VERDICT_GO, NULL),
               TINKER_ENOENT);
  cr_assert_eq(tinker_gate_answer(c, 99, TINKER_GATE_GO, NULL), TINKER_ENOENT);
  cr_assert_eq(tinker_gate_answer(c, 99, (tinker_gate_verdict_t)3, NULL),
               TINKER_EINVAL);
  end(&j);
}

Test(hook, options) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_seams_t seams = TINKER_SEAMS_INIT;
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  o.base_url = "http://127.0.0.1:9";
  o.api_key = "tml-x";
  o.seams = &seams;
  seams.ended = on_ended;
  cr_assert_eq(tinker_client_new(&client, &o, &error), TINKER_EINVAL);
  cr_assert(strstr(tinker_error_message(error), "seams: intent is NULL"));
  tinker_error_release(error);
  seams.size = 0;
  cr_assert_eq(tinker_client_new(&client, &o, NULL), TINKER_EINVAL);
}

/* --- without memory --- */

static void play(journal_t *j) {
  tinker_datum_t **batch = rig_batch(2, 3);
  tinker_future_t *f = tinker_trainer_forward_backward(
      j->trainer, (tinker_datum_t *const *)batch, 2, NULL, NULL);
  tinker_future_t *g = tinker_trainer_optim_step(j->trainer, NULL, NULL);
  tinker_future_t *h = tinker_client_create_sampler(j->rig.client, "m", NULL);
  rig_batch_free(batch, 2);
  rig_run(&j->rig);
  code_of(f);
  code_of(g);
  code_of(h);
}

/* Whatever fails: each intent that was heard has its end, and nothing is left.
 */
Test(hook, fail_each_allocation) {
  for (uint64_t n = 1;; n++) {
    journal_t j;
    begin(&j);
    uint64_t before = atomic_load(&j.rig.mem.count);
    atomic_store(&j.rig.mem.fail_at, before + n);
    play(&j);
    bool all = atomic_load(&j.rig.mem.count) < before + n;
    atomic_store(&j.rig.mem.fail_at, 0);
    tinker_future_release(tinker_client_close(j.rig.client, NULL));
    rig_run(&j.rig);
    int open = 0;
    for (const char *at = j.heard; *at; at++) {
      open += *at == '?';
      if (*at == ' ' && strchr("=!~_-", at[1])) open--;
    }
    cr_assert_eq(open, 0, "%d: %s", (int)n, j.heard);
    end(&j);
    if (all) break;
  }
}

/* --- on threads --- */

typedef struct doors_s {
  journal_t j;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool inside, open;
  tinker_future_t *held; /* the operation that waits for the answer */
  int waited;
} doors_t;

/* Blocks until the test opens the door. */
static void blocking_intent(void *user, const tinker_intent_t *intent) {
  doors_t *d = user;
  if (!strcmp(intent->name, "save_state")) {
    pthread_mutex_lock(&d->lock);
    d->inside = true;
    pthread_cond_broadcast(&d->changed);
    while (!d->open) pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
    d->waited = tinker_future_wait(d->held, -1);
  }
  must(tinker_admission_answer(d->j.rig.client, intent->ticket,
                               TINKER_VERDICT_GO, NULL) == 0);
}

static void on_threads_blocking(journal_t *j) {
  on_threads(j);
  j->seams = (tinker_seams_t)TINKER_SEAMS_INIT;
  j->seams.user = j;
  j->seams.intent = blocking_intent;
}

/* A journal that blocks holds up neither callbacks nor other calls. */
Test(hook, a_blocking_journal) {
  doors_t d = {.lock = PTHREAD_MUTEX_INITIALIZER,
               .changed = PTHREAD_COND_INITIALIZER};
  open_journal(&d.j, on_threads_blocking);
  d.j.trainer = rig_trainer(&d.j.rig);
  tinker_future_t *f = tinker_trainer_save_state(d.j.trainer, "a", NULL, NULL);
  pthread_mutex_lock(&d.lock);
  while (!d.inside) pthread_cond_wait(&d.changed, &d.lock);
  pthread_mutex_unlock(&d.lock);
  seen_t seen = {0};
  tinker_future_t *g =
      tinker_trainer_get_info(d.j.trainer, CALLS_WITH(NULL, rig_seen, &seen));
  cr_assert_eq(tinker_future_wait(g, -1), 0);
  tinker_future_release(g);
  cr_assert_eq(rig_count(&d.j.rig, SAVE), 0u);
  pthread_mutex_lock(&d.lock);
  d.open = true;
  d.held = f;
  pthread_cond_broadcast(&d.changed);
  pthread_mutex_unlock(&d.lock);
  cr_assert_eq(tinker_future_wait(f, -1), 0);
  cr_assert_eq(d.waited, TINKER_EDEADLK);
  tinker_future_release(f);
  tinker_trainer_release(d.j.trainer);
  rig_done(&d.j.rig);
  cr_assert_eq(seen.calls, 1);
}

static void on_threads_plain(journal_t *j) {
  on_threads(j);
  j->seams.fence = NULL;
}

/* Many trainers from many threads, answers from inside; every call of the
 * journal comes one at a time, and each is counted. */
Test(hook, threads) {
  journal_t j;
  open_journal(&j, on_threads_plain);
  tinker_trainer_t *t[4];
  tinker_future_t *f[4][16];
  for (int i = 0; i < 4; i++) t[i] = rig_trainer(&j.rig);
  for (int k = 0; k < 16; k++) {
    for (int i = 0; i < 4; i++) {
      f[i][k] = tinker_trainer_optim_step(t[i], NULL, NULL);
    }
  }
  for (int k = 0; k < 16; k++) {
    for (int i = 0; i < 4; i++) {
      cr_assert_eq(tinker_future_wait(f[i][k], -1), 0);
      tinker_future_release(f[i][k]);
    }
  }
  for (int i = 0; i < 4; i++) tinker_trainer_release(t[i]);
  rig_done(&j.rig);
  cr_assert(strlen(j.heard) > 0);
}

static void releasing_intent(void *user, const tinker_intent_t *intent) {
  journal_t *j = user;
  must(tinker_admission_answer(j->released ? j->released : j->rig.client,
                               intent->ticket, TINKER_VERDICT_GO, NULL) == 0);
  if (strcmp(intent->name, "save_state")) return;
  j->released = j->rig.client;
  j->rig.client = tinker_client_release(j->rig.client);
}

static void on_threads_releasing(journal_t *j) {
  on_threads(j);
  j->seams.intent = releasing_intent;
  j->seams.fence = NULL;
}

/* The journal itself gives the last reference back: it does not wait for its
 * own end. */
Test(hook, released_inside) {
  journal_t j;
  open_journal(&j, on_threads_releasing);
  j.trainer = rig_trainer(&j.rig);
  tinker_future_t *f = tinker_trainer_save_state(j.trainer, "a", NULL, NULL);
  int code = tinker_future_wait(f, -1);
  cr_assert(code == 0 || code == TINKER_ECLOSED);
  tinker_future_release(f);
  tinker_trainer_release(j.trainer);
  cr_assert_eq(tinker_shutdown(-1), 0);
  rig_done(&j.rig);
}

static void on_step(journal_t *j) {
  rig_init_step(&j->rig);
}

/* In step mode everything is heard inside the step, on its thread. */
Test(hook, step_mode) {
  journal_t j;
  open_journal(&j, on_step);
  tinker_sampler_release(rig_sampler(&j.rig));
  heard(&j, "create_session? =0 create_sampler? =0");
  tinker_future_t *f = tinker_client_close(j.rig.client, NULL);
  cr_assert_eq(tinker_future_wait(f, -1), 0);
  heard(&j, "finish_session? =0");
  tinker_future_release(f);
  rig_done(&j.rig);
}
