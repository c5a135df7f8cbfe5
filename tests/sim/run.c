/* run: time and the children. */
#include "sim/run.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "sim/host.h"
#include "sim/link.h"
#include "sim/machine.h"
#include "sim/run_in.h"
#include "sim/trainer.h"

#define MS INT64_C(1000000)
#define MOST_TURNS 4000000               /* of the loop */
#define MOST_MS (INT64_C(40) * 86400000) /* of virtual time */

int64_t sim_ms(const sim_state_t *s) {
  return s->o->shared->now_ns / MS;
}

/* --- The timeline --------------------------------------------------------- */

static void append(sim_result_t *r, const char *text, size_t len) {
  size_t n = r->timeline_len;
  if ((n + len + 1) >> 16 != n >> 16 || !r->timeline) {
    r->timeline = realloc(r->timeline, (((n + len + 1) >> 16) + 1) << 16);
    if (!r->timeline) abort();
  }
  memcpy(r->timeline + n, text, len);
  r->timeline[n + len] = '\0';
  r->timeline_len = n + len;
}

void sim_write(sim_state_t *s, const char *format, ...) {
  char line[2048];
  va_list list;
  int n = snprintf(line, sizeof line, "%9lld.%06lld ", (long long)sim_ms(s),
                   (long long)(s->o->shared->now_ns % MS));
  va_start(list, format);
  int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, format, list);
  va_end(list);
  size_t len = (size_t)n + (size_t)m;
  if (len > sizeof line - 2) len = sizeof line - 2;
  line[len++] = '\n';
  append(s->out, line, len);
}

void sim_stop(sim_state_t *s, const char *why) {
  s->over = true;
  if (!s->out->stuck[0]) {
    snprintf(s->out->stuck, sizeof s->out->stuck, "%s", why);
  }
}

/* The folder has another name each time. */
static void hide_folder(const sim_state_t *s, char *text) {
  size_t n = strlen(s->o->folder);
  for (char *at = text; (at = strstr(at, s->o->folder)); at++) {
    memmove(at + 1, at + n, strlen(at + n) + 1);
    *at = '~';
  }
}

void sim_shadow(sim_state_t *s, const sim_shadow_t *line, const char *text,
                size_t len) {
  static const char *const names[] = {"born", "next", "commit", "failed",
                                      "done", "says", "died"};
  sim_log_t *log = &s->out->log;
  if ((log->n & (log->n - 1)) == 0) {
    size_t cap = log->n ? 2 * log->n : 1;
    log->list = realloc(log->list, cap * sizeof *log->list);
    if (!log->list) abort();
  }
  sim_shadow_t *at = &log->list[log->n++];
  *at = *line;
  at->text = text ? strndup(text, len) : NULL;
  if (at->text) hide_folder(s, at->text);
  sim_write(s, "life %d %s step %lld code %d%s loss %a %s", line->life,
            names[line->kind], (long long)line->step, line->code,
            line->rolled_back ? " rolled back" : "", line->loss,
            at->text ? at->text : "");
}

/* --- Children ------------------------------------------------------------- */

sim_child_t *sim_find_child(sim_state_t *s, int life) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state != SIM_CHILD_NONE && c->life == life) return c;
  }
  return NULL;
}

/* Points and how the process is to die there. */
static int64_t point_of(const sim_state_t *s, int life, int *status) {
  const sim_script_t *script = s->o->script;
  *status = SIM_STATUS_KILLED;
  for (size_t i = 0; i < script->action_count; i++) {
    const sim_action_t *a = &script->actions[i];
    if (a->when != SIM_WHEN_POINT || s->out->course.done[i]) continue;
    if (a->life >= 0 && a->life != life) continue;
    if (a->act == SIM_ACT_POWER) *status = SIM_STATUS_POWER;
    return a->n;
  }
  return 0;
}

static bool waits_for_syncs(const sim_script_t *script) {
  for (size_t i = 0; i < script->action_count; i++) {
    if (script->actions[i].when == SIM_WHEN_SYNC) return true;
  }
  return false;
}

/* It begins when the parent says so, as no other process runs. */
static _Noreturn void be_child(sim_state_t *s, const sim_child_t *c, int fd,
                               int die_status) {
  sim_rng_t r = sim_rng(s->o->seed, 5000 + (uint64_t)c->life);
  sim_message_t go;
  char *bytes;
  sim_host_options_t o = {.shared = s->o->shared,
                          .fd = fd,
                          .seed = s->o->seed,
                          .life = c->life,
                          .die_at = (uint64_t)c->die_at,
                          .die_status = die_status,
                          .tells_syncs = waits_for_syncs(s->o->script),
                          .yield = 2 + (unsigned)sim_rng_below(&r, 40)};
  sim_program_t program = {&s->o->script->trainer, s->o->folder, c->life};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int i = 0; i < SIM_CHILDREN; i++) {
    if (s->children[i].fd > 0) syscall(SYS_close, s->children[i].fd);
  }
  if (!sim_wire_receive(fd, &go, &bytes)) _exit(SIM_STATUS_KILLED);
  sim_machine_enter(&o);
  sim_host_enter(&o);
  sim_disk_enter(s->o->disk);
  sim_link_enter();
  int status = sim_trainer_main(&program);
  syscall(SYS_exit_group, status);
  abort();
}

