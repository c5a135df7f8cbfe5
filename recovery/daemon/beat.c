/* beat: see beat.h. */
#include "beat.h"

#include <stdio.h>
#include <string.h>
#include <tinker/seams.h>

#define END_MS 3000

int tinker__rec_beat_start(tinker__rec_beat_t *b, char *why, size_t why_len) {
  tinker_error_t *error = NULL;
  b->client = NULL;
  int rc = tinker_client_new(&b->client, NULL, &error);
  if (rc != 0) tinker__why(why, why_len, rc, "%s", tinker_error_message(error));
  tinker_error_release(error);
  return rc;
}

int tinker__rec_beat_follow(tinker__rec_beat_t *b,
                            char old[TINKER__REC_SESSION_ROOM],
                            const char *session) {
  int rc = 0;
  if (!b->client || strcmp(old, session) == 0) return 0;
  if (*session) rc = tinker_client_beat_session(b->client, session, 1);
  if (rc != 0) return rc;
  if (*old) tinker_client_beat_session(b->client, old, 0);
  snprintf(old, TINKER__REC_SESSION_ROOM, "%s", session);
  return 0;
}

void tinker__rec_beat_end(tinker__rec_beat_t *b) {
  b->client = tinker_client_release(b->client);
  tinker_shutdown(END_MS);
}
