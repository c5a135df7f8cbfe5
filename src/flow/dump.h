/* dump: what the operations of a client are at, for people who ask why nothing
 * happens. Reads only. Loop's thread. */
#ifndef TINKER_FLOW_DUMP_H
#define TINKER_FLOW_DUMP_H

#include "base/json_write.h"
#include "flow/flow.h"

/* Operations that are listed one by one, the oldest; all are counted. */
#define TINKER__DUMP_OPS 256

/* Writes the members "operations", "states", "list" and "quotas" into the
 * object that has been begun. */
void tinker__flow_dump(const tinker__flow_t *flow, tinker__jsonw_t *w,
                       int64_t now_ms);

#endif
