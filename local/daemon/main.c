/* tinker-locald: the local service as a program. Reads flags, handles signals,
 * prints one line on stdout when the service answers, writes the log to stderr,
 * and turns failures into exit codes. Main thread. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <tinker/error.h>
#include <tinker/version.h>

#include "base/file.h"
#include "base/json_write.h"
#include "base/str.h"
#include "cpu/cpu.h"
#include "crash.h"
#include "out.h"
#include "service/boot/service.h"
#include "service/http/head.h"

#define MAX_MODELS 32
#define MAX_ORIGINS 32
#define MAX_TEXT 65536

enum {
  EXIT_ENDED = 1, /* the store failed while it ran */
  EXIT_USAGE = 2,
  EXIT_STATE = 3,
  EXIT_BUSY = 4,
  EXIT_MODEL = 5,
  EXIT_LISTEN = 6,
  EXIT_OTHER = 7
};

static const char help[] =
    "usage: tinker-locald --model [NAME=]DIR... --state DIR\n"
    "                     [--socket PATH] [--listen HOST:PORT] [options]\n"
    "\n"
    "A local service that speaks the Tinker protocol and really trains.\n"
    "--flag=VALUE is the same as --flag VALUE.\n"
    "\n"
    "  --model [NAME=]DIR   a Hugging Face model folder; NAME (default: the\n"
    "                       folder's name) is the base_model clients ask for\n"
    "  --state DIR          runs, checkpoints, results; made with mode 0700\n"
    "  --socket PATH        listen on a Unix socket (mode 0600)\n"
    "  --listen HOST:PORT   listen on TCP, port 0 = any; loopback only unless\n"
    "                       --key-file is given\n"
    "  --allow-origin SCHEME://HOST[:PORT]\n"
    "                       web pages from there may use TCP without a key;\n"
    "                       may be given again (default: no page may)\n"
    "  --key-file FILE      TCP clients must send the key in FILE\n"
    "  --threads N          engine threads (default: one per core)\n"
    "  --max-memory BYTES   for weights, training, caches and requests\n"
    "                       (default: what the machine has available)\n"
    "  --max-body BYTES     largest request body (default 67108864)\n"
    "  --max-tokens N       tokens of one request, with those that it wants\n"
    "                       sampled (default 1048576)\n"
    "  --max-models N       models of live sessions (default 1024)\n"
    "  --max-samples N      samples under way (default 2000)\n"
    "  --inline-result BYTES\n"
    "                       largest result that is sent before a client has\n"
    "                       made room for it (default 1048576)\n"
    "  --session-timeout S  seconds without heartbeat that end a session\n"
    "                       (default 600)\n"
    "  --keep S             seconds that results stay after their session's\n"
    "                       end (default 3600)\n"
    "  --forget S           seconds after its end until a session without\n"
    "                       checkpoints is unknown (default 86400)\n"
    "  --poll-ms MS         hold of a long poll (default 30000, max 44000)\n"
    "  --snapshot-ms MS     engine time that a restart may have to repeat,\n"
    "                       of all models together (default 5000)\n"
    "  --idle-timeout S     seconds without a call until a model leaves\n"
    "                       memory (default 300)\n"
    "  --sample-share PERCENT\n"
    "                       of the engine's time for samples while training\n"
    "                       wants it, too (1 to 99, default 50)\n"
    "  --log-level LEVEL    info (default), or debug: the way of each call\n"
    "  --client-config FILE, --dynamic-config FILE\n"
    "                       flags for clients, a JSON object in each file\n"
    "  --faults FILE        go wrong as the plan in FILE says, for tests only\n"
    "                       (docs/faults.md)\n"
    "  --help, --version\n"
    "\n"
    "When ready it prints one JSON line with its endpoints. The log goes to\n"
    "stderr as JSON lines. SIGTERM and SIGINT end it; what was accepted and\n"
    "not finished is taken up at the next start.\n"
    "\n"
    "exit codes: 0 ended by a signal, 1 failed while running, 2 bad usage,\n"
    "3 state folder, 4 state folder in use, 5 model folder, 6 socket or port,\n"
    "7 other failure at the start\n";

typedef struct {
  tinker__svc_config_t config;
  tinker__svc_model_spec_t models[MAX_MODELS];
  const char *origins[MAX_ORIGINS];
  const char *key_file, *client_config, *dynamic_config;
  char key[512];
  tinker__svc_crash_t before;
  char listen[320]; /* --listen with the port of the image before */
} options_t;

/* Becomes readable when the program must end. Its byte is the signal, or 0 if
 * the service asked for the end. */
static int wake_pipe[2] = {-1, -1};

static void on_signal(int signo) {
  char c = (char)signo;
  ssize_t n = write(wake_pipe[1], &c, 1);
  (void)n;
}

