/* trainer: one run: its process, its journal, what is decided about it. What
 * restart.h decides is carried out here, with a record before each effect. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "daemon.h"

extern char **environ;

static int64_t now(const tinker__rec_trainer_t *t) {
  const tinker__world_t *w = t->daemon->world;
  return w->now_ms(w->user);
}

static tinker__rec_folder_t folder(tinker__rec_trainer_t *t) {
  return (tinker__rec_folder_t){&t->daemon->mem, t->daemon->world,
                                t->folder_path, t->spec.name, false};
}

/* A record of this run. */
static void note(tinker__rec_trainer_t *t, tinker__rec_type_t type,
                 tinker__rec_facts_t *facts, bool wait) {
  facts->name = tinker__str(t->spec.name);
  if (tinker__rec_ledger_note(&t->daemon->ledger, type, facts, wait) != 0) {
    tinker__rec_daemon_break(t->daemon,
                             "the daemon's journal can't be written");
  }
}

/* --- Its journal ---------------------------------------------------------- */

static void read_view(tinker__rec_trainer_t *t, bool all) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__rec_folder_t f = folder(t);
  tinker__rec_view_read(&t->view, &f, all);
  if (!t->view.reach.readable) {
    facts.why = tinker__str(t->view.why);
    tinker__rec_tell(t->daemon, "unreadable", t->spec.name, &facts);
    return;
  }
  const char *session = t->view.reach.finished ? "" : t->view.session;
  int rc = tinker__rec_beat_follow(&t->daemon->beat, t->session, session);
  if (rc == 0) return;
  facts.code = rc;
  facts.why = tinker__str(tinker_code_text(rc));
  tinker__rec_tell(t->daemon, "no_heartbeat", t->spec.name, &facts);
}

void tinker__rec_trainer_read(tinker__rec_trainer_t *t) {
  read_view(t, true);
}

static void tell_hang(tinker__rec_trainer_t *t, int64_t silent_ms) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__buf_t threads;
  tinker__buf_init(&threads, &t->daemon->mem, TINKER__REC_MAX_FIELDS / 4);
  tinker__rec_process_dump(&t->process, &threads);
  facts.pid = t->process.pid;
  facts.delay_ms = silent_ms;
  facts.cause = tinker__str("hang");
  facts.evidence = tinker__buf_str(&threads);
  note(t, TINKER__REC_SIGNAL, &facts, false);
  tinker__rec_tell(t->daemon, "hang", t->spec.name, &facts);
  tinker__buf_free(&threads);
}

void tinker__rec_trainer_watch(tinker__rec_trainer_t *t) {
  tinker__rec_folder_t f = folder(t);
  tinker__rec_stamp_t stamp = tinker__rec_view_stamp(&f, t->view.reach.epoch);
  bool decided = stamp.decisions != t->stamp.decisions;
  if (decided || stamp.steps != t->stamp.steps) t->moved_ms = now(t);
  t->stamp = stamp;
  if (decided) read_view(t, false);
  int64_t silent_ms = now(t) - t->moved_ms;
  if (t->restart.state == TINKER__REC_TRAINER_RUNNING && t->spec.hang_ms &&
      silent_ms >= t->spec.hang_ms) {
    tell_hang(t, silent_ms);
    tinker__rec_trainer_on(t, TINKER__REC_ON_HANG, "hang");
  }
}

/* --- Its process ---------------------------------------------------------- */

/* It may go only when its pid is on the disk. */
static void start(tinker__rec_trainer_t *t) {
  char why[256];
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  const tinker__rec_program_t program = {t->spec.argv, t->env, t->daemon->mask};
  if (tinker__rec_process_make(&t->process, &program, why, sizeof why) != 0) {
    tinker__rec_daemon_break(t->daemon, why);
    return;
  }
  facts.pid = t->process.pid;
  facts.started = t->process.started;
  facts.attempt = ++t->attempts;
  note(t, TINKER__REC_ATTEMPT_BEGIN, &facts, true);
  if (t->daemon->phase == TINKER__REC_DAEMON_BROKEN) {
    tinker__rec_process_leave(&t->process); /* its gate closes: it ends */
    return;
  }
  tinker__rec_process_go(&t->process);
  t->moved_ms = now(t);
  tinker__rec_tell(t->daemon, "started", t->spec.name, &facts);
}

