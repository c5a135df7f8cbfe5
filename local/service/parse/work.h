/* work: a numbered call after reading its body, and after checking it.
 *
 * A body is read once: tinker__svc_call_read takes the model or sampler, the
 * number and all other fields out of it. The head (model and number) of a body
 * that is refused is read too, since a refused call uses up its number.
 *
 * Parsing is a pure function of the body, the base model and the seed, so the
 * log can be executed again from bodies alone. A bad body is refused with a
 * sentence that names the field; nothing is guessed or cut. Any thread. */
#ifndef TINKER_SERVICE_WORK_H
#define TINKER_SERVICE_WORK_H

#include "base/arena.h"
#include "service/core/core.h"
#include "service/parse/body.h"
#include "wire/fb_request.h"
#include "wire/sample.h"

struct tinker__svc_work_s {
  tinker__mem_t *mem;
  tinker__svc_op_kind_t kind;
  /* forward_backward and asample: digest of the decoded message. */
  unsigned char digest[TINKER__SHA256_LEN];
  /* Loads. */
  char *path;
  bool optimizer;
  /* forward_backward. */
  tinker__arena_t arena; /* data points into it */
  tinker__eng_train_datum_t *data;
  size_t n_data;
  bool forward_only;
  tinker__eng_loss_config_t loss;
  /* optim_step. */
  tinker__eng_optim_params_t adam;
  /* Saves. */
  char *name; /* NULL = ephemeral */
  int64_t sampler_seq;
  int64_t ttl_s; /* 0 = never expires */
  bool overwrite;
  char *metadata; /* JSON object or NULL */
  /* asample. */
  tinker__eng_gen_t *gen;
  size_t num_samples;
  uint64_t price; /* bytes of its result while it is made: work_sample.c */
  const tinker__tensor_view_t *target; /* ids to score; NULL = none */
};

/* The calls of a model or sampler after reading, by kind. */
typedef union tinker__svc_message_u {
  tinker__call_head_t head; /* of a kind that is not offered */
  tinker__fb_request_t fb;
  tinker__sample_request_t sample;
  tinker__optim_step_t optim;
  tinker__save_weights_t save;
  tinker__save_sampler_t save_sampler;
  tinker__load_weights_t load;
} tinker__svc_message_t;

/* A body that was read. An id that the body does not have is NULL. */
typedef struct tinker__svc_call_s {
  tinker__svc_op_kind_t kind;
  tinker__bind_head_t head; /* says whether the next four are known */
  const char *model_id, *session_id;
  bool has_seq_id;
  int64_t seq_id;
  tinker__svc_message_t message; /* valid when rc is 0 */
  /* forward_backward and asample that are not refused: digest of the decoded
   * message. */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__arena_t arena; /* the ids and the message point into it */
  int rc;                /* 0, or the code of the refusal */
  char why[400];
} tinker__svc_call_t;

/* Reads a body as a call of this kind. Limits of the model and of the service
 * are not checked here. format: TINKER__FORMAT_... *out must be freed in any
 * case. */
void tinker__svc_call_read(tinker__svc_call_t *out, tinker__mem_t *mem,
                           tinker__svc_op_kind_t kind, int format,
                           tinker__str_t body);
void tinker__svc_call_free(tinker__svc_call_t *c);

/* The limits and defaults with which a call is checked. */
typedef struct tinker__svc_terms_s {
  tinker__svc_base_model_t *base; /* may be NULL for loads and saves */
  int64_t seed;                   /* of a sample that named none */
  int64_t max_tokens;             /* 0 = no limit: the call is from the log */
  /* Bytes that the result of a sample may take while it is made. 0 = no limit,
   * for the same reason. */
  uint64_t max_result;
} tinker__svc_terms_t;

/* Checks a call that was read and makes its work, which takes the call's arena.
 * 0, TINKER_EINVAL (*status is 400 or 422), or TINKER_ENOMEM; after an error
 * the call still has its arena. */
int tinker__svc_work_take(tinker__svc_work_t **out, tinker__svc_call_t *c,
                          const tinker__svc_terms_t *terms, int *status,
                          char *why, size_t why_len);

/* Reads and checks a body of the log. */
typedef struct tinker__svc_work_in_s {
  tinker__svc_op_kind_t kind;
  int format;
  tinker__str_t body;
  tinker__svc_base_model_t *base;
  int64_t seed, max_tokens;
} tinker__svc_work_in_t;
int tinker__svc_work_parse(tinker__svc_work_t **out, tinker__svc_t *s,
                           const tinker__svc_work_in_t *in, int *status,
                           char *why, size_t why_len);
void tinker__svc_work_free(tinker__svc_work_t *w);

/* --- Functions that the files of this folder share --- */
/* TINKER_EINVAL when the request is larger than the terms say. */
int tinker__svc_work_check_tokens(const tinker__svc_work_t *w,
                                  const tinker__svc_terms_t *terms,
                                  size_t tokens, char *why, size_t why_len);
void tinker__svc_call_read_fb(tinker__svc_call_t *c, int format,
                              tinker__str_t body);
int tinker__svc_work_forward_backward(tinker__svc_work_t *w,
                                      const tinker__fb_request_t *q,
                                      const tinker__svc_terms_t *terms,
                                      char *why, size_t why_len);
int tinker__svc_work_sample(tinker__svc_work_t *w,
                            const tinker__sample_request_t *q,
                            const tinker__svc_terms_t *terms, char *why,
                            size_t why_len);
/* Takes the scores that q wants of its prompt; spec has the prompt already. */
int tinker__svc_work_scores(tinker__svc_work_t *w,
                            const tinker__sample_request_t *q,
                            const tinker__eng_base_info_t *info,
                            tinker__eng_gen_spec_t *spec, char *why,
                            size_t why_len);

/* Model and number of a forward_backward in protobuf. They are found by
 * stepping over its fields, so this works for messages that can't be unpacked,
 * and takes no memory for the rest. */
typedef struct tinker__svc_head_s {
  char model_id[160];
  int64_t seq;
} tinker__svc_head_t;
int tinker__svc_work_proto_head(tinker__str_t body, tinker__svc_head_t *out,
                                char *why, size_t why_len);

/* Refuses every optimizer family but adamw, by name. */
int tinker__svc_check_optimizer(tinker__arena_t *arena, tinker__str_t json,
                                const char *prefix, char *why, size_t why_len);
/* Checks ttl_seconds, if given, against its bounds. */
int tinker__svc_check_ttl(int64_t ttl, bool given, char *why, size_t why_len);
/* Checks that user_metadata is an object of strings. */
int tinker__svc_check_metadata(tinker__mem_t *mem, tinker__str_t json,
                               char *why, size_t why_len);

/* Append results to an initialised buffer. 0 or a code. */
int tinker__svc_result_forward_backward(tinker__buf_t *out,
                                        tinker__svc_work_t *w, double loss);
int tinker__svc_result_sample(tinker__buf_t *out, const tinker__eng_gen_t *gen,
                              const tinker__tensor_view_t *target);
/* Appends a JSON result in the form in which services before store version 3
 * wrote it: floats without a fraction look like integers (0 for 0.0). Errors
 * stick in `out`. */
void tinker__svc_result_older_form(tinker__buf_t *out, tinker__str_t json);
/* Replies with the JSON form of a stored protobuf result, for clients that ask
 * for JSON. */
void tinker__svc_reply_result_as_json(tinker__svc_req_t *r,
                                      tinker__svc_op_kind_t kind,
                                      const void *data, size_t len);

#endif
