/* brake: holds back what is sent again while the service fails.
 *
 * Each request has its own pauses (http/retry), but many operations that fail
 * together would still hit a service that is down with many times the load that
 * brought it down. So a second attempt needs a token, or it waits in line:
 *
 * - every answer of the service gives two tokens, and at most five are kept:
 *   a service that is well, or coming back, lets all through, two for one;
 * - without a token one of the line goes as a probe, at first after a quarter
 *   of a second, then more rarely, in the end every half minute;
 * - a request that fails alone goes by its own pauses;
 * - after a 429 there is no token, and first attempts wait too: one request
 *   goes when the pause is over, and all others when that one was accepted.
 *
 * If everything fails, a client thus sends at most 25 second attempts of a
 * class in five minutes, however many operations wait: a tenth of 250 first
 * attempts. Nothing is dropped. A numbered request waits in line for as long as
 * it takes, since its number has to be delivered; a poll too, until its
 * caller's deadline; anything else fails when its own time is over, as if it
 * had been sent again. There is one brake for each class of request, so that
 * samples that are pushed back don't hold up training. Heartbeats and the start
 * of a session, which are one request at a time, have none.
 *
 * A poll that is held gives no answer for long. A second of silence, or as long
 * as the last one took to fail, counts as one.
 *
 * Loop's thread; no allocation. */
#ifndef TINKER_FLOW_BRAKE_H
#define TINKER_FLOW_BRAKE_H

#include "base/list.h"
#include "http/retry.h"
#include "loop/timer.h"

#define TINKER__BRAKES 8 /* one for each class of retry.h */

typedef struct tinker__brake_s {
  int64_t tokens;
  int64_t probe_ms;    /* no probe before */
  unsigned probes;     /* since the last answer */
  int64_t failing;     /* parts that failed and wait to be sent again */
  bool pushed;         /* by a 429; nothing has been accepted since */
  int64_t rest_ms;     /* the pause of that 429 */
  int64_t quiet_ms;    /* how long a silence counts as an answer */
  int64_t released_ms; /* first release since the last failure, -1 = none */
  int64_t released;    /* how many since then */
  tinker__link_t held; /* parts, in order */
  tinker__timer_t timer;
} tinker__brake_t;

void tinker__brake_init(tinker__brake_t *b);
/* May something be sent again now? Takes a token, or the probe. */
bool tinker__brake_take(tinker__brake_t *b, int64_t now_ms, uint64_t *seed);
/* May a second copy be sent beside the first? Takes a token. */
bool tinker__brake_spare(tinker__brake_t *b);
/* The service has answered. */
void tinker__brake_answered(tinker__brake_t *b);
/* An attempt has failed that took so long. */
void tinker__brake_failed(tinker__brake_t *b, int64_t took_ms);
/* The service wants a pause of so many milliseconds. */
void tinker__brake_push(tinker__brake_t *b, int64_t now_ms, int64_t rest_ms);
/* True when nothing has failed for long after a release: counts as an
 * answer. */
bool tinker__brake_quiet(tinker__brake_t *b, int64_t now_ms);
/* When the first of the line may go, or the silence is long enough. silence:
 * does it count? */
int64_t tinker__brake_wake_ms(const tinker__brake_t *b, bool silence);

#endif
