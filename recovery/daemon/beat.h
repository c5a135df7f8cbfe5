/* beat: a client of the daemon's that does nothing but send heartbeats for the
 * sessions of its runs, so that they outlive their trainers. The daemon's
 * thread; the heartbeats are sent on the client's. */
#ifndef TINKER_RECOVERY_DAEMON_BEAT_H
#define TINKER_RECOVERY_DAEMON_BEAT_H

#include <tinker/tinker.h>

#include "view.h"

typedef struct tinker__rec_beat_s {
  tinker_client_t *client; /* NULL = there is none */
} tinker__rec_beat_t;

/* Settings are those of the environment. 0, or a code of tinker_client_new():
 * then nothing beats. */
int tinker__rec_beat_start(tinker__rec_beat_t *b, char *why, size_t why_len);
/* From `old`, which becomes the same, to another session; "" = none. 0 or a
 * code of tinker_client_beat_session(). */
int tinker__rec_beat_follow(tinker__rec_beat_t *b,
                            char old[TINKER__REC_SESSION_ROOM],
                            const char *session);
/* The sessions are left as they are. */
void tinker__rec_beat_end(tinker__rec_beat_t *b);

#endif
