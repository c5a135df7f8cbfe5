/* A client in a forked child: everything but releasing is refused at once,
 * whatever the parent's threads held when it was forked. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/reap.h"
#include "rig.h"

/* What the child has to work with. */
typedef struct world_s {
  rig_t rig;
  tinker_trainer_t *t;
  tinker_sampler_t *s;
  tinker_future_t *running, *ended;
  tinker_input_t *prompt;
  tinker_datum_t **batch;
} world_t;

static void make(world_t *w) {
  static const int32_t tokens[2] = {1, 2};
  rig_init(&w->rig, NULL);
  must(rig_client(&w->rig) == 0);
  w->t = rig_trainer(&w->rig);
  w->s = rig_sampler(&w->rig);
  w->batch = rig_batch(1, 3);
  must(tinker_input_new(&w->prompt, NULL, NULL) == 0);
  must(tinker_input_add_tokens(w->prompt, tokens, 2, NULL) == 0);
  calls_begun(tinker_trainer_optim_step(w->t, NULL, NULL), &w->ended);
  must(tinker_future_wait(w->ended, 1000) == 0);
  script_expect(w->rig.script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = -1});
  calls_begun(tinker_trainer_optim_step(w->t, NULL, NULL), &w->running);
  rig_run(&w->rig);
}

static void unmake(world_t *w) {
  rig_batch_free(w->batch, 1);
  tinker_input_release(w->prompt);
  tinker_future_release(w->ended);
  tinker_future_release(w->running);
  tinker_trainer_release(w->t);
  tinker_sampler_release(w->s);
  rig_done(&w->rig);
}

/* Runs body in a child that was forked while the client's lock was held; the
 * child's exit status is the number of the first check that failed. */
static int in_child(world_t *w, int (*body)(world_t *w)) {
  int status = -1;
  pthread_mutex_lock(&w->rig.client->lock);
  pid_t child = fork();
  if (child == 0) {
    alarm(60); /* against hanging */
    _exit(body(w));
  }
  pthread_mutex_unlock(&w->rig.client->lock);
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status), "ended by signal %d", WTERMSIG(status));
  return WEXITSTATUS(status);
}

#define FORKED(call)                                                           \
  do {                                                                         \
    if ((call) != TINKER_EFORKED) return __LINE__ % 255 + 1;                   \
  } while (0)

static int client_calls(world_t *w) {
  tinker_client_t *c = w->rig.client;
  tinker_future_t *f = NULL;
  tinker_trainer_options_t o;
  tinker_wait_stats_t stats = TINKER_WAIT_STATS_INIT;
  char id[64];
  tinker_trainer_options_init(&o);
  o.base_model = "tiny";
  FORKED(calls_begun(tinker_client_get_capabilities(c, NULL), &f));
  FORKED(calls_begun(tinker_client_create_trainer(c, &o, NULL), &f));
  FORKED(calls_begun(tinker_client_create_trainer_from_state(
                         c, "tinker://a/weights/b", 1, NULL),
                     &f));
  FORKED(calls_begun(tinker_client_create_sampler(c, "tiny", NULL), &f));
  FORKED(calls_begun(tinker_client_create_sampler_from_path(
                         c, "tinker://a/sampler_weights/b", NULL),
                     &f));
  FORKED(calls_begun(tinker_client_list_runs(c, NULL, NULL), &f));
  FORKED(calls_begun(tinker_client_get_run(c, "a", NULL), &f));
  FORKED(calls_begun(
      tinker_client_delete_checkpoint(c, "tinker://a/weights/b", NULL), &f));
  FORKED(tinker_client_next(c, -1, &f));
  FORKED(tinker_client_session_id(c, id, sizeof id));
  FORKED(tinker_client_wait_stats(c, TINKER_KIND_NONE, &stats));
  FORKED(calls_begun(tinker_client_drain(c, CALLS_TIMEOUT(-1)), NULL));
  FORKED(calls_begun(tinker_client_close(c, NULL), NULL));
  return 0;
}

static int trainer_calls(world_t *w) {
  tinker_datum_t *const *data = (tinker_datum_t *const *)w->batch;
  tinker_trainer_t *t = w->t;
  tinker_future_t *f = NULL;
  FORKED(calls_begun(tinker_trainer_forward(t, data, 1, NULL, NULL), &f));
  FORKED(
      calls_begun(tinker_trainer_forward_backward(t, data, 1, NULL, NULL), &f));
  FORKED(calls_begun(tinker_trainer_optim_step(t, NULL, NULL), &f));
  FORKED(calls_begun(tinker_trainer_save_state(t, "a", NULL, NULL), &f));
  FORKED(calls_begun(
      tinker_trainer_save_weights_for_sampler(t, "a", NULL, NULL), &f));
  FORKED(calls_begun(tinker_trainer_load_state(t, "tinker://a/weights/b", NULL),
                     &f));
  FORKED(calls_begun(
      tinker_trainer_load_state_with_optimizer(t, "tinker://a/weights/b", NULL),
      &f));
  FORKED(calls_begun(tinker_trainer_create_sampler(t, NULL), &f));
  FORKED(calls_begun(tinker_trainer_get_info(t, NULL), &f));
  FORKED(calls_begun(tinker_sampler_sample(w->s, w->prompt, NULL, NULL), &f));
  return 0;
}

static int future_calls(world_t *w) {
  const tinker_optim_result_t *result;
  FORKED(tinker_future_status(w->running));
  FORKED(tinker_future_wait(w->running, -1));
  FORKED(tinker_future_get_optim(w->running, &result));
  if (tinker_future_error(w->running)) return 1;
  tinker_future_cancel(w->running);
  /* What has ended can be read. */
  if (tinker_future_wait(w->ended, -1)) return 2;
  if (tinker_future_get_optim(w->ended, &result)) return 3;
  return 0;
}

static int release_all(world_t *w) {
  tinker_future_release(w->running);
  tinker_future_release(w->ended);
  tinker_trainer_release(w->t);
  tinker_sampler_release(w->s);
  tinker_client_release(w->rig.client);
  return tinker_shutdown(-1) ? 1 : 0;
}

Test(fork, a_child_may_only_release) {
  static int (*const bodies[])(world_t *) = {client_calls, trainer_calls,
                                             future_calls, release_all};
  world_t w;
  make(&w);
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    cr_assert_eq(in_child(&w, bodies[i]), 0, "body %zu", i);
  }
  /* The parent goes on as if nothing had happened. */
  cr_assert_eq(tinker_future_status(w.running), TINKER_EAGAIN);
  tinker_sampler_t *s = rig_sampler(&w.rig);
  tinker_sampler_release(s);
  unmake(&w);
}

#ifndef __SANITIZE_THREAD__ /* it allows no threads in a forked child */

/* A client of the child's own, with threads, beside the parent's, which is
 * just ending. */
static int own_client(world_t *w) {
  rig_t rig;
  tinker_future_t *f = NULL;
  (void)w;
  rig_init_threads(&rig);
  if (rig_client(&rig)) return 1;
  calls_begun(tinker_client_get_capabilities(rig.client, NULL), &f);
  if (tinker_future_wait(f, -1)) return 2;
  tinker_future_release(f);
  rig_done(&rig);
  return tinker_shutdown(-1) ? 3 : 0;
}

Test(fork, a_child_may_make_its_own) {
  world_t w;
  make(&w);
  tinker__reap_expect(); /* the child must not wait for this one */
  cr_assert_eq(in_child(&w, own_client), 0);
  tinker__reap_leave(NULL);
  unmake(&w);
}

#endif
