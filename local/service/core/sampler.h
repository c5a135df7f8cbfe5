/* sampler: a sampling session. Under the service's lock unless a field says
 * otherwise. */
#ifndef TINKER_SERVICE_CORE_SAMPLER_H
#define TINKER_SERVICE_CORE_SAMPLER_H

#include "base/digest.h"
#include "engine/engine.h"
#include "service/core/types.h"

struct tinker__svc_sampler_s {
  tinker__link_t link, by_session;
  int64_t row, seq;
  char *id;
  tinker__svc_t *service;
  tinker__svc_session_t *session;
  tinker__svc_base_model_t *base;
  bool holds;         /* a reference to base */
  char *path;         /* as the client gave it; NULL = none, or ephemeral */
  int64_t checkpoint; /* row, 0 = the base model alone */
  unsigned char digest[TINKER__SHA256_LEN];
  bool durable; /* its row is committed; nobody sees it before */
  tinker__svc_ack_t ack;
  tinker__link_t ops;
  tinker__eng_adapter_t *adapter; /* engine thread; NULL = not loaded */
  tinker__link_t loaded;          /* service.adapters. Engine thread */
};

#endif
