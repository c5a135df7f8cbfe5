/* control: see control.h. */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "release.h"

#define MAX_LINE 4096
#define MAX_ANSWER (16 << 20)
#define ASK_MS 30000

static int address(const char *state_dir, struct sockaddr_un *a, char *why,
                   size_t why_len) {
  static const char name[] = "/control";
  memset(a, 0, sizeof *a);
  a->sun_family = AF_UNIX;
  if (strlen(state_dir) + sizeof name > sizeof a->sun_path) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "%s%s: a socket's path has at most %zu bytes", state_dir,
                       name, sizeof a->sun_path - 1);
  }
  memcpy(a->sun_path, state_dir, strlen(state_dir));
  memcpy(a->sun_path + strlen(state_dir), name, sizeof name);
  return 0;
}

static void prepare(int fd) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, O_NONBLOCK);
#ifdef SO_NOSIGPIPE
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on);
#endif
}

/* --- Answers -------------------------------------------------------------- */

typedef struct {
  tinker__str_t command, run;
} request_t;

static void refuse(tinker__buf_t *out, const char *why) {
  tinker__jsonw_t w;
  tinker__buf_clear(out);
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "ok");
  tinker__jsonw_bool(&w, false);
  tinker__jsonw_key(&w, "why");
  tinker__jsonw_cstr(&w, why);
  tinker__jsonw_end_object(&w);
}

static void write_number(tinker__jsonw_t *w, const char *key, int64_t value) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_i64(w, value);
}

static void write_run(tinker__jsonw_t *w, const tinker__rec_trainer_t *t) {
  const tinker__world_t *world = t->daemon->world;
  const tinker__rec_restart_t *r = &t->restart;
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "run");
  tinker__jsonw_cstr(w, t->spec.name);
  tinker__jsonw_key(w, "state");
  tinker__jsonw_cstr(w, tinker__rec_trainer_state_name(r->state));
  if (tinker__rec_restart_alive(r)) write_number(w, "pid", t->process.pid);
  if (r->state == TINKER__REC_TRAINER_WAITING) {
    write_number(w, "due_ms", r->at_ms - world->now_ms(world->user));
  }
  write_number(w, "starts", t->attempts);
  write_number(w, "deaths_without_progress", r->fruitless);
  write_number(w, "epoch", t->view.reach.epoch);
  write_number(w, "step", t->view.reach.committed);
  tinker__jsonw_key(w, "session");
  tinker__jsonw_cstr(w, t->view.session);
  if (t->view.why[0]) {
    tinker__jsonw_key(w, "why");
    tinker__jsonw_cstr(w, t->view.why);
  }
  tinker__jsonw_end_object(w);
}

/* only: NULL = all. */
static void answer_status(tinker__rec_daemon_t *d, tinker__rec_trainer_t *only,
                          bool names, tinker__buf_t *out) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "ok");
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, "runs");
  tinker__jsonw_begin_array(&w);
  if (only) tinker__rec_trainer_read(only);
  TINKER__LIST_EACH(l, tmp, &d->trainers) {
    tinker__rec_trainer_t *t =
        TINKER__CONTAINER(l, tinker__rec_trainer_t, link);
    if (only && t != only) continue;
    if (names) {
      tinker__jsonw_cstr(&w, t->spec.name);
    } else {
      write_run(&w, t);
    }
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
}

static void answer_word(tinker__rec_daemon_t *d, tinker__rec_trainer_t *t,
                        tinker__rec_trainer_event_t event, tinker__buf_t *out) {
  if (d->phase != TINKER__REC_DAEMON_WORKS) {
    refuse(out, "the daemon ends");
    return;
  }
  char why[512];
  int rc = 0;
  if (event == TINKER__REC_ON_RELEASE &&
      tinker__rec_restart_over(&t->restart)) {
    rc = tinker__rec_release(&d->mem, d->world, d->state_dir, t->spec.name, why,
                             sizeof why);
  }
  if (rc != 0 && rc != TINKER_ENOENT) { /* it may not have come to a run yet */
    refuse(out, why);
    return;
  }
  tinker__rec_trainer_on(t, event, "an operator's word");
  tinker__buf_adds(out, "{\"ok\":true}");
}

static void answer_reload(tinker__rec_daemon_t *d, tinker__buf_t *out) {
  char why[4096];
  if (tinker__rec_daemon_reload(d, why, sizeof why) == 0) {
    tinker__buf_adds(out, "{\"ok\":true}");
  } else {
    refuse(out, why);
  }
}

