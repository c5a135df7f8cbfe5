/* why: the sentence of a failed call in a buffer, as tests want to compare
 * it. */
#ifndef TESTS_SUPPORT_WHY_H
#define TESTS_SUPPORT_WHY_H

#include <stdio.h>
#include <tinker/tinker.h>

/* Returns rc. why: gets the sentence, "" if nothing failed; may be NULL. */
static inline int why_keep(int rc, tinker_error_t *error, char *why,
                           size_t why_len) {
  if (why && why_len) snprintf(why, why_len, "%s", tinker_error_message(error));
  tinker_error_release(error);
  return rc;
}

static inline int why_tokenizer_file(tinker_tokenizer_t **out, const char *path,
                                     const tinker_tokenizer_options_t *options,
                                     char *why, size_t why_len) {
  tinker_error_t *error = NULL;
  int rc = tinker_tokenizer_new_from_file(out, path, options, &error);
  return why_keep(rc, error, why, why_len);
}

static inline int why_tokenizer_bytes(tinker_tokenizer_t **out,
                                      const void *data, size_t len,
                                      const tinker_tokenizer_options_t *options,
                                      char *why, size_t why_len) {
  tinker_error_t *error = NULL;
  int rc = tinker_tokenizer_new_from_bytes(out, data, len, options, &error);
  return why_keep(rc, error, why, why_len);
}

static inline int why_client(tinker_client_t **out,
                             const tinker_client_options_t *options, char *why,
                             size_t why_len) {
  tinker_error_t *error = NULL;
  int rc = tinker_client_new(out, options, &error);
  return why_keep(rc, error, why, why_len);
}

#endif
