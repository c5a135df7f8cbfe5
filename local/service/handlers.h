/* handlers: what the table of routes names, and what handlers share. */
#ifndef TINKER_SERVICE_HANDLERS_H
#define TINKER_SERVICE_HANDLERS_H

#include "service/http.h"
#include "service/work.h"

#define TINKER__HANDLER(name)                                                  \
  tinker__handled_t tinker__handle_##name(tinker__service_t *s,                \
                                          tinker__req_t *r)

/* client_config.c */
TINKER__HANDLER(client_config);
TINKER__HANDLER(dynamic_config);
/* session.c */
TINKER__HANDLER(telemetry);
TINKER__HANDLER(capabilities);
TINKER__HANDLER(create_session);
TINKER__HANDLER(heartbeat);
TINKER__HANDLER(finish_session);
/* health.c */
TINKER__HANDLER(healthz);
TINKER__HANDLER(ready);
/* create.c */
TINKER__HANDLER(create_model);
TINKER__HANDLER(load_new); /* load_weights that makes the model */
TINKER__HANDLER(get_info);
/* accept.c */
TINKER__HANDLER(load_weights);
TINKER__HANDLER(forward_backward);
TINKER__HANDLER(forward);
TINKER__HANDLER(optim_step);
TINKER__HANDLER(save_weights);
TINKER__HANDLER(save_weights_for_sampler);
TINKER__HANDLER(save_weights_external);
/* sampling.c */
TINKER__HANDLER(create_sampling_session);
TINKER__HANDLER(asample);
TINKER__HANDLER(sampler_info);
/* future.c */
TINKER__HANDLER(retrieve_future);
/* rest.c */
TINKER__HANDLER(weights_info);
TINKER__HANDLER(training_runs);
TINKER__HANDLER(training_run);
TINKER__HANDLER(run_checkpoints);
TINKER__HANDLER(checkpoints);
TINKER__HANDLER(sessions);
TINKER__HANDLER(session_info);
/* The run that the path names, or NULL and r is answered. Under the lock. */
tinker__model_t *tinker__find_run(tinker__service_t *s, tinker__req_t *r);
/* operator.c */
TINKER__HANDLER(mark_corrupted);
/* fault.c */
TINKER__HANDLER(ledger);
/* rest_checkpoint.c */
TINKER__HANDLER(delete_checkpoint);
TINKER__HANDLER(publish);
TINKER__HANDLER(unpublish);
TINKER__HANDLER(set_ttl);

/* Parks r until a is durable (its reply must be set); under the lock. */
tinker__handled_t tinker__ack_wait(tinker__ack_t *a, tinker__req_t *r);

/* accept.c: a new op becomes known and goes to the store with its body; r
 * (whose reply is set) is parked on it. w is from tinker__op_write_begin, with
 * statements that go along or none; NULL = that had no memory. Under the lock.
 * On failure r is answered and the op freed. */
tinker__handled_t tinker__op_accept(tinker__service_t *s, tinker__req_t *r,
                                    tinker__op_t *op, tinker__write_t *w);
/* Begins the write that tinker__op_accept ends. NULL without memory. */
tinker__write_t *tinker__op_write_begin(tinker__op_t *op);
/* The same number again: its future if it is the same call with an equal
 * digest, else 409. */
tinker__handled_t tinker__op_again(tinker__req_t *r, tinker__op_t *op,
                                   tinker__op_kind_t kind,
                                   const unsigned char *digest,
                                   size_t num_samples);
/* Sets the reply {"request_id", "model_id", ...}. */
void tinker__reply_future(tinker__req_t *r, const tinker__op_t *op,
                          size_t num_samples);
/* create.c: refuses every optimizer family but adamw, by name. */
int tinker__check_optimizer(tinker__service_t *s, tinker__str_t json,
                            const char *prefix, char *why, size_t why_len);

/* work.c: ttl_seconds, if given, within its bounds. */
int tinker__check_ttl(int64_t ttl, bool given, char *why, size_t why_len);
/* work.c: user_metadata must be an object of strings. */
int tinker__check_metadata(tinker__mem_t *mem, tinker__str_t json, char *why,
                           size_t why_len);
/* Replies with why: 503 without memory, else the status. */
tinker__handled_t tinker__reply_why(tinker__req_t *r, int rc, int status,
                                    const char *why);

#endif