static sim_child_t *free_child(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    if (s->children[i].state == SIM_CHILD_NONE) return &s->children[i];
  }
  return NULL;
}

void sim_birth(sim_state_t *s, bool second) {
  int fds[2], die_status = SIM_STATUS_KILLED;
  sim_child_t *c = free_child(s);
  if (!c || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    sim_stop(s, "no process can be made");
    return;
  }
  *c = (sim_child_t){.state = SIM_CHILD_IDLE,
                     .life = s->lives++,
                     .second = second,
                     .until_ns = s->o->shared->now_ns,
                     .born_again_ms = -1};
  c->die_at = second ? 0 : point_of(s, c->life, &die_status);
  sim_write(s, "life %d begins", c->life);
  c->pid = fork();
  if (c->pid == 0) be_child(s, c, fds[1], die_status);
  close(fds[1]);
  c->fd = fds[0];
  if (c->pid < 0) sim_stop(s, "no process can be made");
}

/* Its exit status; 256 + the signal that has killed it. */
static int bury(sim_state_t *s, sim_child_t *c) {
  int status = 0;
  while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {
  }
  close(c->fd);
  c->fd = 0;
  c->state = SIM_CHILD_NONE;
  sim_net_forget(s, c->life);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static void tell_death(sim_state_t *s, const sim_child_t *c, int status) {
  sim_shadow_t line = {.kind = SIM_SHADOW_DIED,
                       .life = c->life,
                       .now_ms = sim_ms(s),
                       .code = status == SIM_STATUS_KILLED  ? -1
                               : status == SIM_STATUS_POWER ? -2
                                                            : status};
  sim_shadow(s, &line, NULL, 0);
  if (status > 255) {
    char why[64];
    snprintf(why, sizeof why, "life %d died of signal %d", c->life,
             status - 256);
    sim_stop(s, why);
  }
}

static void power_is_off(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state == SIM_CHILD_NONE) continue;
    kill(c->pid, SIGKILL);
    bury(s, c);
    tell_death(s, c, SIM_STATUS_POWER);
  }
  sim_disk_power_loss(s->o->disk, &s->luck);
  s->o->shared->boots++;
}

static bool has_done(const sim_state_t *s, int life) {
  const sim_log_t *log = &s->out->log;
  for (size_t i = log->n; i-- > 0;) {
    const sim_shadow_t *line = &log->list[i];
    if (line->life == life && line->kind == SIM_SHADOW_DONE) return true;
  }
  return false;
}

/* Another process of the run that is alive is its own from now on. */
static bool is_followed(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state == SIM_CHILD_NONE) continue;
    c->second = false;
    return true;
  }
  return false;
}

/* Does another process begin after this one? */
static void plan_birth(sim_state_t *s, const sim_child_t *c, int status) {
  const sim_trainer_t *t = &s->o->script->trainer;
  int64_t ms = c->born_again_ms > 0 ? c->born_again_ms : t->again_ms;
  bool done = has_done(s, c->life) && status == 0;
  s->given_up = status == SIM_STATUS_GAVE_UP ? s->given_up + 1 : 0;
  if (c->second || s->birth_ns != SIM_NO_TIME) return;
  if (done || status == SIM_STATUS_STOPPED || s->lives >= t->lives) {
    s->over = !is_followed(s);
    return;
  }
  /* Who starts it waits longer each time that it gives up. */
  ms = (ms > 0 ? ms : 1) << (s->given_up < 7 ? s->given_up : 6);
  s->birth_ns = s->o->shared->now_ns + ms * MS;
}

/* The child's socket is at its end. */
static void on_death(sim_state_t *s, sim_child_t *c) {
  int status = bury(s, c);
  bool at_point = c->die_at > 0 && c->born_again_ms < 0 &&
                  (status == SIM_STATUS_KILLED || status == SIM_STATUS_POWER);
  if (at_point) {
    const sim_action_t *a =
        sim_course_point(&s->out->course, sim_ms(s), c->life, c->die_at);
    if (a) c->born_again_ms = a->arg;
  }
  tell_death(s, c, status);
  if (status == SIM_STATUS_POWER) power_is_off(s);
  plan_birth(s, c, status);
}

