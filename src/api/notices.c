/* What a client says by itself, see notices.h. */
#include "api/notices.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/core.h"

#define LOG_LINES 1024
#define EVENTS 256
#define OF_SESSION 16 /* places that only events of the session get */
#define TEXT (sizeof((tinker_progress_t *)NULL)->reason)

typedef struct entry_s {
  tinker_event_t event;
  char text[TEXT];
} entry_t;

struct tinker__events_s {
  tinker_client_t *core;
  tinker_event_cb cb;
  void *user;
  tinker__task_t task;
  pthread_mutex_t lock;
  /* Under the lock. */
  bool queued; /* the task is on its way */
  size_t head, count;
  uint64_t dropped; /* since the last that was taken in */
  entry_t ring[EVENTS];
};

/* --- the log --- */

/* The stream of a program that asked for it by its environment. A line that
 * can't be written is lost: there is nowhere to say so. */
static void to_stderr(void *user, tinker_log_level_t level,
                      const char *component, const char *message) {
  const tinker_client_t *core = user;
  const tinker__world_t *world = core->loop->world;
  char line[TINKER__LOG_MESSAGE_LEN + 64];
  int n = snprintf(line, sizeof line, "tinker: %s: %s: %s\n",
                   tinker_log_level_name(level), component, message);
  if (n < 0) return;
  size_t len = (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
  (void)!world->write(world->user, STDERR_FILENO, line, len);
}

/* 0 when the text names none. */
static int32_t level_of(const char *text) {
  for (int32_t level = TINKER_LOG_DEBUG; level <= TINKER_LOG_OFF; level++) {
    if (!strcmp(text, tinker_log_level_name((tinker_log_level_t)level))) {
      return level;
    }
  }
  return 0;
}

static int take_environment(tinker_client_t *core, int32_t *level, char *why,
                            size_t why_len) {
  const tinker__world_t *world = core->loop->world;
  const char *text = world->env(world->user, "TINKER_LOG");
  if (!text || !text[0]) return 0;
  *level = level_of(text);
  if (!*level) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "the environment variable TINKER_LOG is \"%.64s\": want "
                       "debug, info, warning, error or off",
                       text);
  }
  if (*level == TINKER_LOG_OFF) return 0;
  core->log_cb = to_stderr;
  core->log_user = core;
  return 0;
}

static void log_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, log_task);
  tinker__log_drain(core->log, core->log_cb, core->log_user);
}

static void wake_log(void *user) {
  tinker_client_t *core = user;
  tinker__loop_deliver(core->loop, &core->log_task);
}

static int open_log(tinker_client_t *core, const tinker_client_options_t *o,
                    char *why, size_t why_len) {
  int32_t level = o->log_level;
  core->log_cb = o->log_cb;
  core->log_user = o->log_user;
  if (!core->log_cb) {
    int rc = take_environment(core, &level, why, why_len);
    if (rc) return rc;
  }
  if (!core->log_cb) return 0;
  tinker__task_init(&core->log_task, log_run);
  return tinker__log_new(&core->log, core->mem, (tinker_log_level_t)level,
                         LOG_LINES, wake_log, core);
}

/* --- events --- */

/* Under the lock: true when the task has to be delivered. */
static bool wants_task(tinker__events_t *events) {
  bool wanted = events->count > 0 && !events->queued;
  events->queued |= wanted;
  return wanted;
}

static bool take(tinker__events_t *events, entry_t *out) {
  pthread_mutex_lock(&events->lock);
  bool any = events->count > 0;
  if (any) {
    *out = events->ring[events->head];
    events->head = (events->head + 1) % EVENTS;
    events->count--;
  }
  pthread_mutex_unlock(&events->lock);
  out->event.text = out->text;
  return any;
}

/* Those that are there now: other callbacks have their turn before what
 * happens meanwhile, which has the task delivered anew. */
static void run_events(tinker__events_t *events) {
  entry_t entry;
  size_t n = 0;
  while (n++ < EVENTS && take(events, &entry)) {
    events->cb(events->user, &entry.event);
  }
}

static void events_run(tinker__task_t *task) {
  tinker__events_t *events = TINKER__CONTAINER(task, tinker__events_t, task);
  pthread_mutex_lock(&events->lock);
  events->queued = false;
  pthread_mutex_unlock(&events->lock);
  run_events(events);
}

void tinker__notices_event(tinker_client_t *core, const tinker_event_t *event) {
  tinker__events_t *events = core->events;
  bool session = event->operation == TINKER_KIND_NONE;
  size_t room = session ? EVENTS : EVENTS - OF_SESSION;
  pthread_mutex_lock(&events->lock);
  if (events->count < room) {
    entry_t *e = &events->ring[(events->head + events->count++) % EVENTS];
    e->event = *event;
    e->event.size = sizeof e->event;
    e->event.dropped = events->dropped;
    events->dropped = 0;
    tinker__why(e->text, sizeof e->text, 0, "%s", event->text);
  } else {
    events->dropped++;
  }
  bool wanted = wants_task(events);
  pthread_mutex_unlock(&events->lock);
  if (wanted) tinker__loop_deliver(core->loop, &events->task);
}

static int open_events(tinker_client_t *core,
                       const tinker_client_options_t *o) {
  if (!o->event_cb) return 0;
  tinker__events_t *events = tinker__mem_zalloc(core->mem, sizeof *events);
  if (!events) return TINKER_ENOMEM;
  if (pthread_mutex_init(&events->lock, NULL)) {
    tinker__mem_free(core->mem, events);
    return TINKER_ENOMEM;
  }
  events->core = core;
  events->cb = o->event_cb;
  events->user = o->event_user;
  tinker__task_init(&events->task, events_run);
  core->events = events;
  return 0;
}

/* --- both --- */

int tinker__notices_open(tinker_client_t *core,
                         const tinker_client_options_t *o, char *why,
                         size_t why_len) {
  int rc = open_log(core, o, why, why_len);
  return rc ? rc : open_events(core, o);
}

void tinker__notices_free(tinker_client_t *core) {
  tinker__log_free(core->log);
  if (!core->events) return;
  pthread_mutex_destroy(&core->events->lock);
  tinker__mem_free(core->mem, core->events);
}

void tinker__notices_run(tinker_client_t *core) {
  if (core->log) tinker__log_drain(core->log, core->log_cb, core->log_user);
  if (core->events) run_events(core->events);
}
