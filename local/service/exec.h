/* exec: what exec.c and exec_state.c share. Engine thread. */
#ifndef TINKER_SERVICE_EXEC_H
#define TINKER_SERVICE_EXEC_H

#include "service/work.h"

void tinker__exec_fail(tinker__op_t *op, int rc, const char *why);
int tinker__exec_train(tinker__model_t *m, char *why, size_t why_len);
/* Writes the model's state and lets the log before `next` go. A failure is
 * logged and leaves the older snapshot. */
void tinker__exec_snapshot(tinker__model_t *m, int64_t next);
void tinker__exec_save(tinker__model_t *m, tinker__op_t *op);
void tinker__exec_save_sampler(tinker__model_t *m, tinker__op_t *op);
void tinker__exec_load(tinker__model_t *m, tinker__op_t *op);

#endif
