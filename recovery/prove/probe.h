/* probe: a fixed set of examples whose log-probabilities are the fingerprint of
 * a model. The tokens are small numbers, which every vocabulary has, from a
 * fixed sequence: nothing of the user's data, and the same in every process.
 * Any thread. */
#ifndef TINKER_RECOVERY_PROVE_PROBE_H
#define TINKER_RECOVERY_PROVE_PROBE_H

#include <stdbool.h>
#include <tinker/recovery_prove.h>

#include "base/buf.h"

#define TINKER__REC_PROBE_ITEMS 4

/* Makes the examples. Where there is no memory for one it is NULL, and the call
 * that is given them is refused. */
void tinker__rec_probe_make(tinker_datum_t *data[TINKER__REC_PROBE_ITEMS],
                            const tinker_allocator_t *allocator);
void tinker__rec_probe_free(tinker_datum_t *data[TINKER__REC_PROBE_ITEMS]);

/* Their forward, without a deadline. op: the call's tag. Returns its future. */
tinker_future_t *tinker__rec_probe(tinker_trainer_t *trainer, uint64_t op,
                                   bool ahead);
/* Its numbers, appended to out as float32. 0 or TINKER_ENOENT, TINKER_ENOMEM.
 */
int tinker__rec_probe_read(tinker_future_t *future, tinker__buf_t *out);
/* The largest difference of two; infinity if they are not of one kind, or if
 * one has a number that is not finite. */
double tinker__rec_probe_differ(const float *a, size_t na, const float *b,
                                size_t nb);

#endif
