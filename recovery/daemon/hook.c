/* hook: a program of the operator's that hears what happens to a run: the line
 * of the log is its last argument. It has a time, then it is killed, and
 * nothing waits for it (F95). */
#include <signal.h>
#include <string.h>

#include "daemon.h"

static int64_t now(const tinker__rec_daemon_t *d) {
  return d->world->now_ms(d->world->user);
}

static tinker__rec_hook_t *free_slot(tinker__rec_daemon_t *d) {
  for (size_t i = 0; i < TINKER__REC_HOOKS; i++) {
    if (d->hooks[i].process.fd < 0) return &d->hooks[i];
  }
  return NULL;
}

static int start(tinker__rec_trainer_t *t, tinker__rec_hook_t *slot,
                 const char *line, char *why, size_t why_len) {
  size_t n = 0;
  tinker__rec_daemon_t *d = t->daemon;
  while (t->spec.hook[n]) n++;
  char **argv = tinker__mem_array(&d->mem, n + 2, sizeof *argv);
  if (!argv) return TINKER_ENOMEM;
  memcpy(argv, t->spec.hook, n * sizeof *argv);
  argv[n] = (char *)(uintptr_t)line;
  const tinker__rec_program_t program = {argv, t->env, d->mask};
  int rc = tinker__rec_process_make(&slot->process, &program, why, why_len);
  if (rc == 0) {
    tinker__rec_process_go(&slot->process);
    slot->kill_ms = now(d) + t->spec.hook_ms;
  }
  tinker__mem_free(&d->mem, argv);
  return rc;
}

void tinker__rec_hook(tinker__rec_trainer_t *t, int64_t notice,
                      const char *event, const tinker__rec_facts_t *facts) {
  char why[256] = "too many hooks run already";
  tinker__rec_facts_t trouble = TINKER__REC_FACTS_INIT;
  tinker__rec_daemon_t *d = t->daemon;
  tinker__buf_t line;
  if (!t->spec.hook[0] || !(t->spec.hook_on & INT64_C(1) << notice)) return;
  tinker__buf_init(&line, &d->mem, 2 * TINKER__REC_MAX_FIELDS);
  tinker__rec_line(d, event, t->spec.name, facts, &line);
  tinker__rec_hook_t *slot = free_slot(d);
  const char *text = tinker__buf_cstr(&line);
  if (!slot || !text || start(t, slot, text, why, sizeof why) != 0) {
    trouble.why = tinker__str(why);
    tinker__rec_tell(d, "no_hook", t->spec.name, &trouble);
  }
  tinker__buf_free(&line);
}

void tinker__rec_hook_fill(const tinker__rec_daemon_t *d, struct pollfd *fds) {
  for (size_t i = 0; i < TINKER__REC_HOOKS; i++) {
    fds[i] = (struct pollfd){.fd = d->hooks[i].process.fd, .events = POLLIN};
  }
}

/* One that is killed ends soon after: it is looked at again. */
void tinker__rec_hook_turn(tinker__rec_daemon_t *d) {
  tinker__rec_end_t end;
  for (size_t i = 0; i < TINKER__REC_HOOKS; i++) {
    tinker__rec_hook_t *h = &d->hooks[i];
    if (h->process.fd < 0 || tinker__rec_process_ended(&h->process, &end)) {
      continue;
    }
    if (now(d) >= h->kill_ms) tinker__rec_process_signal(&h->process, SIGKILL);
  }
}

int64_t tinker__rec_hook_due(const tinker__rec_daemon_t *d) {
  int64_t at = INT64_MAX;
  for (size_t i = 0; i < TINKER__REC_HOOKS; i++) {
    const tinker__rec_hook_t *h = &d->hooks[i];
    if (h->process.fd < 0 || h->kill_ms >= at) continue;
    /* One that was killed is no reason to turn without a pause. */
    if (now(d) < h->kill_ms) at = h->kill_ms;
  }
  return at;
}
