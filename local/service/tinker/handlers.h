/* handlers: what the table of routes names, and what handlers share. */
#ifndef TINKER_SERVICE_HANDLERS_H
#define TINKER_SERVICE_HANDLERS_H

#include "service/http/http.h"
#include "service/parse/work.h"

/* client_config.c */
tinker__svc_handled_t tinker__svc_handle_client_config(tinker__svc_t *s,
                                                       tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_dynamic_config(tinker__svc_t *s,
                                                        tinker__svc_req_t *r);
/* session.c */
tinker__svc_handled_t tinker__svc_handle_telemetry(tinker__svc_t *s,
                                                   tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_capabilities(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_create_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_heartbeat(tinker__svc_t *s,
                                                   tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_finish_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r);
/* health.c */
tinker__svc_handled_t tinker__svc_handle_healthz(tinker__svc_t *s,
                                                 tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_ready(tinker__svc_t *s,
                                               tinker__svc_req_t *r);
/* create.c */
tinker__svc_handled_t tinker__svc_handle_create_model(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_load_new(
    tinker__svc_t *s,
    tinker__svc_req_t *r); /* load_weights that makes the model */
tinker__svc_handled_t tinker__svc_handle_get_info(tinker__svc_t *s,
                                                  tinker__svc_req_t *r);
/* accept.c */
tinker__svc_handled_t tinker__svc_handle_load_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_forward_backward(tinker__svc_t *s,
                                                          tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_forward(tinker__svc_t *s,
                                                 tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_optim_step(tinker__svc_t *s,
                                                    tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_save_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t
tinker__svc_handle_save_weights_for_sampler(tinker__svc_t *s,
                                            tinker__svc_req_t *r);
tinker__svc_handled_t
tinker__svc_handle_save_weights_external(tinker__svc_t *s,
                                         tinker__svc_req_t *r);
/* sampling.c */
tinker__svc_handled_t
tinker__svc_handle_create_sampling_session(tinker__svc_t *s,
                                           tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_asample(tinker__svc_t *s,
                                                 tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_sampler_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
/* future.c */
tinker__svc_handled_t tinker__svc_handle_retrieve_future(tinker__svc_t *s,
                                                         tinker__svc_req_t *r);
/* rest.c */
tinker__svc_handled_t tinker__svc_handle_weights_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_training_runs(tinker__svc_t *s,
                                                       tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_training_run(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_run_checkpoints(tinker__svc_t *s,
                                                         tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_checkpoints(tinker__svc_t *s,
                                                     tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_sessions(tinker__svc_t *s,
                                                  tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_session_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
/* The run that the path names, or NULL and r is answered. Under the lock. */
tinker__svc_model_t *tinker__svc_find_run(tinker__svc_t *s,
                                          tinker__svc_req_t *r);
/* operator.c */
tinker__svc_handled_t tinker__svc_handle_mark_corrupted(tinker__svc_t *s,
                                                        tinker__svc_req_t *r);
/* fault.c */
tinker__svc_handled_t tinker__svc_handle_ledger(tinker__svc_t *s,
                                                tinker__svc_req_t *r);
/* rest_checkpoint.c */
tinker__svc_handled_t
tinker__svc_handle_delete_checkpoint(tinker__svc_t *s, tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_publish(tinker__svc_t *s,
                                                 tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_unpublish(tinker__svc_t *s,
                                                   tinker__svc_req_t *r);
tinker__svc_handled_t tinker__svc_handle_set_ttl(tinker__svc_t *s,
                                                 tinker__svc_req_t *r);

/* Parks r until a is durable (its reply must be set); under the lock. */
tinker__svc_handled_t tinker__svc_ack_wait(tinker__svc_ack_t *a,
                                           tinker__svc_req_t *r);

/* accept.c: a new op becomes known and goes to the store with its body; r
 * (whose reply is set) is parked on it. w is from tinker__svc_op_write_begin,
 * with statements that go along or none; NULL = that had no memory. Under the
 * lock. On failure r is answered and the op freed. */
tinker__svc_handled_t tinker__svc_op_accept(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op,
                                            tinker__svc_write_t *w);
/* Begins the write that tinker__svc_op_accept ends. NULL without memory. */
tinker__svc_write_t *tinker__svc_op_write_begin(tinker__svc_op_t *op);
/* The same number again: its future if it is the same call with an equal
 * digest, else 409. */
tinker__svc_handled_t tinker__svc_op_again(tinker__svc_req_t *r,
                                           tinker__svc_op_t *op,
                                           tinker__svc_op_kind_t kind,
                                           const unsigned char *digest,
                                           size_t num_samples);
/* Sets the reply {"request_id", "model_id", ...}. */
void tinker__svc_reply_future(tinker__svc_req_t *r, const tinker__svc_op_t *op,
                              size_t num_samples);
/* create.c: refuses every optimizer family but adamw, by name. */
int tinker__svc_check_optimizer(tinker__svc_t *s, tinker__str_t json,
                                const char *prefix, char *why, size_t why_len);

/* work.c: ttl_seconds, if given, within its bounds. */
int tinker__svc_check_ttl(int64_t ttl, bool given, char *why, size_t why_len);
/* work.c: user_metadata must be an object of strings. */
int tinker__svc_check_metadata(tinker__mem_t *mem, tinker__str_t json,
                               char *why, size_t why_len);
/* Replies with why: 503 without memory, else the status. */
tinker__svc_handled_t tinker__svc_reply_why(tinker__svc_req_t *r, int rc,
                                            int status, const char *why);

#endif
