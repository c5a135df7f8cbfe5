/* bases: loads and unloads base models. See bases.c. */
#ifndef TINKER_SERVICE_RUN_BASES_H
#define TINKER_SERVICE_RUN_BASES_H

#include "service/core/core.h"

/* Begin it; the state tells how it goes. TINKER_EBUSY while the other is under
 * way. Under the lock. */
int tinker__svc_base_load(tinker__svc_base_model_t *b, char *why,
                          size_t why_len);
int tinker__svc_base_unload(tinker__svc_base_model_t *b, char *why,
                            size_t why_len);
/* Names, folders and tokenizers; then, on the engine thread, engines and models
 * and their end. */
int tinker__svc_bases_open(tinker__svc_t *s);
int tinker__svc_bases_start(tinker__svc_t *s);
/* Makes service.generator; any thread, after the start. */
int tinker__svc_bases_generator(tinker__svc_t *s);
void tinker__svc_bases_stop(tinker__svc_t *s);
void tinker__svc_bases_free(tinker__svc_t *s);

#endif