static void on_ended(void *user) {
  (void)user;
  on_signal(0);
}

/* Runs on the log's thread, which may wait for room. A line that can't be
 * written is lost. */
static void on_log(void *user, const char *line, size_t len) {
  (void)user;
  tinker__svc_out_line(2, wake_pipe[0], line, len);
}

/* --- Flags ---------------------------------------------------------------- */

static int usage(const char *fmt, const char *what) {
  char text[1000];
  snprintf(text, sizeof text, fmt, what);
  tinker__svc_out_say(wake_pipe[0], "%s (see --help)", text);
  return EXIT_USAGE;
}

static int add_model(options_t *o, char *text) {
  char *eq = strchr(text, '=');
  if (o->config.n_models == MAX_MODELS) {
    return usage("more than %s models", "32");
  }
  tinker__svc_model_spec_t *m = &o->models[o->config.n_models++];
  m->dir = text;
  if (!*text || eq == text || (eq && !eq[1])) {
    return usage("--model wants [NAME=]DIR, not '%s'", text);
  }
  if (eq) {
    *eq = 0;
    m->name = text;
    m->dir = eq + 1;
  }
  return 0;
}

static int add_origin(options_t *o, char *text) {
  if (o->config.n_origins == MAX_ORIGINS) {
    return usage("more than %s origins", "32");
  }
  if (!tinker__svc_head_is_origin(text)) {
    return usage("--allow-origin wants SCHEME://HOST[:PORT], not '%s'", text);
  }
  o->origins[o->config.n_origins++] = text;
  o->config.origins = o->origins;
  return 0;
}

static int set_level(options_t *o, char *text) {
  o->config.debug = !strcmp(text, "debug");
  if (o->config.debug || !strcmp(text, "info")) return 0;
  return usage("--log-level wants info or debug, not '%s'", text);
}

#define AT(member) offsetof(options_t, member)
#define NO_LIMIT ((int64_t)1 << 40)

/* There are three kinds of flags: with a function of their own, with a text
 * (max 0), and with a number from 1 to max. */
static const struct {
  const char *flag;
  int (*add)(options_t *o, char *value); /* may be given again */
  size_t at;                             /* of a const char * or an int64_t */
  int64_t max, unit;
} flags[] = {{"--model", add_model, 0, 0, 0},
             {"--allow-origin", add_origin, 0, 0, 0},
             {"--log-level", set_level, 0, 0, 0},
             {"--state", NULL, AT(config.state_dir), 0, 0},
             {"--socket", NULL, AT(config.socket_path), 0, 0},
             {"--listen", NULL, AT(config.listen), 0, 0},
             {"--faults", NULL, AT(config.faults), 0, 0},
             {"--key-file", NULL, AT(key_file), 0, 0},
             {"--client-config", NULL, AT(client_config), 0, 0},
             {"--dynamic-config", NULL, AT(dynamic_config), 0, 0},
             {"--threads", NULL, AT(config.threads), 1024, 1},
             {"--max-memory", NULL, AT(config.max_memory), INT64_MAX, 1},
             {"--max-body", NULL, AT(config.max_body), 1 << 30, 1},
             {"--max-tokens", NULL, AT(config.max_tokens), NO_LIMIT, 1},
             {"--max-models", NULL, AT(config.max_models), NO_LIMIT, 1},
             {"--max-samples", NULL, AT(config.max_samples), NO_LIMIT, 1},
             {"--inline-result", NULL, AT(config.inline_result), NO_LIMIT, 1},
             {"--session-timeout", NULL, AT(config.session_ms), 1000000, 1000},
             {"--keep", NULL, AT(config.keep_ms), 1000000000, 1000},
             {"--forget", NULL, AT(config.forget_ms), 1000000000, 1000},
             {"--poll-ms", NULL, AT(config.poll_ms), 44000, 1},
             {"--snapshot-ms", NULL, AT(config.snapshot_ms), NO_LIMIT, 1},
             {"--idle-timeout", NULL, AT(config.idle_ms), 1000000, 1000},
             {"--sample-share", NULL, AT(config.sample_share), 99, 1}};

#define N_FLAGS (sizeof flags / sizeof *flags)

static int take_number(options_t *o, size_t i, const char *value) {
  int64_t v, *at = (int64_t *)(void *)((char *)o + flags[i].at);
  if (tinker__parse_i64(tinker__str(value), &v) != 0 || v < 1 ||
      v > flags[i].max) {
    tinker__svc_out_say(
        wake_pipe[0], "%s wants a number from 1 to %lld, not '%s' (see --help)",
        flags[i].flag, (long long)flags[i].max, value);
    return EXIT_USAGE;
  }
  *at = v * flags[i].unit;
  return 0;
}