static void send(tinker__rec_trainer_t *t, int signo, const char *cause) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.pid = t->process.pid;
  facts.signal = signo;
  facts.cause = tinker__str(cause);
  note(t, TINKER__REC_FENCE_INTENT, &facts, true);
  tinker__rec_tell(t->daemon, "signal", t->spec.name, &facts);
  tinker__rec_process_signal(&t->process, signo);
}

static void act(tinker__rec_trainer_t *t, tinker__rec_trainer_act_t what,
                const char *cause) {
  switch (what) {
  case TINKER__REC_DO_START: start(t); break;
  case TINKER__REC_DO_TERM: send(t, SIGTERM, cause); break;
  case TINKER__REC_DO_KILL: send(t, SIGKILL, "it did not end in time"); break;
  default: break;
  }
}

static const struct {
  tinker__rec_trainer_event_t event;
  tinker__rec_type_t type;
} words[] = {{TINKER__REC_ON_HOLD, TINKER__REC_HOLD},
             {TINKER__REC_ON_RELEASE, TINKER__REC_RELEASE},
             {TINKER__REC_ON_STOP, TINKER__REC_INC_STOP}};

/* The word of an operator is in the ledger before it counts (F94). */
static void note_word(tinker__rec_trainer_t *t,
                      tinker__rec_trainer_event_t word, const char *cause) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.cause = tinker__str(cause);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (words[i].event != word) continue;
    note(t, words[i].type, &facts, true);
    const char *event = tinker__rec_type_name(words[i].type);
    tinker__rec_tell(t->daemon, event, t->spec.name, &facts);
    if (words[i].type == TINKER__REC_HOLD) {
      tinker__rec_hook(t, TINKER__REC_NOTIFY_HELD, event, &facts);
    }
  }
}

static void follow(tinker__rec_trainer_t *t, tinker__rec_trainer_event_t event,
                   const char *cause) {
  if (t->daemon->phase == TINKER__REC_DAEMON_BROKEN) return;
  act(t, tinker__rec_restart_on(&t->restart, &t->spec.policy, event, now(t)),
      cause);
}

void tinker__rec_trainer_on(tinker__rec_trainer_t *t,
                            tinker__rec_trainer_event_t event,
                            const char *cause) {
  note_word(t, event, cause);
  follow(t, event, cause);
}

/* What was decided at its end. */
static void note_end(tinker__rec_trainer_t *t, const tinker__rec_end_t *end,
                     pid_t pid) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  const tinker__rec_restart_t *r = &t->restart;
  facts.pid = pid;
  if (end->known && end->signal) facts.signal = end->signal;
  if (end->known && !end->signal) facts.code = end->code;
  facts.cause = tinker__str(tinker__rec_trainer_state_name(r->state));
  facts.why = tinker__str(t->view.why);
  facts.count = r->fruitless;
  facts.level = r->early;
  facts.epoch = r->epoch;
  facts.from_step = r->committed;
  if (r->state == TINKER__REC_TRAINER_WAITING) {
    facts.delay_ms = r->at_ms - now(t);
  }
  note(t, TINKER__REC_ATTEMPT_END, &facts, false);
  tinker__rec_tell(t->daemon, "ended", t->spec.name, &facts);
  if (r->state == TINKER__REC_TRAINER_WAITING) {
    tinker__rec_hook(t, TINKER__REC_NOTIFY_INCIDENT, "ended", &facts);
  } else if (r->state == TINKER__REC_TRAINER_STOPPED ||
             r->state == TINKER__REC_TRAINER_EXHAUSTED) {
    tinker__rec_hook(t, TINKER__REC_NOTIFY_STOPPED, "ended", &facts);
  }
}

