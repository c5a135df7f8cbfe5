/* cpu: the engine in plain C, float32, with the same bits on every machine.
 * The only door of this folder to the rest of the project. */
#ifndef TINKER_LOCAL_CPU_CPU_H
#define TINKER_LOCAL_CPU_CPU_H

#include "engine/engine.h"

const tinker__engine_api_t *tinker__cpu_engine(void);

#endif