static const struct {
  const char *name;
  enum { STATUS, RUNS, WORD, RELOAD } what;
  tinker__rec_trainer_event_t event; /* of WORD */
} commands[] = {{"status", STATUS, TINKER__REC_ON_TICK},
                {"runs", RUNS, TINKER__REC_ON_TICK},
                {"hold", WORD, TINKER__REC_ON_HOLD},
                {"release", WORD, TINKER__REC_ON_RELEASE},
                {"stop", WORD, TINKER__REC_ON_STOP},
                {"reload", RELOAD, TINKER__REC_ON_TICK}};

static void answer(tinker__rec_daemon_t *d, const request_t *q,
                   tinker__buf_t *out) {
  char name[TINKER__REC_NAME_ROOM];
  size_t i = 0, n = sizeof commands / sizeof commands[0];
  tinker__rec_trainer_t *t = NULL;
  while (i < n && !tinker__str_eqs(q->command, commands[i].name)) i++;
  if (q->run.len && q->run.len < sizeof name) {
    memcpy(name, q->run.ptr, q->run.len);
    name[q->run.len] = '\0';
    t = tinker__rec_trainer_find(d, name);
  }
  if (i == n) {
    refuse(out, "command: status, runs, hold, release, stop or reload");
  } else if (!t && (q->run.len || commands[i].what == WORD)) {
    refuse(out, "run: there is none with this name");
  } else if (commands[i].what == WORD) {
    answer_word(d, t, commands[i].event, out);
  } else if (commands[i].what == RELOAD) {
    answer_reload(d, out);
  } else {
    answer_status(d, t, commands[i].what == RUNS, out);
  }
}

void tinker__rec_control_answer(tinker__rec_daemon_t *d, tinker__str_t line,
                                tinker__buf_t *out) {
  tinker__json_t j;
  tinker__str_t key;
  request_t q = {.command = {"", 0}, .run = {"", 0}};
  tinker__json_init(&j, &d->mem, line.ptr, line.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      if (tinker__str_eqs(key, "command")) {
        tinker__json_string(&j, &q.command);
      } else if (tinker__str_eqs(key, "run")) {
        tinker__json_string(&j, &q.run);
      } else {
        tinker__json_skip(&j);
      }
    }
  }
  if (tinker__json_end(&j) != 0) {
    refuse(out, "a line is a JSON object with command and run");
  } else {
    answer(d, &q, out);
  }
  tinker__json_done(&j);
}

/* --- Connections ---------------------------------------------------------- */

static void drop(tinker__rec_conn_t *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  tinker__buf_free(&c->in);
  tinker__buf_free(&c->out);
}

static void take(tinker__rec_daemon_t *d) {
  int fd = accept(d->control_fd, NULL, NULL);
  if (fd < 0) return;
  prepare(fd);
  for (size_t i = 0; i < TINKER__REC_CONTROL_CONNS; i++) {
    tinker__rec_conn_t *c = &d->conns[i];
    if (c->fd >= 0) continue;
    c->fd = fd;
    tinker__buf_init(&c->in, &d->mem, MAX_LINE);
    tinker__buf_init(&c->out, &d->mem, MAX_ANSWER);
    return;
  }
  close(fd);
}

/* Every whole line is answered. */
static void answer_lines(tinker__rec_daemon_t *d, tinker__rec_conn_t *c) {
  size_t begin = 0;
  for (size_t i = 0; i < c->in.len; i++) {
    tinker__buf_t out;
    if (c->in.data[i] != '\n') continue;
    tinker__buf_init(&out, &d->mem, MAX_ANSWER);
    const tinker__str_t line = {c->in.data + begin, i - begin};
    tinker__rec_control_answer(d, line, &out);
    tinker__buf_add(&c->out, out.data, out.len);
    tinker__buf_addc(&c->out, '\n');
    if (tinker__buf_error(&out)) tinker__buf_fail(&c->out, out.error);
    tinker__buf_free(&out);
    begin = i + 1;
  }
  if (begin == 0) return;
  memmove(c->in.data, c->in.data + begin, c->in.len - begin);
  c->in.len -= begin;
}

static void receive(tinker__rec_daemon_t *d, tinker__rec_conn_t *c) {
  char text[1024];
  ssize_t n = read(c->fd, text, sizeof text);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) tinker__buf_add(&c->in, text, (size_t)n);
  if (n > 0) answer_lines(d, c);
  if (n <= 0 || tinker__buf_error(&c->in) || tinker__buf_error(&c->out)) {
    drop(c);
  }
}

static void transmit(tinker__rec_conn_t *c) {
  ssize_t n = write(c->fd, c->out.data, c->out.len);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    drop(c);
    return;
  }
  memmove(c->out.data, c->out.data + n, c->out.len - (size_t)n);
  c->out.len -= (size_t)n;
}

