/* tinker-recoverd: keeps training runs going. Reads flags, turns signals into
 * bytes of a pipe, and ends into exit codes. Main thread. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <tinker/version.h>
#include <unistd.h>

#include "control.h"
#include "policy/check.h"
#include "release.h"
#include "serve.h"
#include "timeline.h"

#define MAX_ENV 128

enum { EXIT_BROKEN = 1, EXIT_USAGE = 2, EXIT_STATE = 3, EXIT_BUSY = 4 };

static const char help[] =
    "usage: tinker-recoverd run --state DIR --name NAME [options]\n"
    "                           -- TRAINER [ARGUMENT...]\n"
    "       tinker-recoverd serve [--state DIR] POLICY\n"
    "       tinker-recoverd check POLICY\n"
    "       tinker-recoverd journal --state DIR NAME\n"
    "       tinker-recoverd release --state DIR NAME\n"
    "       tinker-recoverd ctl DIR COMMAND [NAME]\n"
    "\n"
    "run starts a trainer, a program that opens the run NAME in the folder\n"
    "DIR by tinker_run_open(), and starts it again when it dies.\n"
    "serve does so for all runs of a policy file that have a trainer, until a\n"
    "signal ends it; SIGHUP reads the file again.\n"
    "check prints what a policy file says, and what it costs.\n"
    "journal prints what the journals say of a run, a line for each record.\n"
    "release lets a run that has stopped (93) try again, without a daemon.\n"
    "ctl asks the daemon of the folder DIR: status [NAME], runs, hold NAME\n"
    "(end the trainer, start none), release NAME (go on), stop NAME, reload.\n"
    "\n"
    "  --state DIR         folder of the runs and of the daemon's own journal\n"
    "  --name NAME         of the run\n"
    "  --max-restarts N    restarts without a committed step in between\n"
    "                      (default 3)\n"
    "  --grace TIME        between SIGTERM and SIGKILL (default 15s)\n"
    "  --hang-after TIME   without a record in the run's journal: the trainer\n"
    "                      is ended and started again (default: never)\n"
    "  --backoff-base TIME the longest wait before the second restart without\n"
    "                      progress; later ones twice as long (default 1s)\n"
    "  --backoff-cap TIME  the longest wait at all (default 5m)\n"
    "  --env NAME          environment variable that the trainer gets besides\n"
    "                      PATH, HOME, LANG and TINKER_*; may be given again;\n"
    "                      NAME* stands for all that begin so\n"
    "  --help, --version\n"
    "\n"
    "TIME has a unit: ms, s, m or h. The log goes to stderr as JSON lines.\n"
    "SIGTERM and SIGINT end trainer and daemon; the session is left, and the\n"
    "same command goes on.\n"
    "\n"
    "exit codes: 0 the trainer has done its work, or a signal, 1 the daemon\n"
    "can't go on (the trainer runs on), 2 bad usage, 3 state folder,\n"
    "4 another daemon works on it, 75 too many deaths without progress,\n"
    "93 the run was stopped and needs somebody\n";

typedef struct {
  const char *state_dir;
  tinker__rec_spec_t spec;
  const char *env[MAX_ENV];
} options_t;

static int wake_pipe[2] = {-1, -1};

static void on_signal(int signo) {
  char c = (char)signo;
  ssize_t n = write(wake_pipe[1], &c, 1);
  (void)n;
}

static int usage(const char *fmt, const char *what) {
  fprintf(stderr, "tinker-recoverd: ");
  fprintf(stderr, fmt, what);
  fprintf(stderr, " (see --help)\n");
  return EXIT_USAGE;
}

/* --- Flags ---------------------------------------------------------------- */

static int take_text(void *at, const char *flag, const char *value) {
  (void)flag;
  *(const char **)at = value;
  return 0;
}

