/* Results that are handles: trainers and samplers, see results.h. */
#include "api/handles.h"
#include "api/results.h"
#include "http/url.h"

static tinker_error_t *decode_trainer(tinker_future_t *f) {
  tinker__get_info_reply_t info;
  tinker__job_t *job = tinker__job_of(f);
  tinker_error_t *error =
      tinker__result_message(f, &tinker__get_info_reply_msg, &info);
  if (error) return error;
  int rc = tinker__trainer_new(&job->trainer, job->core, job->model_id);
  f->result = job->trainer;
  if (!rc) job->trainer->turn->next_seq += job->used_seq;
  return rc ? tinker__result_malformed(f, rc, "") : NULL;
}

static tinker_error_t *new_sampler(tinker_future_t *f, const char *id,
                                   const char *field) {
  tinker__job_t *job = tinker__job_of(f);
  char why[TINKER__RESULT_WHY];
  if (!id || !id[0]) {
    tinker__why(why, sizeof why, 0, "%s is missing", field);
    return tinker__result_malformed(f, TINKER_EPROTO, why);
  }
  if (!tinker__segment_ok(id)) {
    tinker__why(why, sizeof why, 0, "%s \"%s\" may not be a part of a path",
                field, id);
    return tinker__result_malformed(f, TINKER_EPROTO, why);
  }
  int rc = tinker__sampler_new(&job->sampler, job->core, id);
  f->result = job->sampler;
  if (!rc) job->sampler->turn->next_seq += job->used_seq;
  return rc ? tinker__result_malformed(f, rc, "") : NULL;
}

static tinker_error_t *decode_adopted(tinker_future_t *f, const char *id) {
  tinker__sampler_reply_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__sampler_reply_msg, &reply);
  return error ? error : new_sampler(f, id, "sampler_id");
}

static tinker_error_t *decode_sampler(tinker_future_t *f) {
  tinker__create_sampling_reply_t reply;
  const char *adopted = tinker__job_of(f)->sampler_id;
  if (adopted) return decode_adopted(f, adopted);
  tinker_error_t *error =
      tinker__result_message(f, &tinker__create_sampling_reply_msg, &reply);
  return error
             ? error
             : new_sampler(f, reply.sampling_session_id, "sampling_session_id");
}

static tinker_error_t *decode_ephemeral(tinker_future_t *f) {
  tinker__save_sampler_result_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__save_sampler_result_msg, &reply);
  return error
             ? error
             : new_sampler(f, reply.sampling_session_id, "sampling_session_id");
}

TINKER__RESULT(trainer);
TINKER__RESULT(sampler);
TINKER__RESULT(ephemeral);
