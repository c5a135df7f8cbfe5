/* The public face of waiting, see <tinker/progress.h>. Any thread. */
#include <string.h>

#include "api/compound.h"

static const char *name_of(int value, const char *const *names, size_t n) {
  return value >= 0 && (size_t)value < n ? names[value] : "unknown";
}

const char *tinker_stage_name(tinker_stage_t stage) {
  static const char *const names[] = {"queued", "sent", "running", "paused",
                                      "ended"};
  return name_of((int)stage, names, sizeof names / sizeof *names);
}

const char *tinker_hold_name(tinker_hold_t hold) {
  static const char *const names[] = {"none",        "session", "admission",
                                      "unreachable", "server",  "pushed_back",
                                      "billing",     "queue"};
  return name_of((int)hold, names, sizeof names / sizeof *names);
}

/* The client's time; false when its loop is gone. The loop is there as long as
 * somebody uses it, which the lock keeps so. */
static bool time_of(tinker_client_t *core, int64_t *now) {
  pthread_mutex_lock(&core->lock);
  bool there = core->loop_users > 0;
  if (there) *now = tinker__loop_now(core->loop);
  pthread_mutex_unlock(&core->lock);
  return there;
}

/* One that has ended has its age already. */
static void fill_times(tinker__seen_t *s, tinker_client_t *core) {
  int64_t now;
  if (!s->now.id || s->now.stage == TINKER_STAGE_ENDED) return;
  if (!time_of(core, &now)) return;
  s->now.age_ms = now > s->born_ms ? now - s->born_ms : 0;
  s->now.stage_ms = now > s->stage_ms ? now - s->stage_ms : 0;
  if (s->now.hold) s->now.held_ms = now > s->held_ms ? now - s->held_ms : 0;
}

int tinker_future_progress(const tinker_future_t *future,
                           tinker_progress_t *out) {
  tinker_future_t *f = (tinker_future_t *)(uintptr_t)future;
  tinker__seen_t seen;
  if (!f || !out || out->size <= sizeof out->size || out->size > sizeof *out) {
    return TINKER_EINVAL;
  }
  bool settled = tinker__future_state(f) != TINKER__FUTURE_PENDING;
  if (!settled && !f->constant && !tinker__core_is_here(f->owner)) {
    return TINKER_EFORKED;
  }
  if (!settled && !f->constant) f = tinker__compound_running(f);
  tinker__future_see(f, &seen);
  if (!f->constant) fill_times(&seen, f->owner);
  seen.now.size = out->size;
  memcpy(out, &seen.now, out->size);
  return 0;
}
