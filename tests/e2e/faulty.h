/* faulty: a local service of a test's own that follows a fault plan, and what
 * its ledger says. TINKER_LOCALD and TINKER_TEST_MODEL say which program and
 * which model. */
#ifndef TESTS_E2E_FAULTY_H
#define TESTS_E2E_FAULTY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

typedef struct faulty_s {
  pid_t pid; /* 0 = it does not run */
  char dir[32];
  char socket[48];
  char url[64];  /* "unix:..." */
  char http[64]; /* "http://127.0.0.1:..." */
} faulty_t;

/* Makes the folder and the plan. seed: of its chances. rules: JSON objects,
 * separated by commas. */
void faulty_init(faulty_t *s, int seed, const char *rules);
/* Starts the program; the first flag that is NULL ends the list. `wait`: until
 * it says that it is ready. */
void faulty_start(faulty_t *s, const char *const *flags, bool wait);
/* Ends it, checks that it ended well, and removes the folder. */
void faulty_end(faulty_t *s);

/* Fills text with the ledger's reply, NUL-terminated. */
void faulty_ledger(const faulty_t *s, char *text, size_t len);
/* Entries with this event whose id ends with `id` (NULL: any) and whose
 * endpoint is `endpoint` (NULL: any). */
size_t faulty_count(const char *ledger, const char *event, const char *id,
                    const char *endpoint);

#endif