/* The index of the flag in text, which ends at a '=' if there is one. */
static size_t find_flag(const char *text) {
  size_t i = 0, len = strcspn(text, "=");
  while (i < N_FLAGS && (strlen(flags[i].flag) != len ||
                         strncmp(flags[i].flag, text, len) != 0)) {
    i++;
  }
  return i;
}

static int take_flag(options_t *o, size_t i, char *value) {
  static bool given[N_FLAGS];
  if (!value || !*value) return usage("%s wants a value", flags[i].flag);
  if (flags[i].add) return flags[i].add(o, value);
  if (given[i]) return usage("%s is given twice", flags[i].flag);
  given[i] = true;
  if (flags[i].max) return take_number(o, i, value);
  *(const char **)(void *)((char *)o + flags[i].at) = value;
  return 0;
}

/* Reads --flag VALUE and --flag=VALUE. If the next argument looks like a flag,
 * the value is missing; with '=' it may look like one. */
static int read_flags(options_t *o, int argc, char **argv) {
  int rc = 0;
  for (int i = 1; rc == 0 && i < argc; i++) {
    char *eq = strchr(argv[i], '='), *value = eq ? eq + 1 : NULL;
    size_t flag = find_flag(argv[i]);
    if (strncmp(argv[i], "--", 2) != 0) {
      return usage("unexpected argument '%s'", argv[i]);
    }
    if (flag == N_FLAGS) return usage("unknown flag '%s'", argv[i]);
    if (!eq && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0) {
      value = argv[++i];
    }
    rc = take_flag(o, flag, value);
  }
  if (rc != 0) return rc;
  if (!o->config.n_models) return usage("%s is required", "--model");
  if (!o->config.state_dir) return usage("%s is required", "--state");
  if (!o->config.socket_path && !o->config.listen) {
    return usage("%s is required", "--socket or --listen");
  }
  return 0;
}

/* Reads the key from the first line of the key file. */
static int read_key(options_t *o) {
  if (!o->key_file) return 0;
  FILE *f = fopen(o->key_file, "r");
  if (!f) {
    tinker__svc_out_say(wake_pipe[0], "--key-file %s: %s", o->key_file,
                        strerror(errno));
    return EXIT_USAGE;
  }
  if (!fgets(o->key, sizeof o->key, f)) o->key[0] = 0;
  fclose(f);
  o->key[strcspn(o->key, "\r\n")] = 0;
  if (strlen(o->key) < 8) {
    return usage("--key-file %s: no key of 8 or more characters in its first "
                 "line",
                 o->key_file);
  }
  o->config.key = o->key;
  return 0;
}

/* Reads a text file into memory that lives as long as the program. */
static int read_text(options_t *o, const char *flag, const char *path,
                     const char **out) {
  char why[300];
  tinker__buf_t text;
  size_t len;
  if (!path) return 0;
  tinker__buf_init(&text, o->config.mem, MAX_TEXT);
  int rc =
      tinker__file_read(tinker__world_real(), path, &text, why, sizeof why);
  if (rc == 0 && memchr(text.data ? text.data : "", 0, text.len)) {
    rc = tinker__why(why, sizeof why, TINKER_EINVAL, "%s: a NUL byte", path);
  }
  if (rc == 0 && (rc = tinker__buf_addc(&text, 0)) != 0) {
    tinker__why(why, sizeof why, rc, "%s: %s", path, tinker_code_text(rc));
  }
  if (rc == 0) {
    *out = tinker__buf_take(&text, &len);
    return 0;
  }
  tinker__buf_free(&text);
  tinker__svc_out_say(wake_pipe[0], "%s %s", flag, why);
  return EXIT_USAGE;
}

static int read_configs(options_t *o) {
  int rc = read_text(o, "--client-config", o->client_config,
                     &o->config.client_config);
  if (rc != 0) return rc;
  return read_text(o, "--dynamic-config", o->dynamic_config,
                   &o->config.dynamic_config);
}

/* --- Running -------------------------------------------------------------- */

static void raise_file_limit(void) {
  struct rlimit lim;
  if (getrlimit(RLIMIT_NOFILE, &lim) != 0) return;
  lim.rlim_cur = lim.rlim_max < 65536 ? lim.rlim_max : 65536;
  setrlimit(RLIMIT_NOFILE, &lim);
}

/* Writes the URL: the host of --listen with the port that was bound. */
static void write_tcp(tinker__jsonw_t *w, const tinker__svc_config_t *c,
                      int port) {
  char url[320];
  int host = (int)(strrchr(c->listen, ':') - c->listen);
  snprintf(url, sizeof url, "http://%.*s:%d", host < 256 ? host : 256,
           c->listen, port);
  tinker__jsonw_key(w, "http");
  tinker__jsonw_cstr(w, url);
}