static void die(tinker__rec_trainer_t *t, const tinker__rec_end_t *end,
                pid_t pid) {
  uint64_t random = 0;
  const tinker__world_t *w = t->daemon->world;
  w->random(w->user, &random, sizeof random); /* else no jitter */
  read_view(t, true);
  tinker__rec_restart_died(&t->restart, &t->spec.policy, end, &t->view.reach,
                           now(t), random);
  note_end(t, end, pid);
}

void tinker__rec_trainer_look(tinker__rec_trainer_t *t) {
  tinker__rec_end_t end;
  pid_t pid = t->process.pid;
  if (!tinker__rec_restart_alive(&t->restart)) return;
  if (tinker__rec_process_ended(&t->process, &end)) die(t, &end, pid);
}

/* --- Beginning and end ---------------------------------------------------- */

/* A start that was due later is due when it was, if the machine is the same
 * since; else the whole delay is waited for. */
static int64_t due(const tinker__rec_trainer_t *t,
                   const tinker__rec_left_t *left) {
  char boot[TINKER__BOOT_ID_LEN];
  const tinker__world_t *w = t->daemon->world;
  w->boot_id(w->user, boot);
  int64_t rest = left->delay_ms;
  if (strcmp(boot, left->boot) == 0) {
    rest = left->restart.at_ms - w->boot_ms(w->user);
  }
  if (rest > left->delay_ms) rest = left->delay_ms;
  return now(t) + (rest > 0 ? rest : 0);
}

/* A trainer of an earlier daemon: it runs on, or its end was not seen. */
static void adopt(tinker__rec_trainer_t *t, const tinker__rec_left_t *left) {
  char boot[TINKER__BOOT_ID_LEN], why[256] = "";
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  const tinker__rec_end_t unknown = {.known = false};
  const tinker__world_t *w = t->daemon->world;
  w->boot_id(w->user, boot);
  t->restart.state = TINKER__REC_TRAINER_RUNNING;
  t->moved_ms = now(t);
  facts.pid = left->pid;
  int rc = TINKER_ENOENT;
  if (strcmp(boot, left->boot) == 0) {
    rc = tinker__rec_process_find(&t->process, (pid_t)left->pid, left->started,
                                  why, sizeof why);
  }
  if (rc == TINKER_ENOENT) {
    die(t, &unknown, (pid_t)left->pid);
  } else if (rc != 0) {
    tinker__rec_daemon_break(t->daemon, why);
  } else {
    tinker__rec_tell(t->daemon, "found", t->spec.name, &facts);
  }
  /* A word that the operator gave meanwhile holds. */
  if (left->restart.state == TINKER__REC_TRAINER_HELD) {
    follow(t, TINKER__REC_ON_HOLD, "hold");
  } else if (left->restart.state == TINKER__REC_TRAINER_STOPPED) {
    follow(t, TINKER__REC_ON_STOP, "stop");
  }
}

static void recall(tinker__rec_trainer_t *t, bool fresh) {
  const tinker__rec_left_t *left =
      tinker__rec_ledger_find(&t->daemon->ledger, t->spec.name);
  if (!left) return;
  t->attempts = left->attempts;
  t->restart.fruitless = left->restart.fruitless;
  t->restart.early = left->restart.early;
  t->restart.epoch = left->restart.epoch;
  t->restart.committed = left->restart.committed;
  bool over = left->restart.state >= TINKER__REC_TRAINER_FINISHED &&
              left->restart.state != TINKER__REC_TRAINER_LEFT;
  if (left->alive) {
    adopt(t, left);
  } else if (over && fresh) {
    tinker__rec_trainer_on(t, TINKER__REC_ON_RELEASE, "it is started anew");
  } else if (over || left->restart.state == TINKER__REC_TRAINER_HELD) {
    t->restart.state = t->restart.then = left->restart.state;
  } else {
    t->restart.at_ms = due(t, left);
  }
}

/* A list that ends with NULL. */
static char **copy_list(tinker__arena_t *a, const char *const *list, size_t n) {
  char **out = tinker__arena_array(a, n + 1, sizeof *out);
  for (size_t i = 0; out && i < n; i++) {
    out[i] = tinker__arena_str(a, tinker__str(list[i]));
    if (!out[i]) return NULL;
  }
  return out;
}

