/* results: what decoded results look like inside. Read-only after decoding;
 * all in the arena of the job. */
#ifndef TINKER_API_RESULTS_H
#define TINKER_API_RESULTS_H

#include <tinker/result.h>

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

#endif
