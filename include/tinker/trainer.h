/* Trainer: a LoRA model in training.
 *
 * Operations of one trainer are carried out by the service in the order of
 * the calls, whatever thread made them; submit the next before the last has
 * ended to keep the service busy. Inputs are encoded before a call returns.
 *
 * Every operation but get_info is numbered when its turn comes. From then on
 * its requests are sent until the service has answered them. A request is sent
 * again, byte for byte the same, after a failure on the way, 408, 429, 5xx, or
 * a reply that the service did not send: another 2xx or 3xx, or a 4xx without
 * the service's JSON, such as the page of a proxy. This goes on for five
 * minutes, or, while the account is blocked (402), as long as the service
 * asks. A request that is not answered for ten seconds, more if it is large, is
 * sent a second time meanwhile, on another connection. Cancel and deadline end
 * only the waiting. A request that the service refuses (4xx) ends its
 * operation; its number counts as used, but not after 401 and 413, when the
 * service has not read it.
 *
 * A batch that is larger than the service takes in one request is sent as
 * several, each with a number of its own. If one of them fails the call fails,
 * but the gradients of the others are summed: tinker_error_outcome_is_unknown()
 * says so, and tinker_trainer_optim_step() what follows.
 *
 * If a number can't be delivered, or the session has ended, the trainer is
 * fatal: it refuses every later call with TINKER_EFATAL rather than leave a
 * hole in the order. It is also fatal if the service turns out to wait for a
 * number that was refused, since then the refusal was not the service's own.
 *
 * Order of the ends: a call that this library ends because an earlier one
 * failed ends after that one, and several of them in the order of the calls.
 * Where the service's answer ends a call it ends when that arrives: of two
 * calls that were both sent the later one may end first, an optim_step before
 * its forward_backward, say. */
#ifndef TINKER_TRAINER_H
#define TINKER_TRAINER_H

#include "data.h"
#include "future.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Adds a reference.
 * trainer: may be NULL. Returns trainer. Any thread. */
TINKER_API tinker_trainer_t *tinker_trainer_retain(tinker_trainer_t *trainer);

/* Gives a reference back. The model stays on the service until its session
 * ends; running operations go on.
 * trainer: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_trainer_t *tinker_trainer_release(tinker_trainer_t *trainer);

/* Id of the model, which is its training run's id.
 * trainer: not NULL. Returns a string owned by the trainer. Any thread. */
TINKER_API const char *tinker_trainer_model_id(const tinker_trainer_t *trainer);

/* Computes a loss without gradients.
 * trainer, call: see future.h. data: n examples, not NULL each, borrowed until
 * the call returns. n: at least 1. loss: borrowed; NULL = cross-entropy.
 * Returns a future owned by the caller; result: tinker_future_get_forward() and
 * tinker_future_loss(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_forward(tinker_trainer_t *trainer, tinker_datum_t *const *data,
                       size_t n, const tinker_loss_t *loss,
                       const tinker_call_options_t *call);

/* Computes a loss and adds its gradients to those of earlier calls since the
 * last optimizer step. The loss is a sum: dividing by a number of tokens or
 * examples is the caller's task, through weights or advantages.
 * It fails with TINKER_ESTATE, unsent, when an earlier call of the same step
 * failed, or its optimizer step did: the step can't become whole any more, so
 * nothing is added to what the service may have of it; see
 * tinker_trainer_optim_step(). trainer, call: see future.h. data, n, loss: as
 * tinker_trainer_forward(). Returns a future owned by the caller; result:
 * tinker_future_get_forward() and tinker_future_loss(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *tinker_trainer_forward_backward(
    tinker_trainer_t *trainer, tinker_datum_t *const *data, size_t n,
    const tinker_loss_t *loss, const tinker_call_options_t *call);

/* Updates the weights from the gathered gradients and clears those.
 *
 * It is not sent after a forward_backward of the same step that failed or was
 * refused, since it would move the weights by a part of the step, or by
 * momentum alone: it ends with TINKER_ESTATE. If no other forward_backward of
 * the step was accepted, that is all, and the next step begins afresh; those
 * that are called between the failed one and the optim_step end with
 * TINKER_ESTATE too, since one that was accepted would make the trainer dirty.
 * Who wants to put another one in the place of the failed one calls
 * tinker_trainer_accept_partial() before. Else the service keeps their
 * gradients summed, which no call clears: the trainer is dirty, and
 * forward_backward and optim_step are refused (TINKER_ESTATE,
 * tinker_error_needs_recovery()) until tinker_trainer_accept_partial(), or for
 * ever: going back to a checkpoint makes another trainer. params->allow_partial
 * takes this one step with what there is, whatever failed before it. A
 * forward_backward that its caller canceled before it was sent does not count
 * as failed. One that fails only after its optim_step was sent is too late for
 * all this; its error says so.
 *
 * trainer, call: see future.h. params: borrowed; NULL = the defaults. Returns a
 * future owned by the caller; result: tinker_future_get_optim(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_optim_step(tinker_trainer_t *trainer,
                          const tinker_adam_params_t *params,
                          const tinker_call_options_t *call);

/* Goes on with a step of which a part has failed: the gradients that the
 * service has summed count as the whole step, for all calls made afterwards and
 * for those that still wait for their turn (see tinker_trainer_optim_step()).
 * Does nothing if nothing has failed.
 * trainer: not NULL. Returns 0, TINKER_EINVAL, TINKER_EFORKED, TINKER_ECLOSED
 * (the client is closed) or TINKER_ENOMEM (nothing has changed). Any
 * thread. */
