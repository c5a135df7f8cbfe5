/* Results about what there is at the service: runs, checkpoints and sessions,
 * see results.h. */
#include <string.h>

#include "api/results.h"
#include "base/json_read.h"
#include "wire/time.h"

/* A view that is being filled. rc is the first error, `why` its sentence. */
typedef struct draft_s {
  tinker_future_t *future;
  tinker__arena_t *arena;
  int rc;
  char why[TINKER__RESULT_WHY];
} draft_t;

static void begin(draft_t *d, tinker_future_t *f) {
  *d = (draft_t){.future = f, .arena = &tinker__job_of(f)->arena};
}

/* view: the result; NULL without memory for it. */
static tinker_error_t *end(draft_t *d, void *view) {
  if (!d->rc && !view) d->rc = TINKER_ENOMEM;
  if (d->rc) return tinker__result_malformed(d->future, d->rc, d->why);
  d->future->result = view;
  return NULL;
}

static void *copy(draft_t *d, const void *view, size_t size) {
  void *kept = d->rc ? NULL : tinker__arena_alloc(d->arena, size);
  if (kept) memcpy(kept, view, size);
  return kept;
}

static const char *or_empty(const char *s) {
  return s ? s : "";
}

static int32_t tristate(bool has, bool value) {
  return has ? value : -1;
}

static uint32_t rank_of(bool has, int64_t rank) {
  return has && rank > 0 && rank <= UINT32_MAX ? (uint32_t)rank : 0;
}

/* A time that can't be read is none that may be taken for "never". */
static int64_t time_of(draft_t *d, const char *field, const char *text) {
  int64_t ms = TINKER_NO_TIME;
  if (!text || tinker__time_read(tinker__str(text), &ms) || d->rc) return ms;
  d->rc = tinker__why(d->why, sizeof d->why, TINKER_EPROTO,
                      "%s is \"%.100s\", which is not a time", field, text);
  return ms;
}

/* --- user metadata --- */

/* A text as it is, something else as its JSON. NULL without memory. */
static const char *metadata_text(draft_t *d, tinker__str_t raw) {
  tinker__json_t j;
  tinker__str_t text = raw;
  tinker__json_init(&j, d->arena->mem, raw.ptr, raw.len);
  bool ok = tinker__json_peek(&j) != TINKER__JSON_STRING ||
            tinker__json_string(&j, &text);
  if (ok && memchr(text.ptr, 0, text.len)) text = raw;
  const char *kept = ok ? tinker__arena_str(d->arena, text) : NULL;
  tinker__json_done(&j);
  return kept;
}

static size_t read_metadata(draft_t *d, tinker__json_t *j,
                            const tinker_metadata_t **out) {
  tinker_metadata_t *list = NULL;
  size_t n = 0, cap = 0;
  tinker__str_t key, raw;
  tinker__json_object(j);
  while (!d->rc && tinker__json_key(j, &key)) {
    list = tinker__arena_grow(d->arena, list, n, &cap, sizeof *list);
    tinker_metadata_t entry = {
        .name = tinker__arena_str(d->arena, key),
        .value = tinker__json_raw(j, &raw) ? metadata_text(d, raw) : NULL};
    if (list && entry.name && entry.value) {
      list[n++] = entry;
    } else {
      d->rc = TINKER_ENOMEM; /* the text was checked when it was read */
    }
  }
  *out = list;
  return n;
}

/* raw: JSON that has been read before; empty = none. Returns the count. */
static size_t metadata_of(draft_t *d, tinker__str_t raw,
                          const tinker_metadata_t **out) {
  tinker__json_t j;
  *out = NULL;
  if (!raw.len || d->rc) return 0;
  tinker__json_init(&j, d->arena->mem, raw.ptr, raw.len);
  size_t n = 0;
  if (tinker__json_peek(&j) == TINKER__JSON_OBJECT) {
    n = read_metadata(d, &j, out);
  } else {
    d->rc = tinker__why(d->why, sizeof d->why, TINKER_EPROTO,
                        "user_metadata must be an object");
  }
  int rc = d->rc ? 0 : tinker__json_end(&j);
  if (rc) d->rc = rc;
  tinker__json_done(&j);
  return n;
}

/* --- checkpoints --- */

static tinker_checkpoint_type_t type_of(const char *name) {
  if (!strcmp(name, "training")) return TINKER_CHECKPOINT_TRAINING;
  if (!strcmp(name, "sampler")) return TINKER_CHECKPOINT_SAMPLER;
  if (!strcmp(name, "external")) return TINKER_CHECKPOINT_EXTERNAL;
  return TINKER_CHECKPOINT_OTHER;
}

static tinker_checkpoint_t checkpoint_of(draft_t *d,
                                         const tinker__checkpoint_reply_t *in) {
  tinker_checkpoint_t out = {
      .path = in->tinker_path,
      .checkpoint_id = in->checkpoint_id,
      .type = type_of(in->checkpoint_type),
      .is_public = in->is_public,
      .created_ms = time_of(d, "time", in->time),
      .expires_ms = time_of(d, "expires_at", in->expires_at),
      .size_bytes = in->has_size_bytes ? in->size_bytes : -1,
      .lacks_gradients = tristate(in->has_pending_gradients_not_saved,
                                  in->pending_gradients_not_saved),
  };
  out.metadata_count = metadata_of(d, in->user_metadata, &out.metadata);
  return out;
}

