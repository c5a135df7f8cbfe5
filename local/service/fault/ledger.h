/* ledger: a file of JSON lines, <state>/ledger.jsonl, that says which calls
 * were accepted and applied and which faults fired. There is one only with a
 * fault plan; tests compare it with what clients saw. The lines survive a kill
 * of the process, but maybe not a power failure, and the next start reads them.
 * Any thread. */
#ifndef TINKER_SERVICE_LEDGER_H
#define TINKER_SERVICE_LEDGER_H

#include "base/buf.h"
#include "base/world.h"

#define TINKER__MAX_LEDGER ((size_t)256 << 20)

typedef struct tinker__svc_ledger_s tinker__svc_ledger_t;

int tinker__svc_ledger_open(tinker__svc_ledger_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world, const char *state_dir,
                            char *why, size_t why_len);
void tinker__svc_ledger_free(tinker__svc_ledger_t *l); /* NULL allowed */

typedef struct tinker__svc_ledger_line_s {
  const char *event; /* "accepted", "applied", "failed", "fault" */
  const char *endpoint;
  const char *id;  /* of the request, session or sampler; NULL = not known */
  int64_t seq;     /* -1 = none */
  const char *act; /* of a "fault", with the index of its rule */
  size_t rule;
} tinker__svc_ledger_line_t;

/* False when the line could not be written. The caller then ends the service,
 * since a ledger with a gap would mislead the test. */
bool tinker__svc_ledger_add(tinker__svc_ledger_t *l,
                            const tinker__svc_ledger_line_t *line);
/* Appends all lines so far to out. 0 or a code. */
int tinker__svc_ledger_read(tinker__svc_ledger_t *l, tinker__buf_t *out,
                            char *why, size_t why_len);

#endif
