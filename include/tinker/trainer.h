/* Trainer: a LoRA model in training.
 *
 * Operations of one trainer are carried out by the service in the order of
 * the calls, whatever thread made them; submit the next before the last has
 * ended to keep the service busy. Inputs are encoded before a call returns.
 *
 * Every operation takes the same last arguments. call: deadline, may be NULL.
 * cb, user: see tinker_done_cb; cb may be NULL. out: receives the future,
 * owned by the caller; may be NULL if cb is not.
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
 * but the gradients of the others count: tinker_error_outcome_is_unknown() says
 * so, and the next optimizer step would use them.
 *
 * If a number can't be delivered, or the session has ended, the trainer is
 * fatal: it refuses every later call with TINKER_EFATAL rather than leave a
 * hole in the order. It is also fatal if the service turns out to wait for a
 * number that was refused, since then the refusal was not the service's own. */
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
 * trainer: not NULL. data: n examples, not NULL each, borrowed until the call
 * returns. n: at least 1. loss: borrowed; NULL = cross-entropy. call: may be
 * NULL. cb, user: may be NULL. out: may be NULL if cb is not. Result:
 * tinker_future_get_forward(). Returns 0, TINKER_EINVAL, TINKER_ENOTSUP,
 * TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED, TINKER_EOVERFLOW or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_forward(tinker_trainer_t *trainer,
                                      const tinker_datum_t *const *data,
                                      size_t n, const tinker_loss_t *loss,
                                      const tinker_call_options_t *call,
                                      tinker_done_cb cb, void *user,
                                      tinker_future_t **out);

/* Computes a loss and adds its gradients to those of earlier calls since the
 * last optimizer step. The loss is a sum: dividing by a number of tokens or
 * examples is the caller's task, through weights or advantages.
 * trainer: not NULL. data: n examples, not NULL each, borrowed until the call
 * returns. n: at least 1. loss: borrowed; NULL = cross-entropy. call: may be
 * NULL. cb, user: may be NULL. out: may be NULL if cb is not. Result:
 * tinker_future_get_forward(). Returns 0, TINKER_EINVAL, TINKER_ENOTSUP,
 * TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED, TINKER_EOVERFLOW or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_forward_backward(
    tinker_trainer_t *trainer, const tinker_datum_t *const *data, size_t n,
    const tinker_loss_t *loss, const tinker_call_options_t *call,
    tinker_done_cb cb, void *user, tinker_future_t **out);

/* Updates the weights from the gathered gradients and clears those.
 * trainer: not NULL. params: borrowed; NULL = the defaults. call: may be NULL.
 * cb, user: may be NULL. out: may be NULL if cb is not. Result:
 * tinker_future_get_optim(). Returns 0, TINKER_EINVAL, TINKER_ENOTSUP,
 * TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED or TINKER_ENOMEM. Any
 * thread. */
TINKER_API int tinker_trainer_optim_step(tinker_trainer_t *trainer,
                                         const tinker_adam_params_t *params,
                                         const tinker_call_options_t *call,
                                         tinker_done_cb cb, void *user,
                                         tinker_future_t **out);

/* Saves weights and optimizer, to go on training from. A name that the run has
 * already, without overwrite, ends the operation with TINKER_ESERVER and
 * changes nothing; the trainer goes on.
 * trainer: not NULL. name: 1 to 255 characters of [A-Za-z0-9_.-]. options: may
 * be NULL. call: may be NULL. cb, user: may be NULL. out: may be NULL if cb is
 * not. Result: tinker_future_get_path(). Returns 0, TINKER_EINVAL,
 * TINKER_ENOTSUP, TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_save_state(tinker_trainer_t *trainer,
                                         const char *name,
                                         const tinker_save_options_t *options,
                                         const tinker_call_options_t *call,
                                         tinker_done_cb cb, void *user,
                                         tinker_future_t **out);

/* Loads saved weights into this model, with a fresh optimizer. The service
 * allows it only as the first operation of a new model.
 * trainer: not NULL. path: "tinker://<run>/weights/<name>". call: may be NULL.
 * cb, user: may be NULL. out: may be NULL if cb is not. Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED
 * or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_load_state(tinker_trainer_t *trainer,
                                         const char *path,
                                         const tinker_call_options_t *call,
                                         tinker_done_cb cb, void *user,
                                         tinker_future_t **out);

/* Loads saved weights and optimizer into this model. The service allows it
 * only as the first operation of a new model.
 * trainer: not NULL. path: "tinker://<run>/weights/<name>". call: may be NULL.
 * cb, user: may be NULL. out: may be NULL if cb is not. Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED
 * or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_load_state_with_optimizer(
    tinker_trainer_t *trainer, const char *path,
    const tinker_call_options_t *call, tinker_done_cb cb, void *user,
    tinker_future_t **out);

/* Saves the weights under a name, to sample from.
 * trainer: not NULL. name: 1 to 255 characters of [A-Za-z0-9_.-]. options: may
 * be NULL; overwrite must be 0. call: may be NULL. cb, user: may be NULL. out:
 * may be NULL if cb is not. Result: tinker_future_get_path(). Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED
 * or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_save_weights_for_sampler(
    tinker_trainer_t *trainer, const char *name,
    const tinker_save_options_t *options, const tinker_call_options_t *call,
    tinker_done_cb cb, void *user, tinker_future_t **out);

/* Makes a sampler of the present weights without naming them.
 * trainer: not NULL. call: may be NULL. cb, user: may be NULL. out: may be
 * NULL if cb is not. Result: tinker_future_get_sampler(). Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_EFATAL, TINKER_ECLOSED
 * or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_create_sampler(tinker_trainer_t *trainer,
                                             const tinker_call_options_t *call,
                                             tinker_done_cb cb, void *user,
                                             tinker_future_t **out);

/* Asks what the model is.
 * trainer: not NULL. call: may be NULL. cb, user: may be NULL. out: may be
 * NULL if cb is not. Result: tinker_future_get_info(). Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_trainer_get_info(tinker_trainer_t *trainer,
                                       const tinker_call_options_t *call,
                                       tinker_done_cb cb, void *user,
                                       tinker_future_t **out);

#ifdef __cplusplus
}
#endif

#endif
