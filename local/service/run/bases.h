/* bases: loads and unloads base models. See bases.c. Engine thread unless a
 * function says otherwise. */
#ifndef TINKER_SERVICE_RUN_BASES_H
#define TINKER_SERVICE_RUN_BASES_H

#include "service/core/core.h"

/* Begin to load or to unload; b->state shows the progress. 0, or TINKER_EBUSY
 * while the opposite is under way. Any thread, under the lock. */
int tinker__svc_base_load(tinker__svc_base_model_t *b, char *why,
                          size_t why_len);
int tinker__svc_base_unload(tinker__svc_base_model_t *b, char *why,
                            size_t why_len);
/* Finds folders and names, and loads tokenizers. Starting thread. */
int tinker__svc_bases_open(tinker__svc_t *s);
/* Opens the engines and loads the models that the start needs. */
int tinker__svc_bases_start(tinker__svc_t *s);
/* Makes service.generator. Starting thread, after bases_start. */
int tinker__svc_bases_generator(tinker__svc_t *s);
/* Releases the models and closes the engines. */
void tinker__svc_bases_stop(tinker__svc_t *s);
/* Frees all that bases_open has made. Any thread, after the others have ended.
 */
void tinker__svc_bases_free(tinker__svc_t *s);

#endif