/* Prints the line that says the service is ready. False when it can't be
 * written, unless the end of the program was asked for. */
static bool print_ready(const options_t *o, const tinker__svc_t *s) {
  tinker__buf_t line;
  tinker__jsonw_t w;
  char path[300];
  tinker__buf_init(&line, o->config.mem, 65536);
  tinker__jsonw_init(&w, &line);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "ready");
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, "pid");
  tinker__jsonw_i64(&w, getpid());
  if (o->config.socket_path) {
    snprintf(path, sizeof path, "unix:%s", o->config.socket_path);
    tinker__jsonw_key(&w, "unix");
    tinker__jsonw_cstr(&w, path);
  }
  if (o->config.listen) write_tcp(&w, &o->config, tinker__svc_port(s));
  tinker__jsonw_end_object(&w);
  bool ok =
      !tinker__buf_error(&line) &&
      (tinker__svc_out_line(1, wake_pipe[0], line.data, line.len) || !errno);
  tinker__buf_free(&line);
  return ok;
}

static bool open_wake_pipe(void) {
  return pipe(wake_pipe) == 0 && fcntl(wake_pipe[1], F_SETFL, O_NONBLOCK) == 0;
}

static void catch_signals(void) {
  struct sigaction act = {.sa_handler = on_signal};
  sigaction(SIGTERM, &act, NULL);
  sigaction(SIGINT, &act, NULL);
  act.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &act, NULL);
}

static int exit_code(tinker__svc_stage_t stage) {
  switch (stage) {
  case TINKER__STAGE_STATE: return EXIT_STATE;
  case TINKER__STAGE_BUSY: return EXIT_BUSY;
  case TINKER__STAGE_MODEL: return EXIT_MODEL;
  case TINKER__STAGE_LISTEN: return EXIT_LISTEN;
  case TINKER__STAGE_CONFIG: return EXIT_USAGE;
  default: return EXIT_OTHER;
  }
}

static int run(options_t *o) {
  char why[400], cause = 0;
  tinker__svc_t *s;
  tinker__svc_stage_t stage;
  tinker__svc_crash_catch();
  if (tinker__svc_start(&s, &o->config, &stage, why, sizeof why) != 0) {
    tinker__svc_out_say(wake_pipe[0], "%s", why);
    return exit_code(stage);
  }
  tinker__svc_crash_port(tinker__svc_port(s));
  /* An image that follows a crash does not print the line again. */
  bool ok = o->before.signal || print_ready(o, s);
  struct pollfd end = {.fd = wake_pipe[0], .events = POLLIN};
  while (ok && poll(&end, 1, -1) < 0 && errno == EINTR) {
  }
  tinker__svc_crash_release();
  tinker__svc_stop(s);
  if (!ok) return EXIT_OTHER;
  return read(wake_pipe[0], &cause, 1) == 1 && cause ? 0 : EXIT_ENDED;
}

/* Takes over from an image that crashed: the call to blame and its port. */
static void go_on(options_t *o) {
  tinker__svc_config_t *c = &o->config;
  const char *colon = c->listen ? strrchr(c->listen, ':') : NULL;
  c->crash_signal = o->before.signal;
  c->crash_call = o->before.call;
  if (!o->before.port || !colon || colon - c->listen > 300) return;
  snprintf(o->listen, sizeof o->listen, "%.*s:%d", (int)(colon - c->listen),
           c->listen, o->before.port);
  c->listen = o->listen;
}

int main(int argc, char **argv) {
  static options_t o;
  static tinker__mem_t mem;
  if (!tinker__svc_out_begin()) return EXIT_OTHER;
  if (argc == 2 && !strcmp(argv[1], "--help")) {
    fputs(help, stdout);
    return 0;
  }
  if (argc == 2 && !strcmp(argv[1], "--version")) {
    printf("tinker-locald %s\n", TINKER_VERSION_STRING);
    return 0;
  }
  tinker__mem_init(&mem, NULL, 0);
  o.config = (tinker__svc_config_t){
      .mem = &mem,
      .engine = tinker__cpu_engine(),
      .models = o.models,
      .log = on_log,
      .ended = on_ended,
      .doing = tinker__svc_crash_doing(),
  };
  if (!tinker__svc_crash_begin(argc, argv, &o.before)) return EXIT_OTHER;
  int rc = read_flags(&o, argc, argv);
  if (rc == 0) rc = read_key(&o);
  if (rc == 0) rc = read_configs(&o);
  if (rc == 0) go_on(&o);
  if (rc != 0) return rc;
  umask(077); /* for files that SQLite and others make in the state folder */
  if (!open_wake_pipe()) return EXIT_OTHER;
  raise_file_limit();
  catch_signals();
  return run(&o);
}
