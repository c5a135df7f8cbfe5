/* workers: a few threads for what would hold others up on the threads that
 * serve everybody: large bodies are read on them, and large results are written
 * as JSON.
 *
 * A job is a parked request, which is in no list but theirs. Jobs are begun in
 * the order of their arrival. */
#ifndef TINKER_SERVICE_WORKERS_H
#define TINKER_SERVICE_WORKERS_H

#include "service/http/http.h"

typedef struct tinker__svc_workers_s tinker__svc_workers_t;

/* threads: at least one is started, or TINKER_ENOMEM. max: as many jobs may
 * wait. */
int tinker__svc_workers_new(tinker__svc_workers_t **out, tinker__mem_t *mem,
                            size_t threads, size_t max);
/* run(r) is called on a worker, once. False: there is no room, or they are
 * stopped. Any thread, with or without the lock of the service. */
bool tinker__svc_workers_add(tinker__svc_workers_t *w, tinker__svc_req_t *r,
                             void (*run)(tinker__svc_req_t *r));
/* Takes no more jobs and does those it has. NULL allowed. */
void tinker__svc_workers_stop(tinker__svc_workers_t *w);
/* Stops; nobody adds any more. NULL allowed. */
void tinker__svc_workers_free(tinker__svc_workers_t *w);

#endif
