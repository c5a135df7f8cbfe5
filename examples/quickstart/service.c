/* service: starts and stops the local service. Parent only, one thread.
 *
 * The socket lives in a folder of its own under /tmp because a socket's path
 * may have 107 bytes at most and a checkout can be deeper than that. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "quick.h"

/* The service that is up, for a parent that ends early. */
static quick_service_t *running;
static bool caught;

static void remove_folder(const quick_service_t *service) {
  unlink(service->url + sizeof "unix:" - 1);
  rmdir(service->folder);
}

static void stop_running(void) {
  if (running == NULL) return;
  if (running->process.pid > 0) kill(running->process.pid, SIGTERM);
  remove_folder(running);
}

/* A signal ends all of it: a worker would wait for a service that is gone, a
 * service for a parent. */
static void on_signal(int signo) {
  quick_kill_children();
  if (running != NULL) remove_folder(running);
  _exit(128 + signo);
}

static void catch_signals(void) {
  static const int signals[] = {SIGHUP, SIGINT, SIGPIPE, SIGTERM};
  struct sigaction action = {.sa_handler = on_signal};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    sigaction(signals[i], &action, NULL);
  }
}

/* Shows why the service did not start. */
static void show(const char *log) {
  char line[1024];
  FILE *file = fopen(log, "r");
  if (file == NULL) return;
  while (fgets(line, sizeof line, file) != NULL) fputs(line, stderr);
  fclose(file);
}

void quick_service_start(quick_service_t *service, const quick_paths_t *paths,
                         const char *name, const char *faults) {
  char model[1024], state[1024], log[1024], line[1024];
  snprintf(service->folder, sizeof service->folder, "/tmp/tinker-XXXXXX");
  if (mkdtemp(service->folder) == NULL) {
    quick_die("%s: %s", service->folder, strerror(errno));
  }
  snprintf(service->url, sizeof service->url, "unix:%s/s", service->folder);
  snprintf(model, sizeof model, "%s=%s", QUICK_MODEL, paths->model);
  snprintf(state, sizeof state, "%s/%s", paths->out, name);
  snprintf(log, sizeof log, "%s/%s.log", paths->out, name);
  const char *socket = service->url + sizeof "unix:" - 1;
  const char *argv[] = {
      paths->locald, "--model", model, "--socket",
      socket,        "--state", state, faults ? "--faults" : NULL,
      faults,        NULL};
  service->process.pid = 0;
  running = service;
  if (!caught) atexit(stop_running);
  if (!caught) catch_signals();
  caught = true;
  quick_spawn(&service->process, argv, log);
  /* It says that it is ready with one line of JSON. */
  if (!quick_line(&service->process, line, sizeof line)) {
    show(log);
    quick_die("the service did not start");
  }
  setenv("TINKER_BASE_URL", service->url, 1);
}

void quick_service_stop(quick_service_t *service) {
  kill(service->process.pid, SIGTERM);
  running = NULL;
  int status = quick_wait(&service->process);
  remove_folder(service);
  if (status != 0) quick_die("the service ended with status %d", status);
}
