/* steps: fifty steps of training on the tiny model and a decode round, and the
 * digest of all that they give. */
#ifndef TINKER_TESTS_CPU_STEPS_H
#define TINKER_TESTS_CPU_STEPS_H

#include "cpu/support.h"

/* What fifty steps on the tiny model end in, on any machine, by any compiler
 * and at any level of optimization. A change of it is a change of arithmetic:
 * CHANGELOG.md names it. */
#define COMMITTED 0x9760a3068103e81u

#define DATA 9
#define LOSSES 6
extern const tinker__eng_loss_config_t losses[LOSSES];
extern const tinker__eng_optim_params_t adam;

/* One of them `longest` tokens, one with soft targets. */
void make_data(sample_t s[DATA], size_t longest);
/* Steps of every loss in turn; a digest of everything that came out. */
uint64_t many_steps(const tinker__engine_api_t *api, const char *dir,
                    unsigned threads, const char *kernels);

#endif