static int take_name(void *at, const char *flag, const char *value) {
  size_t n = strspn(value, "abcdefghijklmnopqrstuvwxyz"
                           "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
  if (n == 0 || n > 64 || value[n]) {
    return usage("--name wants 1 to 64 of [A-Za-z0-9_-], not '%s'", value);
  }
  return take_text(at, flag, value);
}

static int take_count(void *at, const char *flag, const char *value) {
  int64_t n;
  (void)flag;
  if (tinker__parse_i64(tinker__str(value), &n) != 0 || n < 0 || n > 1000000) {
    return usage("--max-restarts wants a number from 0 to 1000000, not '%s'",
                 value);
  }
  *(int64_t *)at = n;
  return 0;
}

static int take_time(void *at, const char *flag, const char *value) {
  static const struct {
    const char *unit;
    int64_t ms;
  } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
  char text[100];
  int64_t n;
  size_t digits = strspn(value, "0123456789");
  for (size_t i = 0; i < 4; i++) {
    if (strcmp(value + digits, units[i].unit) != 0) continue;
    if (tinker__parse_i64((tinker__str_t){value, digits}, &n) != 0) break;
    if (n > 1000 * INT64_C(3600000) / units[i].ms) break;
    *(int64_t *)at = n * units[i].ms;
    return 0;
  }
  snprintf(text, sizeof text,
           "%s wants a time as 500ms, 15s, 5m or 1h, up to "
           "1000h, not '%%s'",
           flag);
  return usage(text, value);
}

static int take_env(void *at, const char *flag, const char *value) {
  options_t *o = at;
  (void)flag;
  if (!*value || strchr(value, '=')) {
    return usage("--env wants the name of a variable, not '%s'", value);
  }
  if (o->spec.env_count == MAX_ENV) return usage("%s --env", "too many");
  o->env[o->spec.env_count++] = value;
  return 0;
}

#define AT(member) offsetof(options_t, member)

static const struct {
  const char *flag;
  int (*take)(void *at, const char *flag, const char *value);
  size_t at;
} flags[] = {{"--state", take_text, AT(state_dir)},
             {"--name", take_name, AT(spec.name)},
             {"--max-restarts", take_count, AT(spec.policy.max_restarts)},
             {"--grace", take_time, AT(spec.policy.grace_ms)},
             {"--hang-after", take_time, AT(spec.hang_ms)},
             {"--backoff-base", take_time, AT(spec.policy.base_ms)},
             {"--backoff-cap", take_time, AT(spec.policy.cap_ms)},
             {"--env", take_env, 0}};

/* --flag VALUE up to "--"; the trainer is what follows. */
static int read_flags(options_t *o, char **argv) {
  for (; *argv && strcmp(*argv, "--") != 0; argv += 2) {
    size_t i = 0, n = sizeof flags / sizeof flags[0];
    while (i < n && strcmp(*argv, flags[i].flag) != 0) i++;
    if (i == n) return usage("unknown flag '%s'", *argv);
    if (!argv[1]) return usage("%s wants a value", *argv);
    int rc = flags[i].take((char *)o + flags[i].at, *argv, argv[1]);
    if (rc != 0) return rc;
  }
  if (!o->state_dir) return usage("%s is required", "--state");
  if (!o->spec.name) return usage("%s is required", "--name");
  if (!*argv || !argv[1]) return usage("%s is required", "-- TRAINER");
  o->spec.argv = argv + 1;
  o->spec.env_allow = o->env;
  return 0;
}

/* --- run ------------------------------------------------------------------ */

static bool catch_signals(void) {
  struct sigaction act = {.sa_handler = on_signal};
  if (pipe(wake_pipe) != 0) return false;
  for (int i = 0; i < 2; i++) {
    fcntl(wake_pipe[i], F_SETFL, O_NONBLOCK);
    fcntl(wake_pipe[i], F_SETFD, FD_CLOEXEC);
  }
  sigaction(SIGTERM, &act, NULL);
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGHUP, &act, NULL);
  act.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &act, NULL);
  return true;
}

static int exit_code(const tinker__rec_daemon_t *d, const char *name) {
  if (d->phase == TINKER__REC_DAEMON_BROKEN) return EXIT_BROKEN;
  switch (tinker__rec_trainer_find(d, name)->restart.state) {
  case TINKER__REC_TRAINER_STOPPED: return TINKER__REC_EXIT_STOPPED;
  case TINKER__REC_TRAINER_EXHAUSTED: return TINKER__REC_EXIT_EXHAUSTED;
  default: return 0;
  }
}

static int run(const options_t *o) {
  char why[512];
  tinker__rec_daemon_t d;
  mode_t mask = umask(077);
  if (!catch_signals()) return EXIT_BROKEN;
  int rc = tinker__rec_daemon_begin(&d, o->state_dir, wake_pipe[0], mask, why,
                                    sizeof why);
  if (rc == 0) {
    rc = tinker__rec_trainer_add(&d, &o->spec, true, why, sizeof why);
  }
  int code = rc == TINKER_EBUSY ? EXIT_BUSY : EXIT_STATE;
  if (rc == 0) {
    tinker__rec_daemon_turn(&d);
    code = exit_code(&d, o->spec.name);
  } else {
    fprintf(stderr, "tinker-recoverd: %s\n", why);
  }
  tinker__rec_daemon_end(&d);
  return code;
}

/* --- serve, check --------------------------------------------------------- */

static int serve_with(tinker__rec_serve_t *s) {
  char why[512];
  tinker__rec_daemon_t d;
  mode_t mask = umask(077);
  if (!catch_signals()) return EXIT_BROKEN;
  int rc = tinker__rec_daemon_begin(&d, s->state_dir, wake_pipe[0], mask, why,
                                    sizeof why);
  if (rc == 0) rc = tinker__rec_serve_start(s, &d, why, sizeof why);
  int code = rc == TINKER_EBUSY ? EXIT_BUSY : EXIT_STATE;
  if (rc == 0) {
    tinker__rec_daemon_turn(&d);
    code = d.phase == TINKER__REC_DAEMON_BROKEN ? EXIT_BROKEN : 0;
  } else {
    fprintf(stderr, "tinker-recoverd: %s\n", why);
  }
  tinker__rec_daemon_end(&d);
  return code;
}