/* Of a child that waits for an answer. */
void sim_kill(sim_state_t *s, sim_child_t *c, int status) {
  sim_message_t m = {.what = SIM_ANSWER_DIE, .a = status};
  sim_wire_send(c->fd, &m, NULL);
  on_death(s, c);
}

/* --- What a child says ---------------------------------------------------- */

static sim_message_t on_shadow(sim_state_t *s, sim_child_t *c,
                               const sim_message_t *m, const char *bytes) {
  sim_shadow_t line = {.kind = (sim_shadow_kind_t)m->a,
                       .life = c->life,
                       .now_ms = sim_ms(s),
                       .step = m->b,
                       .loss = m->loss};
  const sim_action_t *a = NULL;
  sim_message_t go = {.what = SIM_ANSWER_GO};
  if (line.kind == SIM_SHADOW_NEXT) {
    line.rolled_back = m->c != 0;
  } else {
    line.code = (int)m->c;
  }
  sim_shadow(s, &line, bytes, m->len);
  if (line.kind == SIM_SHADOW_NEXT) {
    a = sim_course_step(&s->out->course, line.now_ms, c->life, line.step);
  } else if (line.kind == SIM_SHADOW_COMMIT) {
    a = sim_course_commit(&s->out->course, line.now_ms, c->life, line.step);
  } else if (line.kind == SIM_SHADOW_FAILED && line.step == 0 &&
             line.code == TINKER_ESTATE && s->resumes > 0) {
    s->resumes--;
    go.a = SIM_WORD_RESUME;
    return go;
  }
  return sim_act(s, c, a);
}

static bool is_of_request(const sim_action_t *a) {
  return a && a->act <= SIM_ACT_TLS;
}

/* A process that dies at its request may have sent it. */
static sim_message_t on_request(sim_state_t *s, sim_child_t *c,
                                const sim_message_t *m, char *bytes) {
  const char *method = bytes + sizeof(sim_lengths_t);
  const char *path = method + strlen(method) + 1;
  const sim_action_t *a =
      sim_course_request(&s->out->course, sim_ms(s), c->life, method, path);
  const sim_action_t *on_it = is_of_request(a) ? a : NULL;
  sim_net_request(s, c, m->id, bytes, m->len, on_it);
  return on_it ? (sim_message_t){.what = SIM_ANSWER_GO} : sim_act(s, c, a);
}

static void answer(sim_state_t *s, sim_child_t *c, const sim_message_t *m) {
  (void)s;
  sim_wire_send(c->fd, m, NULL);
}

/* One message of a running child. */
static void serve(sim_state_t *s, sim_child_t *c) {
  sim_message_t m, go = {.what = SIM_ANSWER_GO};
  char *bytes;
  if (!sim_wire_receive(c->fd, &m, &bytes)) {
    on_death(s, c);
    return;
  }
  switch ((sim_say_t)m.what) {
  case SIM_SAY_IDLE:
    c->state = SIM_CHILD_IDLE;
    c->until_ns = m.a == SIM_NO_TIME ? m.a : m.a + s->o->shared->asleep_ns;
    return;
  case SIM_SAY_REQUEST:
    go = on_request(s, c, &m, bytes);
    bytes = NULL;
    break;
  case SIM_SAY_CANCEL:
    sim_write(s, "life %d cancels %llu", c->life, (unsigned long long)m.id);
    sim_net_cancel(s, c->life, m.id);
    break;
  case SIM_SAY_SHADOW: go = on_shadow(s, c, &m, bytes); break;
  case SIM_SAY_SYNC:
    go = sim_act(
        s, c, sim_course_sync(&s->out->course, sim_ms(s), c->life, ++c->syncs));
    break;
  }
  free(bytes);
  answer(s, c, &go);
}

/* --- Time ----------------------------------------------------------------- */

typedef enum { NOTHING, COURSE, HEAL, BIRTH, NET, CHILD } next_t;

typedef struct {
  next_t what;
  int64_t at_ns;
  sim_child_t *child;
} moment_t;

static void consider(moment_t *m, next_t what, int64_t at_ns,
                     sim_child_t *child) {
  if (at_ns < m->at_ns) *m = (moment_t){what, at_ns, child};
}

static int64_t ns_of(int64_t ms) {
  return ms >= MOST_MS ? SIM_NO_TIME : ms * MS;
}

