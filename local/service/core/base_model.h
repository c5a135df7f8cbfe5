/* base_model: a model folder that is served. Internal to local/service. */
#ifndef TINKER_SERVICE_CORE_BASE_MODEL_H
#define TINKER_SERVICE_CORE_BASE_MODEL_H

#include "engine/engine.h"
#include "engine/generate.h"
#include "service/core/types.h"

struct tinker__svc_base_model_s {
  const char *name; /* what clients ask for */
  char *dir;        /* absolute */
  tinker__eng_backend_t *backend;
  tinker__eng_base_t *base; /* set on the engine thread before anyone asks */
  tinker__eng_base_info_t info;
  struct tinker_tokenizer_s *tokenizer; /* NULL without tokenizer.json */
  char *no_text; /* why there is none beside a tokenizer.json; NULL = no file */
  tinker__eng_gen_text_t text;
};

#endif
