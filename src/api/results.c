/* What all results share, and the ones with next to nothing in them, see
 * results.h. */
#include "api/results.h"

#include "base/error.h"

tinker__str_t tinker__result_body(const tinker_future_t *f, size_t i) {
  return (tinker__str_t){f->raw[i].data ? f->raw[i].data : "", f->raw[i].len};
}

char *tinker__result_take_body(tinker_future_t *f, size_t i) {
  char *body = f->raw[i].data;
  f->raw[i].data = NULL;
  return body;
}

static bool only_asks(const tinker_future_t *f) {
  static const tinker__future_ops_t *const answers[] = {
      &tinker__result_info,         &tinker__result_capabilities,
      &tinker__result_run,          &tinker__result_run_list,
      &tinker__result_session_list, &tinker__result_checkpoint_list,
      &tinker__result_session,      &tinker__result_weights_info};
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    if (f->ops == answers[i]) return true;
  }
  return f->kind == TINKER_KIND_ADOPT_TRAINER ||
         f->kind == TINKER_KIND_ADOPT_SAMPLER;
}

tinker_error_t *tinker__result_malformed(tinker_future_t *f, int code,
                                         const char *why) {
  if (code != TINKER_ENOMEM && code != TINKER_EOVERFLOW) code = TINKER_EPROTO;
  tinker__error_spec_t spec = {
      .code = code,
      .advice = only_asks(f) ? 0 : TINKER__ADVICE_UNKNOWN,
      .where = tinker__job_of(f)->core->where,
  };
  return tinker__error_new(f->mem, &spec,
                           "the request was carried out, but its result can't "
                           "be read: %s",
                           code == TINKER_ENOMEM ? tinker_code_text(code)
                                                 : why);
}

tinker_error_t *tinker__result_message(tinker_future_t *f,
                                       const tinker__bind_table_t *table,
                                       void *out) {
  char why[TINKER__RESULT_WHY] = "";
  tinker__job_t *job = tinker__job_of(f);
  int rc = tinker__message_decode(table, out, &job->arena,
                                  tinker__result_body(f, 0), why, sizeof why);
  return rc ? tinker__result_malformed(f, rc, why) : NULL;
}

/* --- results that have next to nothing in them --- */

static tinker_error_t *decode_none(tinker_future_t *f) {
  tinker__load_weights_result_t reply;
  return tinker__result_message(f, &tinker__load_weights_result_msg, &reply);
}

/* Decodes the answer to a save of either kind, which has a path. */
static tinker_error_t *decode_path(tinker_future_t *f) {
  tinker__save_weights_result_t reply;
  tinker_error_t *error =
      tinker__result_message(f, &tinker__save_weights_result_msg, &reply);
  if (error) return error;
  if (!reply.path) {
    return tinker__result_malformed(f, TINKER_EPROTO, "path is missing");
  }
  f->result = (void *)(uintptr_t)reply.path;
  return NULL;
}

/* The client's own doing: there is no answer. */
static tinker_error_t *decode_done(tinker_future_t *f) {
  (void)f;
  return NULL;
}

TINKER__RESULT(none);
TINKER__RESULT(done);
TINKER__RESULT(path);