void tinker__rec_control_fill(const tinker__rec_daemon_t *d,
                              struct pollfd *fds) {
  fds[0] = (struct pollfd){.fd = d->control_fd, .events = POLLIN};
  for (size_t i = 0; i < TINKER__REC_CONTROL_CONNS; i++) {
    const tinker__rec_conn_t *c = &d->conns[i];
    short events = c->out.len ? POLLOUT : POLLIN; /* one answer at a time */
    fds[1 + i] = (struct pollfd){.fd = c->fd, .events = events};
  }
}

void tinker__rec_control_turn(tinker__rec_daemon_t *d,
                              const struct pollfd *fds) {
  for (size_t i = 0; i < TINKER__REC_CONTROL_CONNS; i++) {
    tinker__rec_conn_t *c = &d->conns[i];
    if (fds[1 + i].fd < 0 || !fds[1 + i].revents) continue;
    if (fds[1 + i].events == POLLIN) receive(d, c);
    if (c->fd >= 0 && c->out.len) transmit(c);
  }
  if (fds[0].fd >= 0 && fds[0].revents) take(d);
}

int tinker__rec_control_open(tinker__rec_daemon_t *d, char *why,
                             size_t why_len) {
  struct sockaddr_un a;
  int rc = address(d->state_dir, &a, why, why_len);
  if (rc != 0) return rc;
  d->control_fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (d->control_fd >= 0) prepare(d->control_fd);
  unlink(a.sun_path); /* of a daemon that died: this one has the lock */
  if (d->control_fd >= 0 &&
      bind(d->control_fd, (const struct sockaddr *)&a, sizeof a) == 0 &&
      chmod(a.sun_path, 0600) == 0 && listen(d->control_fd, 16) == 0) {
    return 0;
  }
  rc = tinker__why(why, why_len, TINKER_EIO, "%s: %s", a.sun_path,
                   strerror(errno));
  if (d->control_fd >= 0) close(d->control_fd);
  d->control_fd = -1;
  return rc;
}

void tinker__rec_control_close(tinker__rec_daemon_t *d) {
  struct sockaddr_un a;
  for (size_t i = 0; i < TINKER__REC_CONTROL_CONNS; i++) drop(&d->conns[i]);
  if (d->control_fd < 0) return;
  close(d->control_fd);
  d->control_fd = -1;
  if (address(d->state_dir, &a, NULL, 0) == 0) unlink(a.sun_path);
}

/* --- The other end -------------------------------------------------------- */

static int dial(const char *state_dir, char *why, size_t why_len, int *out) {
  struct sockaddr_un a;
  struct timeval limit = {.tv_sec = ASK_MS / 1000};
  int rc = address(state_dir, &a, why, why_len);
  if (rc != 0) return rc;
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof a) == 0) {
    *out = fd;
    return 0;
  }
  rc = tinker__why(why, why_len, TINKER_ENOENT,
                   "%s: no daemon listens there: %s", a.sun_path,
                   strerror(errno));
  if (fd >= 0) close(fd);
  return rc;
}

static int write_request(tinker__mem_t *mem, int fd, const char *command,
                         const char *run) {
  tinker__buf_t line;
  tinker__jsonw_t w;
  tinker__buf_init(&line, mem, MAX_LINE);
  tinker__jsonw_init(&w, &line);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "command");
  tinker__jsonw_cstr(&w, command);
  if (run) {
    tinker__jsonw_key(&w, "run");
    tinker__jsonw_cstr(&w, run);
  }
  tinker__jsonw_end_object(&w);
  tinker__buf_addc(&line, '\n');
  int rc = tinker__buf_error(&line);
  if (rc == 0 && write(fd, line.data, line.len) != (ssize_t)line.len) {
    rc = TINKER_EIO;
  }
  tinker__buf_free(&line);
  return rc;
}

static int read_answer(int fd, tinker__buf_t *out) {
  char text[4096];
  while (!out->len || out->data[out->len - 1] != '\n') {
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return TINKER_EIO;
    int rc = tinker__buf_add(out, text, (size_t)n);
    if (rc != 0) return rc;
  }
  return 0;
}

int tinker__rec_control_ask(tinker__mem_t *mem, const char *state_dir,
                            const char *command, const char *run,
                            tinker__buf_t *out, char *why, size_t why_len) {
  int fd = -1, rc = dial(state_dir, why, why_len, &fd);
  if (rc != 0) return rc;
  rc = write_request(mem, fd, command, run);
  if (rc == 0) rc = read_answer(fd, out);
  close(fd);
  if (rc != 0) {
    return tinker__why(why, why_len, rc, "the daemon has not answered: %s",
                       tinker_code_text(rc));
  }
  bool good = tinker__str_starts(tinker__buf_str(out), "{\"ok\":true");
  return good ? 0 : tinker__why(why, why_len, TINKER_ESTATE, "%s", "refused");
}
