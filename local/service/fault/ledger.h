/* ledger: what was accepted and applied, and which faults fired, a JSON line
 * each in <state>/ledger.jsonl. Only with a fault plan: tests compare what
 * clients saw with what happened. Lines survive a kill of the process (not of
 * the machine) and are read again by the next start. A thread of the ledger's
 * own writes them, in the order in which they were added; who answers somebody
 * or makes something durable waits for them before. Any thread. */
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

/* Only memory is written here, so a lock may be held. False without memory: the
 * test would be misled, so the caller ends the service. */
bool tinker__svc_ledger_add(tinker__svc_ledger_t *l,
                            const tinker__svc_ledger_line_t *line);
/* Waits until all lines so far are in the file: without a lock. False when one
 * of them could not be written, now or before. */
bool tinker__svc_ledger_settle(tinker__svc_ledger_t *l);
/* All lines so far, appended to out. 0 or a code. */
int tinker__svc_ledger_read(tinker__svc_ledger_t *l, tinker__buf_t *out,
                            char *why, size_t why_len);

#endif
