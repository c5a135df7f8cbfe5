/* kinds: the kinds of operations, with their names on the wire, the functions
 * that build a request when it leaves its queue, and the order of the steps.
 * Everything except the tables runs on the loop's thread. */
#include <stdio.h>
#include <string.h>

#include "api/job.h"
#include "http/url.h"

static int encode(tinker__op_t *op, const tinker__bind_table_t *table,
                  const void *message) {
  tinker__buf_t *text = &op->parts[0].text;
  tinker__buf_clear(text);
  return tinker__message_encode(text, table, message);
}

/* --- a new trainer: create_model or load_weights, then get_info --- */

/* May another client have taken this number? This one takes the next ones. */
static int check_model_seq(const tinker__session_t *session, int64_t seq) {
  int64_t next, sampling;
  tinker__session_counters(session, &next, &sampling);
  return seq < next ? 0 : TINKER_EINVAL;
}

static int prepare_create(tinker__op_t *op) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__session_t *session = job->core->session;
  if (op->adopted) {
    return check_model_seq(session, job->request.create.model_seq_id);
  }
  job->request.create.session_id = tinker__session_id(session);
  job->request.create.model_seq_id = tinker__session_next_model_seq(session);
  return encode(op, &tinker__create_model_msg, &job->request.create);
}

static int prepare_load(tinker__op_t *op) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__session_t *session = job->core->session;
  tinker__load_weights_t *load = &job->request.load;
  load->session_id = tinker__session_id(session);
  if (op->adopted) return check_model_seq(session, load->model_seq_id);
  load->has_model_seq_id = true;
  load->model_seq_id = tinker__session_next_model_seq(session);
  return encode(op, &tinker__load_weights_msg, load);
}

static int prepare_info(tinker__op_t *op) {
  tinker__get_info_t ask = {.model_id = tinker__op_job(op)->model_id};
  return encode(op, &tinker__get_info_msg, &ask);
}

static int decode(tinker__op_t *op, const tinker__bind_table_t *table,
                  void *out, char *why, size_t why_len) {
  const tinker__raw_t *raw = &op->parts[0].raw;
  tinker__str_t body = {raw->data ? raw->data : "", raw->len};
  return tinker__message_decode(table, out, &tinker__op_job(op)->arena, body,
                                why, why_len);
}

static int next_of_model(tinker__op_t *op, const char *model_id,
                         const tinker__kind_t *step, char *why,
                         size_t why_len) {
  if (!model_id) return TINKER_ENOMEM;
  if (!tinker__segment_ok(model_id)) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "model_id \"%s\" may not be a part of a path", model_id);
  }
  tinker__op_job(op)->model_id = model_id;
  tinker__op_next_step(op, step);
  return TINKER__NEXT_STEP;
}

static int after_create(tinker__op_t *op, const tinker__kind_t *step, char *why,
                        size_t why_len) {
  tinker__create_model_result_t result;
  int rc = decode(op, &tinker__create_model_result_msg, &result, why, why_len);
  if (rc) return rc;
  if (!result.model_id) {
    return tinker__why(why, why_len, TINKER_EPROTO, "model_id is missing");
  }
  return next_of_model(op, result.model_id, step, why, why_len);
}

static int created(tinker__op_t *op, char *why, size_t why_len) {
  return after_create(op, &tinker__kind_get_info, why, why_len);
}

/* The official client builds the id itself and ignores the reply's (protocol
 * 6.10); we do so only when the reply has none. */
static int loaded(tinker__op_t *op, char *why, size_t why_len) {
  tinker__load_weights_result_t result;
  tinker__job_t *job = tinker__op_job(op);
  char id[TINKER__SEGMENT_MAX + 32];
  int rc = decode(op, &tinker__load_weights_result_msg, &result, why, why_len);
  if (rc) return rc;
  const char *model_id = result.model_id;
  if (!model_id) {
    snprintf(id, sizeof id, "%s:train:%lld", job->request.load.session_id,
             (long long)job->request.load.model_seq_id);
    model_id = tinker__job_str(job, id);
  }
  return next_of_model(op, model_id, &tinker__kind_get_info, why, why_len);
}

/* --- a new trainer from a state, for a service that makes no model by
 * load_weights: what the state is of, a model like that, then its weights.
 * A model takes weights by its first request only. --- */

static int prepare_weights_info(tinker__op_t *op) {
  tinker__weights_info_t ask = {.tinker_path =
                                    tinker__op_job(op)->request.load.path};
  return encode(op, &tinker__weights_info_msg, &ask);
}

static int prepare_first_load(tinker__op_t *op) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__load_weights_t load = {.model_id = job->model_id,
                                 .has_seq_id = true,
                                 .seq_id = 1,
                                 .path = job->request.load.path,
                                 .optimizer = job->request.load.optimizer};
  job->used_seq = 1;
  return encode(op, &tinker__load_weights_msg, &load);
}

static int first_loaded(tinker__op_t *op, char *why, size_t why_len) {
  (void)why, (void)why_len;
  tinker__op_next_step(op, &tinker__kind_get_info);
  return TINKER__NEXT_STEP;
}

