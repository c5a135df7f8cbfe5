/* ward: beats sessions that are somebody else's, as session_internal.h says.
 * Each has its own request and time. A beat that fails is followed by the next
 * one in its time; a session that the service has ended is left, and said so
 * once. */
#include <string.h>

#include "session/session_internal.h"

#define BEAT_TIMEOUT_MS 10000

int tinker__ward_new(tinker__ward_t **out, tinker__mem_t *mem, const char *id,
                     bool on) {
  tinker__str_t text = tinker__str(id);
  tinker__ward_t *w = tinker__mem_zalloc(mem, sizeof *w + text.len + 1);
  if (!w) return TINKER_ENOMEM;
  tinker__list_init(&w->link);
  memcpy(w->id, text.ptr, text.len);
  w->mem = mem;
  w->on = on;
  *out = w;
  return 0;
}

void tinker__ward_free(tinker__ward_t *w) {
  tinker__list_remove(&w->link);
  if (w->beat.session) tinker__exchange_free(&w->beat);
  tinker__mem_free(w->mem, w);
}

/* True when it is gone; else its request is, soon. */
static bool leave(tinker__ward_t *w) {
  tinker__timer_stop(w->beat.session->loop, &w->timer);
  w->on = false;
  if (tinker__exchange_is_active(&w->beat)) {
    tinker__exchange_cancel(&w->beat);
    return false;
  }
  tinker__ward_free(w);
  return true;
}

static void on_beat(tinker__exchange_t *x, tinker__http_reply_t *reply,
                    const tinker_error_t *error) {
  tinker__ward_t *w = TINKER__CONTAINER(x, tinker__ward_t, beat);
  tinker__session_t *s = x->session;
  if (w->on && error && tinker__http_refusal(reply) == 410) {
    tinker__session_say(s, TINKER__SESSION_TROUBLE,
                        "session %s, which is beaten for another client: the "
                        "service has ended it",
                        w->id);
    w->on = false;
  }
  if (w->on) {
    tinker__timer_start(s->loop, &w->timer,
                        w->sent_ms + TINKER__SESSION_BEAT_MS);
  } else {
    tinker__ward_free(w);
  }
}

static void send_beat(tinker__timer_t *timer) {
  static const tinker__exchange_spec_t spec = {TINKER__RETRY_READ, 0,
                                               BEAT_TIMEOUT_MS, on_beat, 0};
  tinker__ward_t *w = TINKER__CONTAINER(timer, tinker__ward_t, timer);
  tinker__heartbeat_t m = {w->id};
  w->sent_ms = tinker__loop_now(w->beat.session->loop);
  tinker__exchange_begin(&w->beat, "session_heartbeat");
  tinker__exchange_start(
      &w->beat, &spec,
      tinker__message_encode(&w->beat.body, &tinker__heartbeat_msg, &m));
}

static tinker__ward_t *find(tinker__session_t *s, const char *id) {
  TINKER__LIST_EACH(it, tmp, &s->wards) {
    tinker__ward_t *w = TINKER__CONTAINER(it, tinker__ward_t, link);
    if (w->on && strcmp(w->id, id) == 0) return w;
  }
  return NULL;
}

void tinker__session_ward(tinker__session_t *s, tinker__ward_t *w) {
  tinker__ward_t *known = s->closing ? NULL : find(s, w->id);
  if (known && !w->on) leave(known);
  if (known || s->closing || !w->on) {
    tinker__ward_free(w);
    return;
  }
  tinker__exchange_init(&w->beat, s);
  tinker__timer_init(&w->timer, send_beat);
  tinker__list_push_back(&s->wards, &w->link);
  tinker__timer_start(s->loop, &w->timer, tinker__loop_now(s->loop));
}

bool tinker__wards_end(tinker__session_t *s) {
  bool all = true;
  TINKER__LIST_EACH(it, tmp, &s->wards) {
    all &= leave(TINKER__CONTAINER(it, tinker__ward_t, link));
  }
  return all;
}
