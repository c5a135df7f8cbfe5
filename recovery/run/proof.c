/* proof: the run asks for the proof that a checkpoint's optimizer is restored
 * (V4), before the first model of a checkpoint that this process goes back to,
 * and once a day. It is made by a client of its own, whose models and session
 * end with it. The run's thread. */
#include <stdio.h>

#include "run/run.h"

#define DAY_MS (24 * 60 * 60 * (int64_t)1000)

bool tinker__rec_proof_due(const tinker_run_t *run,
                           const tinker__rec_ckpt_t *c) {
  if (c->step == 0) return false; /* it has no optimizer to be told apart */
  int64_t now = run->world->boot_ms(run->world->user);
  return run->ruled.prove_always || !run->optimizer_proven ||
         now - run->optimizer_proven_ms >= DAY_MS;
}

static int no_client(tinker__rec_fault_t *f, tinker_error_t *error) {
  *f = (tinker__rec_fault_t){.code = tinker_error_code(error), .unknown = true};
  tinker__why(f->why, sizeof f->why, 0, "%s", tinker_error_message(error));
  tinker_error_release(error);
  return f->code;
}

static tinker_future_t *begin(tinker_client_t *client,
                              const tinker__rec_ckpt_t *c) {
  tinker_prove_options_t o = TINKER_PROVE_OPTIONS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  o.steps_taken = c->step;
  o.expected_noise = c->noise;
  if (c->probe_count == TINKER_FINGERPRINT_LEN) o.expected = c->probe;
  return tinker_client_prove_resume(client, c->path, &o, &call);
}

/* Only TINKER_ESTATE says something of the checkpoint. Whatever else the
 * service answers costs an attempt. */
static int take(tinker_future_t *future, tinker__rec_fault_t *f, char *evidence,
                size_t len) {
  const tinker_resume_proof_t *p = NULL;
  int rc = tinker__rec_await(future, f);
  if (rc == 0) rc = tinker_future_get_resume_proof(future, &p);
  if (rc == 0) {
    tinker__why(evidence, len, 0,
                "fingerprint of the loaded model; after one step with and "
                "without the optimizer differ by %a, two without by %a",
                p->optimizer, p->step_noise);
    return 0;
  }
  f->code = rc;
  f->model = f->again = f->resend = false;
  f->unproven = rc == TINKER_ESTATE;
  f->unsure = !f->unproven && (f->unsure || !f->unknown);
  return rc;
}

int tinker__rec_prove_optimizer(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                                tinker__rec_fault_t *f, char *evidence,
                                size_t len) {
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  if (tinker_client_new(&client, &run->client_options, &error) != 0) {
    return no_client(f, error);
  }
  tinker__rec_prover(run, client);
  tinker_future_t *future = begin(client, c);
  int rc = take(future, f, evidence, len);
  tinker_future_release(future);
  tinker__rec_prover(run, NULL);
  tinker_client_release(client); /* finishes its session */
  if (rc != 0) return rc;
  run->optimizer_proven = true;
  run->optimizer_proven_ms = run->world->boot_ms(run->world->user);
  return 0;
}