static int serve_command(char **argv) {
  tinker__rec_serve_t s;
  tinker__mem_t mem;
  tinker__buf_t report;
  const char *dir = NULL;
  if (argv[0] && argv[1] && strcmp(argv[0], "--state") == 0) {
    dir = argv[1];
    argv += 2;
  }
  if (!argv[0] || argv[1]) {
    return usage("%s", "serve wants [--state DIR] POLICY");
  }
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&report, &mem, SIZE_MAX / 2);
  int code = EXIT_USAGE;
  if (tinker__rec_serve_begin(&s, argv[0], dir, &report) == 0) {
    code = serve_with(&s);
  } else {
    fwrite(report.data, 1, report.len, stderr);
  }
  tinker__rec_serve_end(&s);
  tinker__buf_free(&report);
  return code;
}

static int check_command(char **argv) {
  tinker__mem_t mem;
  tinker__buf_t out, faults;
  const tinker__rec_times_t times = tinker__rec_times_assumed();
  if (!argv[0] || argv[1]) return usage("%s", "check wants POLICY");
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, SIZE_MAX / 2);
  tinker__buf_init(&faults, &mem, SIZE_MAX / 2);
  int code = tinker__rec_policy_check(&mem, tinker__world_real(), argv[0],
                                      &times, &out, &faults);
  if (out.len) fwrite(out.data, 1, out.len, stdout);
  if (faults.len) fwrite(faults.data, 1, faults.len, stderr);
  tinker__buf_free(&out);
  tinker__buf_free(&faults);
  return fflush(stdout) == 0 ? code : EXIT_BROKEN;
}

/* --- journal, release
 * -------------------------------------------------------------- */

static int journal(char **argv) {
  char why[512];
  tinker__mem_t mem;
  tinker__buf_t out;
  if (!argv[0] || strcmp(argv[0], "--state") != 0 || !argv[1] || !argv[2]) {
    return usage("%s", "journal wants --state DIR NAME");
  }
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, SIZE_MAX / 2);
  int rc = tinker__rec_timeline(&mem, tinker__world_real(), argv[1], argv[2],
                                &out, why, sizeof why);
  if (out.len) fwrite(out.data, 1, out.len, stdout);
  if (rc != 0) fprintf(stderr, "tinker-recoverd: %s\n", why);
  tinker__buf_free(&out);
  return rc == 0 && fflush(stdout) == 0 ? 0 : EXIT_STATE;
}

static int release(char **argv) {
  char why[512];
  tinker__mem_t mem;
  if (!argv[0] || strcmp(argv[0], "--state") != 0 || !argv[1] || !argv[2]) {
    return usage("%s", "release wants --state DIR NAME");
  }
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__rec_release(&mem, tinker__world_real(), argv[1], argv[2],
                               why, sizeof why);
  if (rc != 0) fprintf(stderr, "tinker-recoverd: %s\n", why);
  if (rc == TINKER_EBUSY) return EXIT_BUSY;
  return rc == 0 ? 0 : EXIT_STATE;
}

/* --- ctl ------------------------------------------------------------------ */

static int ctl(char **argv) {
  char why[512];
  tinker__mem_t mem;
  tinker__buf_t out;
  if (!argv[0] || !argv[1] || (argv[2] && argv[3])) {
    return usage("%s", "ctl wants DIR COMMAND [NAME]");
  }
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, SIZE_MAX / 2);
  int rc = tinker__rec_control_ask(&mem, argv[0], argv[1], argv[2], &out, why,
                                   sizeof why);
  if (out.len) fwrite(out.data, 1, out.len, stdout);
  if (rc != 0) fprintf(stderr, "tinker-recoverd: %s\n", why);
  tinker__buf_free(&out);
  return rc == 0 && fflush(stdout) == 0 ? 0 : EXIT_BROKEN;
}

static int run_command(char **argv) {
  options_t o = {.env = {"PATH", "HOME", "LANG", "TINKER_*"}};
  o.spec.env_count = 4;
  const tinker__rec_restart_policy_t policy = TINKER__REC_RESTART_POLICY_INIT;
  o.spec.policy = policy;
  int rc = read_flags(&o, argv);
  return rc != 0 ? rc : run(&o);
}

static int help_command(char **argv) {
  (void)argv;
  fputs(help, stdout);
  return 0;
}

static int version_command(char **argv) {
  (void)argv;
  printf("tinker-recoverd %s\n", tinker_version());
  return 0;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    int (*main)(char **argv);
  } commands[] = {{"run", run_command},     {"serve", serve_command},
                  {"check", check_command}, {"journal", journal},
                  {"release", release},     {"ctl", ctl},
                  {"--help", help_command}, {"--version", version_command}};
  const char *name = argc > 1 ? argv[1] : "";
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    if (strcmp(name, commands[i].name) == 0) return commands[i].main(argv + 2);
  }
  return usage("'%s' is not a command", name);
}
