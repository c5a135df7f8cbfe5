/* types: the names of the service's structs, for headers that need only
 * pointers to them. */
#ifndef TINKER_SERVICE_CORE_TYPES_H
#define TINKER_SERVICE_CORE_TYPES_H

#include "base/list.h"
#include "base/mem.h"
#include "base/world.h"

typedef struct tinker__svc_s tinker__svc_t;
typedef struct tinker__svc_base_model_s tinker__svc_base_model_t;
typedef struct tinker__svc_session_s tinker__svc_session_t;
typedef struct tinker__svc_model_s tinker__svc_model_t;
typedef struct tinker__svc_sampler_s tinker__svc_sampler_t;
typedef struct tinker__svc_op_s tinker__svc_op_t;
typedef struct tinker__svc_checkpoint_s tinker__svc_checkpoint_t;
typedef struct tinker__svc_req_s tinker__svc_req_t;
typedef struct tinker__svc_work_s tinker__svc_work_t;
typedef struct tinker__svc_listener_s tinker__svc_listener_t;
typedef struct tinker__svc_faults_s tinker__svc_faults_t;

/* The requests that wait, with their replies ready, until a row is stored. */
typedef struct tinker__svc_ack_s {
  tinker__link_t waiters; /* of tinker__svc_req_t */
} tinker__svc_ack_t;

#endif
