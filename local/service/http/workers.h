/* workers: a few threads that read large bodies and write large results as
 * JSON. On the HTTP thread that work would hold up everybody else.
 *
 * A job is a parked request that is in no other list. Jobs are begun in the
 * order in which they were added. */
#ifndef TINKER_SERVICE_WORKERS_H
#define TINKER_SERVICE_WORKERS_H

#include "service/http/http.h"

typedef struct tinker__svc_workers_s tinker__svc_workers_t;

/* Starts up to `threads` threads; TINKER_ENOMEM when not even one could be
 * started. At most max jobs may wait. */
int tinker__svc_workers_new(tinker__svc_workers_t **out, tinker__mem_t *mem,
                            size_t threads, size_t max);
/* Has a worker call run(r) once. False: max jobs wait already, or the workers
 * are stopped. Any thread, with or without the service's lock. */
bool tinker__svc_workers_add(tinker__svc_workers_t *w, tinker__svc_req_t *r,
                             void (*run)(tinker__svc_req_t *r));
/* Takes no more jobs, does all that wait and joins the threads. NULL allowed.
 */
void tinker__svc_workers_stop(tinker__svc_workers_t *w);
/* Stops the workers and frees them; nobody may call add any more. NULL allowed.
 */
void tinker__svc_workers_free(tinker__svc_workers_t *w);

#endif
