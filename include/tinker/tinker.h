/* Umbrella header: includes the others, declares nothing. */
#ifndef TINKER_TINKER_H
#define TINKER_TINKER_H

#include "alloc.h"
#include "client.h"
#include "data.h"
#include "error.h"
#include "export.h"
#include "future.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "progress.h"
#include "promise.h"
#include "rest.h"
#include "result.h"
#include "route.h"
#include "sampler.h"
#include "seams.h"
#include "stats.h"
#include "tokenizer.h"
#include "trainer.h"
#include "types.h"
#include "version.h"

#endif
