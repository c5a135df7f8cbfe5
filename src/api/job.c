/* job: see job.h. */
#include "api/job.h"

const char *tinker__job_str(tinker__job_t *job, const char *s) {
  return s ? tinker__arena_str(&job->arena, tinker__str(s)) : NULL;
}
