/* The process and the ledger of a faulty service, see faulty.h. It dies with
 * the test's process, whatever ends that. */
#include "faulty.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define MAX_ARGS 24

static FILE *create(const faulty_t *s, const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", s->dir, name);
  FILE *f = fopen(path, "w");
  cr_assert(f, "%s", path);
  return f;
}

void faulty_init(faulty_t *s, int seed, const char *rules) {
  *s = (faulty_t){.dir = "/tmp/tkfXXXXXX"};
  cr_assert(mkdtemp(s->dir));
  snprintf(s->socket, sizeof s->socket, "%s/s", s->dir);
  snprintf(s->url, sizeof s->url, "unix:%s", s->socket);
  FILE *f = create(s, "plan");
  fprintf(f, "{\"seed\": %d, \"rules\": [%s]}", seed, rules);
  cr_assert_eq(fclose(f), 0);
  f = create(s, "chunks");
  fputs("{\"fwdbwd_max_chunk_len\": 1}", f);
  cr_assert_eq(fclose(f), 0);
}

/* In the child: it runs in its folder, the log goes to a file, the ready line
 * to the pipe. */
static void become(const faulty_t *s, char *const *argv, int out, pid_t test) {
  int log = chdir(s->dir) ? -1 : open("log", O_WRONLY | O_CREAT, 0600);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  if (getppid() == test && log >= 0 && dup2(out, 1) >= 0 && dup2(log, 2) >= 0) {
    execv(argv[0], argv);
  }
  _exit(127);
}

static void read_ready(faulty_t *s, int fd) {
  char line[512];
  FILE *f = fdopen(fd, "r");
  cr_assert(f && fgets(line, sizeof line, f), "the service did not start: %s",
            s->dir);
  fclose(f);
  const char *http = strstr(line, "http://127.0.0.1:");
  if (http) {
    snprintf(s->http, sizeof s->http, "%.*s", (int)strcspn(http, "\""), http);
  }
}

void faulty_start(faulty_t *s, const char *const *flags, bool wait) {
  char model[512];
  const char *program = getenv("TINKER_LOCALD");
  const char *folder = getenv("TINKER_TEST_MODEL");
  cr_assert(program && folder);
  snprintf(model, sizeof model, "qwen3_tied=%s", folder);
  const char *argv[MAX_ARGS] = {
      program,       "--model",   model,      "--socket", s->socket,
      "--state",     "state",     "--faults", "plan",     "--listen",
      "127.0.0.1:0", "--threads", "1"};
  size_t n = 13;
  for (; flags && *flags && n < MAX_ARGS - 1; flags++) argv[n++] = *flags;
  int ends[2];
  cr_assert_eq(pipe(ends), 0);
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  pid_t test = getpid();
  s->pid = fork();
  cr_assert_geq(s->pid, 0);
  if (s->pid == 0) become(s, (char *const *)argv, ends[1], test);
  close(ends[1]);
  if (wait) read_ready(s, ends[0]);
  /* Else the pipe is kept: who writes to a closed one dies. */
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at) {
  (void)st;
  (void)type;
  (void)at;
  return remove(path);
}

void faulty_end(faulty_t *s) {
  int status = 0;
  if (!s->pid) return;
  pid_t pid = s->pid;
  s->pid = 0;
  kill(pid, SIGTERM);
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d, see %s/log",
            status, s->dir);
  nftw(s->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void faulty_ledger(const faulty_t *s, char *text, size_t len) {
  static const char ask[] = "GET /_test/ledger HTTP/1.0\r\n\r\n";
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", s->socket);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  cr_assert(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
  cr_assert_eq(write(fd, ask, sizeof ask - 1), (ssize_t)sizeof ask - 1);
  size_t at = 0;
  ssize_t n;
  while ((n = read(fd, text + at, len - 1 - at)) > 0) at += (size_t)n;
  close(fd);
  text[at] = '\0';
  cr_assert(n == 0 && at < len - 1 && strstr(text, "200 OK") &&
                strstr(text, "]}"),
            "the ledger: %s", text);
}

/* "key": "value" in the entry, the value whole or only its end. */
static bool has(const char *entry, size_t n, const char *key, const char *value,
                bool whole) {
  char name[32], text[200];
  snprintf(name, sizeof name, "\"%s\":", key);
  const char *at = strstr(entry, name);
  if (!at || at >= entry + n) return false;
  at = strchr(at + strlen(name), '"');
  if (!at || at >= entry + n) return false;
  snprintf(text, sizeof text, "%.*s", (int)strcspn(at + 1, "\""), at + 1);
  size_t have = strlen(text), want = strlen(value);
  return have >= want && (!whole || have == want) &&
         !strcmp(text + have - want, value);
}

size_t faulty_count(const char *ledger, const char *event, const char *id,
                    const char *endpoint) {
  size_t count = 0;
  const char *entry = strstr(ledger, "[");
  while (entry && (entry = strchr(entry, '{'))) {
    size_t n = strcspn(entry, "}");
    if (has(entry, n, "event", event, true) &&
        (!id || has(entry, n, "id", id, false)) &&
        (!endpoint || has(entry, n, "endpoint", endpoint, true))) {
      count++;
    }
    entry += n;
  }
  return count;
}
