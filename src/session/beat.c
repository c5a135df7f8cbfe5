/* beat: sends a heartbeat every ten seconds, the first one ten seconds after
 * the session was made, in the control lane, and never repeats one early. A
 * failed heartbeat is not an error of an operation. Only three events
 * are reported: that the service does not know the session (404), at once, or
 * that it has been silent for two minutes, one of the two, and that it is back.
 * 410 ends the session, and so does a service that has said for two minutes
 * that it does not know the session. Each beat gives back the memory that was
 * kept for further calls and not used since the last one. */
#include "session/session_internal.h"

#define BEAT_TIMEOUT_MS 10000

static void schedule(tinker__session_t *s, int64_t at_ms) {
  if (s->phase != TINKER__PHASE_SESSION || s->closing || s->finishing) return;
  tinker__timer_start(s->loop, &s->beat_timer, at_ms);
}

static void confirmed(tinker__session_t *s, int64_t now_ms) {
  s->confirmed_ms = now_ms;
  s->unknown_ms = 0;
  if (!s->silent) return;
  s->silent = false;
  tinker__session_say(s, TINKER__SESSION_BACK,
                      "session %s: the service answers heartbeats again",
                      s->id);
}

static void missed(tinker__session_t *s, int64_t now_ms,
                   const tinker_error_t *error) {
  int64_t since = now_ms - s->confirmed_ms;
  if (s->silent || since <= TINKER__SESSION_LOST_MS) return;
  s->silent = true;
  tinker__session_say(s, TINKER__SESSION_SILENT,
                      "session %s: no heartbeat confirmed for %d s, the "
                      "service may end it (%s)",
                      s->id, (int)(since / 1000), tinker_error_message(error));
}

/* It may know it again: the beats go on. */
static void unknown(tinker__session_t *s, const tinker_error_t *error) {
  if (s->silent) return;
  s->silent = true;
  tinker__session_say(s, TINKER__SESSION_UNKNOWN,
                      "session %s: the service does not know it; it counts as "
                      "ended if that stays so for %d s (%s)",
                      s->id, TINKER__SESSION_LOST_MS / 1000,
                      tinker_error_message(error));
}

/* True when the session is over. A single 404 may come from an instance of the
 * service that does not know the session yet, or not any more. */
static bool is_over(tinker__session_t *s, int64_t now_ms, int refusal) {
  if (refusal == 404 && !s->unknown_ms) s->unknown_ms = now_ms;
  return refusal == 410 ||
         (refusal == 404 && now_ms - s->unknown_ms >= TINKER__SESSION_LOST_MS);
}

static void on_beat(tinker__exchange_t *x, tinker__http_reply_t *reply,
                    const tinker_error_t *error) {
  tinker__session_t *s = x->session;
  int64_t now = tinker__loop_now(s->loop);
  if (!error) {
    confirmed(s, now);
  } else if (is_over(s, now, tinker__http_refusal(reply))) {
    tinker__session_set_ended(s);
  } else if (s->unknown_ms) {
    unknown(s, error);
  } else if (!x->canceled) {
    missed(s, now, error);
  }
  schedule(s, s->beat_sent_ms + TINKER__SESSION_BEAT_MS);
}

static void send_beat(tinker__timer_t *timer) {
  static const tinker__exchange_spec_t spec = {TINKER__RETRY_READ, 0,
                                               BEAT_TIMEOUT_MS, on_beat, 0};
  tinker__session_t *s =
      TINKER__CONTAINER(timer, tinker__session_t, beat_timer);
  tinker__heartbeat_t m = {s->id};
  s->beat_sent_ms = tinker__loop_now(s->loop);
  tinker__mem_tidy(s->mem);
  tinker__exchange_begin(&s->beat, "session_heartbeat");
  tinker__exchange_start(
      &s->beat, &spec,
      tinker__message_encode(&s->beat.body, &tinker__heartbeat_msg, &m));
}

void tinker__beat_begin(tinker__session_t *s) {
  s->confirmed_ms = tinker__loop_now(s->loop);
  tinker__timer_init(&s->beat_timer, send_beat);
  schedule(s, s->confirmed_ms + (s->adopted ? 0 : TINKER__SESSION_BEAT_MS));
}

void tinker__beat_end(tinker__session_t *s) {
  tinker__timer_stop(s->loop, &s->beat_timer);
  tinker__exchange_cancel(&s->beat);
}