static size_t length(char *const *list) {
  size_t n = 0;
  while (list && list[n]) n++;
  return n;
}

static int copy_spec(tinker__arena_t *a, const tinker__rec_spec_t *from,
                     tinker__rec_spec_t *to) {
  *to = *from;
  to->name = tinker__arena_str(a, tinker__str(from->name));
  to->argv = copy_list(a, (const char *const *)from->argv, length(from->argv));
  to->hook = copy_list(a, (const char *const *)from->hook, length(from->hook));
  to->env_allow =
      (const char *const *)copy_list(a, from->env_allow, from->env_count);
  if (from->run_policy) {
    to->run_policy = tinker__arena_str(a, tinker__str(from->run_policy));
    if (!to->run_policy) return TINKER_ENOMEM;
  }
  return to->name && to->argv && to->hook && to->env_allow ? 0 : TINKER_ENOMEM;
}

int tinker__rec_trainer_set(tinker__rec_trainer_t *t,
                            const tinker__rec_spec_t *spec) {
  tinker__mem_t *mem = &t->daemon->mem;
  tinker__rec_spec_t copy;
  tinker__arena_t arena;
  tinker__arena_init(&arena, mem);
  int rc = copy_spec(&arena, spec, &copy);
  char **env = NULL;
  if (rc == 0) {
    env = tinker__rec_env_pick(mem, environ, copy.env_allow, copy.env_count,
                               copy.run_policy);
  }
  if (!env) {
    tinker__arena_free(&arena);
    return TINKER_ENOMEM;
  }
  tinker__arena_free(&t->arena);
  tinker__mem_free(mem, t->env);
  t->arena = arena;
  t->spec = copy;
  t->env = env;
  return 0;
}

static int fill(tinker__rec_trainer_t *t, const tinker__rec_spec_t *spec,
                char *why, size_t why_len) {
  const tinker__rec_process_t none = TINKER__REC_PROCESS_NONE;
  t->process = none;
  tinker__list_init(&t->link);
  tinker__arena_init(&t->arena, &t->daemon->mem);
  tinker__rec_restart_init(&t->restart, now(t));
  t->moved_ms = now(t);
  int n = snprintf(t->folder_path, sizeof t->folder_path, "%s/runs/%s",
                   t->daemon->state_dir, spec->name);
  if (n < 0 || (size_t)n >= sizeof t->folder_path) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "the path of the state folder is too long");
  }
  int rc = tinker__rec_trainer_set(t, spec);
  return rc == 0 ? 0 : tinker__why(why, why_len, rc, "out of memory");
}

int tinker__rec_trainer_add(tinker__rec_daemon_t *d,
                            const tinker__rec_spec_t *spec, bool fresh,
                            char *why, size_t why_len) {
  tinker__rec_trainer_t *t = tinker__mem_zalloc(&d->mem, sizeof *t);
  if (!t) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  t->daemon = d;
  int rc = fill(t, spec, why, why_len);
  if (rc != 0) {
    tinker__rec_trainer_free(t);
    return rc;
  }
  tinker__list_push_back(&d->trainers, &t->link);
  read_view(t, false);
  recall(t, fresh);
  return 0;
}

void tinker__rec_trainer_free(tinker__rec_trainer_t *t) {
  tinker__list_remove(&t->link);
  tinker__rec_process_leave(&t->process);
  tinker__mem_free(&t->daemon->mem, t->env);
  tinker__arena_free(&t->arena);
  tinker__mem_free(&t->daemon->mem, t);
}

tinker__rec_trainer_t *tinker__rec_trainer_find(const tinker__rec_daemon_t *d,
                                                const char *name) {
  TINKER__LIST_EACH(l, tmp, &d->trainers) {
    tinker__rec_trainer_t *t =
        TINKER__CONTAINER(l, tinker__rec_trainer_t, link);
    if (strcmp(t->spec.name, name) == 0) return t;
  }
  return NULL;
}
