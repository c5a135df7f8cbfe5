/* Proof that a checkpoint is restored: weights and optimizer.
 *
 * A service that loads a checkpoint without its optimizer trains on and says
 * nothing: the weights are right, and the steps after them are not those that
 * an undisturbed run would have taken. This shows the difference, for programs
 * with a training loop of their own. A run (recovery.h) does the same by
 * itself.
 *
 * How. The fingerprint of a model is its log-probabilities of a fixed set of
 * four short examples, of small token ids: nothing of the program's data. Of
 * the checkpoint three models are made, one with its optimizer and two without.
 *
 * - Weights: the models have the same fingerprint as they are loaded, and, if
 *   the program gives it, that which the live model had when it was saved.
 * - Optimizer: each model takes the same step, on those examples. The model
 *   with the optimizer must then differ from those without: if it is like them,
 *   its optimizer was not restored. How much two equal models differ after a
 *   step is measured with the two without.
 *
 * Where the service computes the same bits each time, any difference counts;
 * else more than six times what was measured between equals. What this can't
 * show: that each moment of the optimizer has the right value. Training again a
 * few steps whose losses are known shows that, and a run does it.
 *
 * What is left: the three models, until the session ends. They are scratch: the
 * program's own models are not touched, and nothing is saved. */
#ifndef TINKER_RECOVERY_PROVE_H
#define TINKER_RECOVERY_PROVE_H

#include "tinker.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TINKER_FINGERPRINT_LEN 60 /* numbers */

typedef struct tinker_prove_options_s {
  size_t size;
  /* The optim_steps that the saved model had taken, 0 or more; default 1, which
   * stands for any number but 0. 0: the checkpoint has no optimizer that could
   * be told from a fresh one, so nothing is proven of it, and two models are
   * made. */
  int64_t steps_taken;
  /* TINKER_FINGERPRINT_LEN numbers, all finite: the fingerprint of the model
   * when it was saved (tinker_trainer_fingerprint()). NULL (default) = unknown.
   * Copied. */
  const float *expected;
  /* Largest difference of two fingerprints of one state, where that was known
   * when `expected` was taken; 0 or more, finite; default 0. */
  double expected_noise;
  /* Where the proof's own memory comes from; NULL (default) = the C library.
   * Copied. */
  const tinker_allocator_t *allocator;
} tinker_prove_options_t;

#define TINKER_PROVE_OPTIONS_INIT                                              \
  { sizeof(tinker_prove_options_t), 1, NULL, 0, NULL }

/* Writes the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_prove_options_init(tinker_prove_options_t *o) {
  const tinker_prove_options_t init = TINKER_PROVE_OPTIONS_INIT;
  *o = init;
}

/* What was shown. Differences are the largest of the 60 numbers' absolute
 * ones; -1 = was not measured. */
typedef struct tinker_resume_proof_s {
  /* 4: the optimizer was restored. 3: the weights are those that were expected
   * (steps_taken was 0). 0: the checkpoint loads, and no more was asked: no
   * steps, no expected fingerprint. */
  int32_t level;
  /* 1: equal models gave equal bits wherever that was looked at. */
  int32_t deterministic;
  double noise;      /* of one model, asked twice */
  double loaded;     /* of the models as they were loaded */
  double expected;   /* of the loaded model and options.expected */
  double step_noise; /* after the step, of the two without optimizer */
  /* After the step, of the model with optimizer and the nearer one without. */
  double optimizer;
  /* Of the loaded model. */
  float fingerprint[TINKER_FINGERPRINT_LEN];
} tinker_resume_proof_t;

/* Proves that a checkpoint is restored. It makes models in the client's
 * session and sends about fifteen calls, in two rounds, as the client's other
 * calls are sent: past its journal and its gate (seams.h), if it has them.
 * client, call: see future.h; the deadline is that of the whole proof, and
 * cancel or deadline cancels what is under way. path:
 * "tinker://<run>/weights/<name>", copied. options: borrowed; NULL = the
 * defaults. Returns a future owned by the caller, of kind TINKER_KIND_PROMISE;
 * result: tinker_future_get_resume_proof(). It ends with TINKER_ESTATE if, and
 * only if, the checkpoint is refuted: the sentence names it and says what was
 * found ("cold optimizer" where that is the optimizer). With TINKER_ENOTSUP if
 * nothing can be shown, since the step does not move the weights. With any
 * other code nothing is known of the checkpoint, except that TINKER_ENOENT says
 * that the service does not have it. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_prove_resume(tinker_client_t *client, const char *path,
                           const tinker_prove_options_t *options,
                           const tinker_call_options_t *call);

/* Result of tinker_client_prove_resume().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_resume_proof(tinker_future_t *future,
                               const tinker_resume_proof_t **out);

/* Asks a model for its fingerprint: a forward of the four examples, which
 * changes nothing. Called right after tinker_trainer_save_state(), without a
 * step in between, it is that of what is saved.
 * trainer, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_fingerprint(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_fingerprint(tinker_trainer_t *trainer,
                           const tinker_call_options_t *call);

/* Result of tinker_trainer_fingerprint().
 * future: not NULL. out: receives the numbers; not NULL; untouched on failure.
 * Returns as tinker_future_get_trainer(), and TINKER_ENOENT if the result does
 * not have the numbers. Any thread. */
TINKER_API int tinker_future_get_fingerprint(tinker_future_t *future,
                                             float out[TINKER_FINGERPRINT_LEN]);

#ifdef __cplusplus
}
#endif

#endif