TINKER_API int tinker_trainer_accept_partial(tinker_trainer_t *trainer);

/* One training step: forward_backward and optim_step as one operation. Both are
 * submitted at once, so the service does not wait for this program in between,
 * and no other call comes between them. A refusal of either refuses both.
 *
 * Cancel and deadline end both halves or none: once the forward_backward has
 * been sent, the optim_step is sent too, though nobody may wait for it.
 *
 * If the service does not carry out the forward_backward, and that is known
 * before the turn of the optim_step, that is not sent; the rules are those of
 * tinker_trainer_optim_step(), and the error says so. If it becomes known
 * later, the weights have been moved without these examples: the error says
 * that too, and tinker_error_needs_recovery() is 1 where the service has
 * reported the failure itself. If only the optim_step failed, its gradients are
 * still summed: the error says that the forward_backward was carried out, and
 * the trainer takes tinker_trainer_optim_step() but no more examples. An error
 * of a step says retriable only if neither half was carried out.
 *
 * trainer, call: see future.h. data, n, loss: as tinker_trainer_forward().
 * adam: borrowed; NULL = the defaults. Returns a future owned by the caller;
 * results: tinker_future_get_forward(), tinker_future_loss() and
 * tinker_future_get_optim(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_step(tinker_trainer_t *trainer, tinker_datum_t *const *data,
                    size_t n, const tinker_loss_t *loss,
                    const tinker_adam_params_t *adam,
                    const tinker_call_options_t *call);

/* The three saves compared. Each takes the weights as the operations called
 * before it leave them, and the trainer goes on afterwards.
 *
 *                 save_state       save_weights_for_   create_sampler
 *                                  sampler
 *   keeps         weights and      weights             weights
 *                 optimizer
 *   gives         a path,          a path, .../        a sampler
 *                 .../weights/...  sampler_weights/...
 *   is used by    create_trainer_  create_sampler_     sampling, at once
 *                 from_state,      from_path
 *                 load_state
 *   by whom       any client       any client          this client
 *   until         it expires or    it expires or       the session ends
 *                 is deleted       is deleted
 *   name taken    TINKER_EEXIST,   TINKER_EEXIST       has no name
 *                 or overwrite
 *   is for        going on with    keeping a model,    the rounds of
 *                 training         evaluation          reinforcement
 *                                                      learning
 *
 * Nothing made by the second or third can be trained further. */

/* Saves weights and optimizer. A name that the run has already, without
 * overwrite, ends the operation with TINKER_EEXIST and changes nothing.
 * trainer, call: see future.h. name: 1 to 255 characters of [A-Za-z0-9_.-].
 * options: may be NULL. Returns a future owned by the caller; result:
 * tinker_future_get_path(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_save_state(tinker_trainer_t *trainer, const char *name,
                          const tinker_save_options_t *options,
                          const tinker_call_options_t *call);

/* Saves the weights under a name, to sample from. A name that the run has
 * already ends the operation with TINKER_EEXIST and changes nothing.
 * trainer, call: see future.h. name: 1 to 255 characters of [A-Za-z0-9_.-].
 * options: may be NULL; overwrite is refused. Returns a future owned by the
 * caller; result: tinker_future_get_path(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_save_weights_for_sampler(tinker_trainer_t *trainer,
                                        const char *name,
                                        const tinker_save_options_t *options,
                                        const tinker_call_options_t *call);

/* Makes a sampler of the present weights without naming them.
 * trainer, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_sampler(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_create_sampler(tinker_trainer_t *trainer,
                              const tinker_call_options_t *call);

/* Loads saved weights into this model, with a fresh optimizer. The service
 * allows it only as the first operation of a new model.
 * trainer, call: see future.h. path: "tinker://<run>/weights/<name>". Returns a
 * future owned by the caller, without a result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_load_state(tinker_trainer_t *trainer, const char *path,
                          const tinker_call_options_t *call);

/* Loads saved weights and optimizer into this model. The service allows it
 * only as the first operation of a new model.
 * trainer, call: see future.h. path: "tinker://<run>/weights/<name>". Returns a
 * future owned by the caller, without a result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_load_state_with_optimizer(tinker_trainer_t *trainer,
                                         const char *path,
                                         const tinker_call_options_t *call);

/* Asks what the model is. A model that the service doesn't have (TINKER_ENOENT)
 * makes the trainer fatal.
 * trainer, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_info(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_trainer_get_info(tinker_trainer_t *trainer,
                        const tinker_call_options_t *call);

#ifdef __cplusplus
}
#endif

#endif