static moment_t next_moment(sim_state_t *s) {
  moment_t m = {NOTHING, SIM_NO_TIME, NULL};
  int64_t heal_ms = s->o->script->heal_ms;
  consider(&m, COURSE, ns_of(sim_course_next_ms(&s->out->course)), NULL);
  if (heal_ms > 0 && !s->healed) consider(&m, HEAL, ns_of(heal_ms), NULL);
  consider(&m, BIRTH, s->birth_ns, NULL);
  consider(&m, NET, sim_net_next_ns(s), NULL);
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state != SIM_CHILD_IDLE || c->until_ns == SIM_NO_TIME) continue;
    bool hangs = c->hangs_until_ns > c->until_ns;
    consider(&m, CHILD, hangs ? c->hangs_until_ns : c->until_ns, c);
  }
  return m;
}

static void begin_life(sim_state_t *s) {
  const sim_action_t *a = sim_course_life(&s->out->course, sim_ms(s), s->lives);
  s->birth_ns = SIM_NO_TIME;
  sim_act(s, NULL, a);
  sim_birth(s, false);
}

static void advance(sim_state_t *s) {
  moment_t m = next_moment(s);
  sim_message_t go = {.what = SIM_ANSWER_GO};
  if (m.what == NOTHING) {
    sim_stop(s, "nothing goes on: every thread waits for another");
    return;
  }
  if (m.at_ns > s->o->shared->now_ns) s->o->shared->now_ns = m.at_ns;
  if (sim_ms(s) > MOST_MS) sim_stop(s, "it does not come to an end");
  switch (m.what) {
  case COURSE: sim_act_due(s); break;
  case HEAL:
    s->healed = true;
    sim_server_heal(s->out->server);
    break;
  case BIRTH: begin_life(s); break;
  case NET: sim_net_move(s); break;
  default:
    m.child->state = SIM_CHILD_RUNS;
    sim_wire_send(m.child->fd, &go, NULL);
  }
}

static sim_child_t *running(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    if (s->children[i].state == SIM_CHILD_RUNS) return &s->children[i];
  }
  return NULL;
}

/* --- The whole ------------------------------------------------------------ */

/* What is going to happen, at the head of the timeline. */
static void write_script(sim_state_t *s) {
  const sim_script_t *script = s->o->script;
  for (size_t i = 0; i < script->action_count; i++) {
    const sim_action_t *a = &script->actions[i];
    sim_write(s, "planned: %s, when %d, ask %d, n %lld, times %lld, arg %lld",
              sim_act_name(a->act), a->when, a->ask, (long long)a->n,
              (long long)a->times, (long long)a->arg);
  }
  for (size_t i = 0; i < script->fault_count; i++) {
    const sim_fault_t *f = &script->faults[i];
    sim_write(s, "planned: %s, %lld of it from the %lld. on, arg %lld",
              sim_bug_name(f->bug), (long long)f->times, (long long)f->nth,
              (long long)f->arg);
  }
}

static void begin(sim_state_t *s) {
  const sim_script_t *script = s->o->script;
  s->out->server = sim_server_new(s->o->seed % SIM_SERVICES);
  for (size_t i = 0; i < script->fault_count; i++) {
    sim_server_add_fault(s->out->server, &script->faults[i]);
  }
  if (script->session_ms) {
    sim_server_set_session_ms(s->out->server, script->session_ms);
  }
  sim_course_init(&s->out->course, script);
  sim_disk_begin(s->o->disk, s->o->folder);
  *s->o->shared = (sim_shared_t){.now_ns = 1000 * MS,
                                 .wall_offset_ms = s->o->wall_offset_ms};
  write_script(s);
}

static void end(sim_state_t *s) {
  for (int i = 0; i < SIM_CHILDREN; i++) {
    sim_child_t *c = &s->children[i];
    if (c->state == SIM_CHILD_NONE) continue;
    kill(c->pid, SIGKILL);
    bury(s, c);
  }
  s->out->end_ms = sim_ms(s);
  sim_net_free(s);
}

void sim_run(const sim_run_options_t *o, sim_result_t *out) {
  sim_state_t *s = calloc(1, sizeof *s);
  if (!s) abort();
  memset(out, 0, sizeof *out);
  s->o = o;
  s->out = out;
  s->rng = sim_rng(o->seed, 1);
  s->luck = sim_rng(o->seed, 2);
  s->resumes = o->script->trainer.resumes;
  begin(s);
  s->birth_ns = o->shared->now_ns;
  for (int64_t i = 0; !s->over; i++) {
    sim_child_t *c = running(s);
    if (i == MOST_TURNS) sim_stop(s, "it does not come to an end");
    if (c) {
      serve(s, c);
    } else {
      advance(s);
    }
  }
  end(s);
  free(s);
}

void sim_result_free(sim_result_t *r) {
  for (size_t i = 0; i < r->log.n; i++) free(r->log.list[i].text);
  free(r->log.list);
  free(r->timeline);
  sim_server_free(r->server);
}
