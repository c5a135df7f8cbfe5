/* work: a numbered call after decoding and checking.
 *
 * Parsing is a pure function of the body, the base model and the seed, so the
 * log can be executed again from bodies alone. A bad body is refused with a
 * sentence that names the field; nothing is guessed or cut. Any thread. */
#ifndef TINKER_SERVICE_WORK_H
#define TINKER_SERVICE_WORK_H

#include "base/arena.h"
#include "service/core/core.h"
#include "service/parse/body.h"
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

/* The JSON calls of a model after reading, by kind. */
typedef union tinker__svc_message_u {
  tinker__optim_step_t optim;
  tinker__save_weights_t save;
  tinker__save_sampler_t save_sampler;
  tinker__load_weights_t load;
} tinker__svc_message_t;

typedef struct tinker__svc_work_in_s {
  tinker__svc_op_kind_t kind;
  tinker__svc_base_model_t *base; /* may be NULL for loads and saves */
  int format;                     /* TINKER__FORMAT_... of the body */
  tinker__str_t body;
  const tinker__svc_message_t *message; /* the body after reading, or NULL */
  int64_t seed;                         /* for a sample that names none */
  /* 0 = no limit: a call in the log was accepted before. */
  int64_t max_tokens;
  uint64_t max_result; /* bytes that a sample's result may take while made */
} tinker__svc_work_in_t;

/* Decodes and checks a call. 0; TINKER_EINVAL with *status 400 or 422; or
 * TINKER_ENOMEM with *status as it was. */
int tinker__svc_work_parse(tinker__svc_work_t **out, tinker__svc_t *s,
                           const tinker__svc_work_in_t *in, int *status,
                           char *why, size_t why_len);
void tinker__svc_work_free(tinker__svc_work_t *w);
/* Reads a body as the message of this kind. Types of fields are checked here,
 * their values in work_parse. */
int tinker__svc_work_read(tinker__svc_op_kind_t kind,
                          tinker__svc_message_t *out, tinker__arena_t *arena,
                          tinker__str_t body, char *why, size_t why_len);

/* Parts of work_parse, by file. */
/* TINKER_EINVAL when tokens are more than in->max_tokens. */
int tinker__svc_work_check_tokens(const tinker__svc_work_in_t *in,
                                  size_t tokens, char *why, size_t why_len);
int tinker__svc_work_forward_backward(tinker__svc_work_t *w,
                                      const tinker__svc_work_in_t *in,
                                      char *why, size_t why_len);
int tinker__svc_work_sample(tinker__svc_work_t *w,
                            const tinker__svc_work_in_t *in, char *why,
                            size_t why_len);
/* Takes the scores that q wants of its prompt; spec has the prompt already. */
int tinker__svc_work_scores(tinker__svc_work_t *w,
                            const tinker__sample_request_t *q,
                            const tinker__eng_base_info_t *info,
                            tinker__eng_gen_spec_t *spec, char *why,
                            size_t why_len);

/* The model and number of a forward_backward body. They are read without the
 * rest, since a body that is refused uses its number up too. */
typedef struct tinker__svc_head_s {
  char model_id[160];
  int64_t seq;
} tinker__svc_head_t;
int tinker__svc_work_fb_head(tinker__mem_t *mem, tinker__str_t body, int format,
                             tinker__svc_head_t *out, char *why,
                             size_t why_len);

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
/* Replies with the JSON form of a stored protobuf result, for clients that ask
 * for JSON. */
void tinker__svc_reply_result_as_json(tinker__svc_req_t *r,
                                      tinker__svc_op_kind_t kind,
                                      const void *data, size_t len);

#endif