static tinker_error_t *decode_checkpoint_list(tinker_future_t *f) {
  draft_t d;
  tinker__checkpoints_reply_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__checkpoints_reply_msg, &reply);
  if (error) return error;
  begin(&d, f);
  const tinker__checkpoint_reply_t *in = reply.checkpoints.items;
  size_t n = reply.checkpoints.count;
  tinker_checkpoint_t *list = tinker__arena_array(d.arena, n, sizeof *list);
  if (!list) d.rc = TINKER_ENOMEM;
  for (size_t i = 0; !d.rc && i < n; i++) list[i] = checkpoint_of(&d, &in[i]);
  tinker_checkpoint_list_t out = {
      .checkpoints = list,
      .count = n,
      .offset = reply.has_cursor ? reply.cursor.offset : 0,
      .total_count = reply.has_cursor ? reply.cursor.total_count : -1,
  };
  return end(&d, copy(&d, &out, sizeof out));
}

/* --- runs --- */

static const tinker_checkpoint_t *
last_of(draft_t *d, bool has, const tinker__checkpoint_reply_t *in) {
  if (!has || d->rc) return NULL;
  tinker_checkpoint_t out = checkpoint_of(d, in);
  const tinker_checkpoint_t *kept = copy(d, &out, sizeof out);
  if (!kept && !d->rc) d->rc = TINKER_ENOMEM;
  return kept;
}

static tinker_training_run_t run_of(draft_t *d, const tinker__run_reply_t *in) {
  tinker_training_run_t out = {
      .run_id = in->training_run_id,
      .base_model = in->base_model,
      .owner = or_empty(in->model_owner),
      .is_lora = tristate(in->has_is_lora, in->is_lora),
      .lora_rank = rank_of(in->has_lora_rank, in->lora_rank),
      .corrupted = in->corrupted,
      .corrupted_known = in->has_corrupted,
      .last_request_ms = time_of(d, "last_request_time", in->last_request_time),
  };
  out.last_checkpoint =
      last_of(d, in->has_last_checkpoint, &in->last_checkpoint);
  out.last_sampler_checkpoint =
      last_of(d, in->has_last_sampler_checkpoint, &in->last_sampler_checkpoint);
  out.metadata_count = metadata_of(d, in->user_metadata, &out.metadata);
  return out;
}

static tinker_error_t *decode_run(tinker_future_t *f) {
  draft_t d;
  tinker__run_reply_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__run_reply_msg, &reply);
  if (error) return error;
  begin(&d, f);
  tinker_training_run_t out = run_of(&d, &reply);
  return end(&d, copy(&d, &out, sizeof out));
}

static tinker_error_t *decode_run_list(tinker_future_t *f) {
  draft_t d;
  tinker__runs_reply_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__runs_reply_msg, &reply);
  if (error) return error;
  begin(&d, f);
  const tinker__run_reply_t *in = reply.training_runs.items;
  size_t n = reply.training_runs.count;
  tinker_training_run_t *list = tinker__arena_array(d.arena, n, sizeof *list);
  if (!list) d.rc = TINKER_ENOMEM;
  for (size_t i = 0; !d.rc && i < n; i++) list[i] = run_of(&d, &in[i]);
  tinker_training_run_list_t out = {
      .runs = list,
      .count = n,
      .offset = reply.cursor.offset,
      .total_count = reply.cursor.total_count,
  };
  return end(&d, copy(&d, &out, sizeof out));
}

static tinker_error_t *decode_weights_info(tinker_future_t *f) {
  draft_t d;
  tinker__weights_info_reply_t in;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__weights_info_reply_msg, &in);
  if (error) return error;
  begin(&d, f);
  tinker_weights_info_t out = {
      .base_model = in.base_model,
      .optimizer_config = tinker__arena_str(d.arena, in.optimizer_config),
      .is_lora = in.is_lora,
      .lora_rank = rank_of(in.has_lora_rank, in.lora_rank),
      .train_attention = tristate(in.has_train_attn, in.train_attn),
      .train_mlp = tristate(in.has_train_mlp, in.train_mlp),
      .train_unembed = tristate(in.has_train_unembed, in.train_unembed),
  };
  if (!out.optimizer_config) d.rc = TINKER_ENOMEM;
  return end(&d, copy(&d, &out, sizeof out));
}

/* --- sessions --- */

static tinker_error_t *decode_session_list(tinker_future_t *f) {
  draft_t d;
  tinker__sessions_reply_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__sessions_reply_msg, &reply);
  if (error) return error;
  begin(&d, f);
  tinker_session_list_t out = {reply.sessions.items, reply.sessions.count};
  return end(&d, copy(&d, &out, sizeof out));
}

static tinker_error_t *decode_session(tinker_future_t *f) {
  draft_t d;
  tinker__session_reply_t in;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__session_reply_msg, &in);
  if (error) return error;
  begin(&d, f);
  tinker_session_info_t out = {
      .run_ids = in.training_run_ids.items,
      .run_count = in.training_run_ids.count,
      .sampler_ids = in.sampler_ids.items,
      .sampler_count = in.sampler_ids.count,
      .display_name = or_empty(in.display_name),
  };
  out.metadata_count = metadata_of(&d, in.user_metadata, &out.metadata);
  return end(&d, copy(&d, &out, sizeof out));
}

TINKER__RESULT(run);
TINKER__RESULT(run_list);
TINKER__RESULT(checkpoint_list);
TINKER__RESULT(weights_info);
TINKER__RESULT(session_list);
TINKER__RESULT(session);
