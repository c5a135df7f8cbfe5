/* notices: what a client says by itself: log lines and events. The loop's
 * thread, and any other that logs, puts them into rings of a fixed size; the
 * delivery thread hands them to the program. Nothing is made, and nothing
 * formatted, for a callback that is not set. */
#ifndef TINKER_API_NOTICES_H
#define TINKER_API_NOTICES_H

#include <tinker/options.h>
#include <tinker/progress.h>

struct tinker_client_s;
typedef struct tinker__events_s tinker__events_t;

/* Takes the callbacks of the options, or writes the log to stderr if the
 * environment says so. 0, TINKER_ENOMEM, or TINKER_EINVAL and a sentence. */
int tinker__notices_open(struct tinker_client_s *core,
                         const tinker_client_options_t *o, char *why,
                         size_t why_len);
void tinker__notices_free(struct tinker_client_s *core);
/* Hands over what there is. The delivery thread. */
void tinker__notices_run(struct tinker_client_s *core);
/* Tells of an event, which is copied. Loop's thread; core->events is set. */
void tinker__notices_event(struct tinker_client_s *core,
                           const tinker_event_t *event);

#endif
