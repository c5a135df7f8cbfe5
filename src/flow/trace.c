/* The debug lines of an operation's life, see internal.h. Loop's thread. */
#include <stdarg.h>
#include <stdio.h>

#include "flow/internal.h"

void tinker__trace(const tinker__op_t *op, const tinker__part_t *part,
                   const char *fmt, ...) {
  char text[TINKER__LOG_MESSAGE_LEN], seq[32] = "";
  va_list args;
  va_start(args, fmt);
  if (vsnprintf(text, sizeof text, fmt, args) < 0) text[0] = 0;
  va_end(args);
  if (part && part->seq >= 0) {
    snprintf(seq, sizeof seq, " seq_id %lld", (long long)part->seq);
  }
  tinker__log_add(op->flow->log, TINKER_LOG_DEBUG, "flow", "#%llu %s%s: %s",
                  (unsigned long long)op->id, op->kind->name, seq, text);
}