/* The trainer is not there yet, so this request has its number by itself. The
 * service refuses a second one, so it is not sent again. */
static const tinker__kind_t first_load = {
    .id = TINKER_KIND_CREATE_TRAINER_FROM_STATE,
    .name = "load_state",
    .path = "api/v1/load_weights",
    .request_type = "LoadWeights",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_first_load,
    .next = first_loaded,
};

static int created_like(tinker__op_t *op, char *why, size_t why_len) {
  return after_create(op, &first_load, why, why_len);
}

static const tinker__kind_t create_like = {
    .id = TINKER_KIND_CREATE_TRAINER_FROM_STATE,
    .name = "create_trainer",
    .path = "api/v1/create_model",
    .request_type = "CreateModel",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_create,
    .next = created_like,
};

/* A part that the service says nothing of is trained. */
static int informed(tinker__op_t *op, char *why, size_t why_len) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__weights_info_reply_t i;
  int rc = decode(op, &tinker__weights_info_reply_msg, &i, why, why_len);
  if (rc) return rc;
  if (!i.is_lora || !i.has_lora_rank || i.lora_rank < 1) {
    return tinker__why(why, why_len, TINKER_EPROTO,
                       "%s is not of a LoRA of a known rank",
                       job->request.load.path);
  }
  bool own = job->request.load.optimizer && i.optimizer_config.len;
  job->request.create = (tinker__create_model_t){
      .base_model = i.base_model,
      .user_metadata = job->request.load.user_metadata,
      .has_lora_config = true,
      .lora_config = {.rank = i.lora_rank,
                      .train_unembed = !i.has_train_unembed || i.train_unembed,
                      .train_mlp = !i.has_train_mlp || i.train_mlp,
                      .train_attn = !i.has_train_attn || i.train_attn},
      .optimizer_config =
          own ? i.optimizer_config : TINKER__STR(TINKER__ADAMW_JSON)};
  tinker__op_next_step(op, &create_like);
  return TINKER__NEXT_STEP;
}

static const tinker__kind_t weights_info = {
    .id = TINKER_KIND_CREATE_TRAINER_FROM_STATE,
    .name = "weights_info",
    .path = "api/v1/weights_info",
    .retry = TINKER__RETRY_READ,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_SESSION,
    .prepare = prepare_weights_info,
    .next = informed,
};

/* "body.model_id: Field required": it is not one that a session may name. */
static const tinker__kind_t *like_state(int status, const char *words) {
  bool wants_model = status == 422 && strstr(words, "model_id: ");
  return wants_model ? &weights_info : NULL;
}

const tinker__kind_t tinker__kind_create_model = {
    .id = TINKER_KIND_CREATE_TRAINER,
    .name = "create_trainer",
    .path = "api/v1/create_model",
    .request_type = "CreateModel",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_create,
    .next = created,
};

const tinker__kind_t tinker__kind_load_new = {
    .id = TINKER_KIND_CREATE_TRAINER_FROM_STATE,
    .name = "create_trainer_from_state",
    .path = "api/v1/load_weights",
    .request_type = "LoadWeights",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_load,
    .next = loaded,
    .instead = like_state,
};

const tinker__kind_t tinker__kind_get_info = {
    .id = TINKER_KIND_GET_INFO,
    .name = "get_info",
    .path = "api/v1/get_info",
    .retry = TINKER__RETRY_READ,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_SESSION,
    .prepare = prepare_info,
};

const tinker__kind_t tinker__kind_adopt_trainer = {
    .id = TINKER_KIND_ADOPT_TRAINER,
    .name = "adopt_trainer",
    .path = "api/v1/get_info",
    .retry = TINKER__RETRY_READ,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_SESSION,
    .prepare = prepare_info,
};

/* --- the end of the session, by a call --- */

static int prepare_finish(tinker__op_t *op) {
  tinker__finish_t m = {.has_reason = true, .reason = {"success"}};
  char path[TINKER__SEGMENT_MAX + 32];
  snprintf(path, sizeof path, "api/v1/sessions/%s/finish",
           tinker__session_id(tinker__op_job(op)->core->session));
  op->path = tinker__mem_strdup(op->mem, path);
  if (!op->path) return TINKER_ENOMEM;
  return encode(op, &tinker__finish_msg, &m);
}

static int finished(tinker__op_t *op, char *why, size_t why_len) {
  (void)why;
  (void)why_len;
  tinker__session_set_finished(tinker__op_job(op)->core->session);
  tinker__flow_unready(op->flow, TINKER__NEEDS_SESSION);
  return TINKER__NEXT_NONE;
}

const tinker__kind_t tinker__kind_finish = {
    .id = TINKER_KIND_FINISH_SESSION,
    .name = "finish_session",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_finish,
    .next = finished,
};

const tinker__kind_t tinker__kind_capabilities = {
    .id = TINKER_KIND_GET_CAPABILITIES,
    .name = "get_capabilities",
    .path = "api/v1/get_server_capabilities",
    .retry = TINKER__RETRY_READ,
    .method = TINKER__HTTP_GET,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_CONFIG,
};

