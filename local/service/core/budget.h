/* budget: the memory of requests, as parts of the bound for all memory
 * (--max-memory, or what the machine and its control groups have).
 *
 * Of the bytes that base models leave, requests get a quarter at most, and no
 * more than their limits need. Of the rest, half is for the caches of samples
 * and half for training (run/bases.c, run/claim.c). Any thread. */
#ifndef TINKER_SERVICE_CORE_BUDGET_H
#define TINKER_SERVICE_CORE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "service/core/types.h"

/* A part of the memory: the bytes that may be used, and those that are. */
typedef struct tinker__svc_share_s {
  _Atomic uint64_t limit, used;
} tinker__svc_share_t;

/* Counts bytes as used. False = there is no room for them. alone: bytes beyond
 * the limit are accepted while nobody else uses the part. */
bool tinker__svc_share_take(tinker__svc_share_t *p, uint64_t bytes, bool alone);
/* Counts bytes that are in memory already, even beyond the limit. */
void tinker__svc_share_add(tinker__svc_share_t *p, uint64_t bytes);
void tinker__svc_share_give(tinker__svc_share_t *p, uint64_t bytes);

/* A body under way takes so many times its bytes: as it came, and decoded. */
#define TINKER__BODY_FACTOR 3
/* The largest result may be read and sent as JSON within the part of replies:
 * a result takes up to half of its own part (the sample's own arrays are the
 * other half), and its JSON up to six times as much. */
#define TINKER__RESULT_PARTS 2
#define TINKER__REPLY_FACTOR 3
#define TINKER__JSON_FACTOR 6

/* Sets the limits of all parts for requests, and returns the bytes that are
 * reserved for them. rest: the bytes that base models leave; with UINT64_MAX
 * (unknown) only the parts' own limits count. Called while the service starts.
 */
uint64_t tinker__svc_budget_plan(tinker__svc_t *s, uint64_t rest);

#endif
