/* why_local: why.h for the local service, which not every test links. */
#ifndef TESTS_SUPPORT_WHY_LOCAL_H
#define TESTS_SUPPORT_WHY_LOCAL_H

#include <tinker/local.h>

#include "support/why.h"

static inline int why_local_start(tinker_local_t **out,
                                  const tinker_local_options_t *options,
                                  char *why, size_t why_len) {
  tinker_error_t *error = NULL;
  int rc = tinker_local_start(out, options, &error);
  return why_keep(rc, error, why, why_len);
}

#endif