/* --- samplers --- */

static int prepare_sampling(tinker__op_t *op) {
  tinker__job_t *job = tinker__op_job(op);
  tinker__session_t *session = job->core->session;
  tinker__create_sampling_t *ask = &job->request.sampling;
  if (op->adopted) {
    int64_t model, next;
    tinker__session_counters(session, &model, &next);
    return ask->sampling_session_seq_id < next ? 0 : TINKER_EINVAL;
  }
  ask->session_id = tinker__session_id(session);
  ask->sampling_session_seq_id = tinker__session_next_sampling_seq(session);
  return encode(op, &tinker__create_sampling_msg, ask);
}

const tinker__kind_t tinker__kind_create_sampling = {
    .id = TINKER_KIND_CREATE_SAMPLER,
    .name = "create_sampler",
    .path = "api/v1/create_sampling_session",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_sampling,
};

static int prepare_adopt_sampler(tinker__op_t *op) {
  char path[TINKER__SEGMENT_MAX + 32];
  snprintf(path, sizeof path, "api/v1/samplers/%s",
           tinker__op_job(op)->sampler_id);
  op->path = tinker__mem_strdup(op->mem, path);
  return op->path ? 0 : TINKER_ENOMEM;
}

const tinker__kind_t tinker__kind_adopt_sampler = {
    .id = TINKER_KIND_ADOPT_SAMPLER,
    .name = "adopt_sampler",
    .retry = TINKER__RETRY_READ,
    .method = TINKER__HTTP_GET,
    .lane = TINKER__LANE_CONTROL,
    .needs = TINKER__NEEDS_SESSION,
    .prepare = prepare_adopt_sampler,
};

const tinker__kind_t tinker__kind_sample = {
    .id = TINKER_KIND_SAMPLE,
    .name = "sample",
    .path = "api/v1/asample",
    .request_type = "Sample",
    .retry = TINKER__RETRY_SAMPLE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .proto_result = true,
    .keep_accepted = true,
};

/* An ephemeral save takes its number of the session's samplers when it leaves
 * the queue, once: re-sends carry the same one. */
static int prepare_ephemeral(tinker__op_t *op) {
  tinker__job_t *job = tinker__op_job(op);
  if (op->adopted) return 0;
  tinker__save_sampler_t save = {
      .has_sampling_session_seq_id = true,
      .sampling_session_seq_id =
          tinker__session_next_sampling_seq(job->core->session),
      .kind = "snapshot",
  };
  return tinker__message_encode_numbered(&op->parts[0].body, op->mem,
                                         &tinker__save_sampler_msg, &save,
                                         tinker__str(op->turn->id));
}

/* --- a trainer's numbered calls --- */

#define NUMBERED(id_, name_, path_, type_)                                     \
  .id = (id_), .name = (name_), .path = "api/v1/" path_,                       \
  .request_type = (type_), .retry = TINKER__RETRY_NUMBERED,                    \
  .method = TINKER__HTTP_POST, .lane = TINKER__LANE_SUBMIT

const tinker__kind_t tinker__kind_forward = {
    NUMBERED(TINKER_KIND_FORWARD, "forward", "forward_backward", "Forward"),
    .effect = TINKER__EFFECT_FORWARD,
    .proto_body = true,
    .proto_result = true,
    .fb_quota = true,
};

const tinker__kind_t tinker__kind_forward_backward = {
    NUMBERED(TINKER_KIND_FORWARD_BACKWARD, "forward_backward",
             "forward_backward", "ForwardBackward"),
    .effect = TINKER__EFFECT_ADD,
    .proto_body = true,
    .proto_result = true,
    .fb_quota = true,
};

const tinker__kind_t tinker__kind_optim_step = {
    NUMBERED(TINKER_KIND_OPTIM_STEP, "optim_step", "optim_step", "OptimStep"),
    .effect = TINKER__EFFECT_STEP,
};

const tinker__kind_t tinker__kind_save_weights = {
    NUMBERED(TINKER_KIND_SAVE_STATE, "save_state", "save_weights",
             "SaveWeights"),
    .effect = TINKER__EFFECT_CHANGE,
};

const tinker__kind_t tinker__kind_load_weights = {
    NUMBERED(TINKER_KIND_LOAD_STATE, "load_state", "load_weights",
             "LoadWeights"),
    .effect = TINKER__EFFECT_CHANGE,
};

const tinker__kind_t tinker__kind_save_sampler = {
    NUMBERED(TINKER_KIND_SAVE_WEIGHTS_FOR_SAMPLER, "save_weights_for_sampler",
             "save_weights_for_sampler", "SaveWeightsForSampler"),
    .effect = TINKER__EFFECT_CHANGE,
};

const tinker__kind_t tinker__kind_save_ephemeral = {
    NUMBERED(TINKER_KIND_CREATE_SAMPLER, "create_sampler",
             "save_weights_for_sampler", "SaveWeightsForSampler"),
    .effect = TINKER__EFFECT_CHANGE,
    .prepare = prepare_ephemeral,
};
