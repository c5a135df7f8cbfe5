/* handlers: the functions that the table of routes names, and a few that the
 * handlers share. A handler runs on an HTTP thread, or on a worker if the body
 * is large, and takes the service's lock itself. */
#ifndef TINKER_SERVICE_HANDLERS_H
#define TINKER_SERVICE_HANDLERS_H

#include "service/calls/calls.h"
#include "service/parse/work.h"

/* routes.c */
extern const tinker__svc_route_t tinker__svc_tinker_routes[];

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
/* Draws a seed when the client gave none; it is stored with the model or the
 * sample. It has 63 bits, so that it is an integer in JSON and in the store
 * too. 0, or the code of the world's random bytes, with why. */
int tinker__svc_draw_seed(tinker__svc_t *s, uint64_t *seed, char *why,
                          size_t why_len);
tinker__svc_handled_t tinker__svc_handle_create_model(tinker__svc_t *s,
                                                      tinker__svc_req_t *r);
/* Handles a load_weights that makes a model; its body was read by train.c. */
tinker__svc_handled_t tinker__svc_handle_load_new(tinker__svc_t *s,
                                                  tinker__svc_req_t *r,
                                                  tinker__svc_call_t *call);
tinker__svc_handled_t tinker__svc_handle_get_info(tinker__svc_t *s,
                                                  tinker__svc_req_t *r);
/* True when the base model is loaded; else r is answered. Under the lock. */
bool tinker__svc_usable_base(const tinker__svc_base_model_t *base,
                             tinker__svc_req_t *r);
/* train.c */
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
/* retrieve.c */
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
/* The run that r's path names, or NULL and r is answered. Under the lock. */
tinker__svc_model_t *tinker__svc_find_run(tinker__svc_t *s,
                                          tinker__svc_req_t *r);
/* dump.c */
tinker__svc_handled_t tinker__svc_handle_dump(tinker__svc_t *s,
                                              tinker__svc_req_t *r);
/* operator.c */
tinker__svc_handled_t tinker__svc_handle_mark_corrupted(tinker__svc_t *s,
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

/* Answers a number that op has used already: with the future of op if kind and
 * digest are equal, else with 409. */
tinker__svc_handled_t tinker__svc_op_again(tinker__svc_req_t *r,
                                           tinker__svc_op_t *op,
                                           tinker__svc_op_kind_t kind,
                                           const unsigned char *digest,
                                           size_t num_samples);
/* Sets the reply {"request_id", "model_id", ...}. */
void tinker__svc_reply_future(tinker__svc_req_t *r, const tinker__svc_op_t *op,
                              size_t num_samples);

#endif
