/* results: what decoded results look like inside, and what their decoders
 * share. Read-only after decoding; all in the arena of the job. Decoders run on
 * the delivery thread or the first asker's. */
#ifndef TINKER_API_RESULTS_H
#define TINKER_API_RESULTS_H

#include <tinker/result.h>

#include "api/job.h"
#include "wire/fb_output.h"
#include "wire/sample.h"

struct tinker_forward_result_s {
  tinker__fb_output_t output;
  const tinker_metric_t *metrics;
};

struct tinker_optim_result_s {
  const tinker_metric_t *metrics;
  size_t metric_count;
};

struct tinker_sample_result_s {
  tinker__sample_result_t wire;
  const tinker_sequence_t *sequences;
};

#define TINKER__RESULT_WHY 256

/* Defines the result `name` with its decoder decode_<name>. */
#define TINKER__RESULT(name)                                                   \
  const tinker__future_ops_t tinker__result_##name = {decode_##name,           \
                                                      tinker__job_free}

/* The i-th reply. */
tinker__str_t tinker__result_body(const tinker_future_t *f, size_t i);
/* The same for a result that points into it. */
char *tinker__result_take_body(tinker_future_t *f, size_t i);
/* Reads the first reply, a message; the error of one that can't be read. */
tinker_error_t *tinker__result_message(tinker_future_t *f,
                                       const tinker__bind_table_t *table,
                                       void *out);
/* The server has done what it was asked to; only its answer is of no use. Doing
 * it again would be doing it twice. */
tinker_error_t *tinker__result_malformed(tinker_future_t *f, int code,
                                         const char *why);

#endif
