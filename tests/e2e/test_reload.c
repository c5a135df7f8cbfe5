/* The shared library is loaded, used and unloaded again and again: what the
 * process has of threads and descriptors does not grow, and the library is
 * really gone in between.
 *
 * usage: e2e_reload LIBRARY ROUNDS */
#include <dirent.h>
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/tinker.h>

enum { WARM_UP = 3 }; /* what libraries open once for the process */

#define must(ok)                                                               \
  do {                                                                         \
    if (!(ok)) fail(__LINE__, #ok);                                            \
  } while (0)

static int round_number;

static void fail(int line, const char *what) {
  fprintf(stderr, "round %d, line %d: %s\n", round_number, line, what);
  exit(1);
}

static int count_in(const char *folder) {
  DIR *dir = opendir(folder);
  int n = 0;
  must(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

/* A thread that was joined may be listed for a moment yet. */
static void expect_threads(int want) {
  for (int i = 0; i < 1000000; i++) {
    if (count_in("/proc/self/task") == want) return;
    sched_yield();
  }
  fail(__LINE__, "threads are left");
}

static void *find(void *library, const char *name) {
  void *symbol = dlsym(library, name);
  if (!symbol) fail(__LINE__, name);
  return symbol;
}

/* Points a variable named after a public function at it. */
#define LOAD(library, name)                                                    \
  __typeof__(name) *name##_fn;                                                 \
  *(void **)(void *)&name##_fn = find(library, #name)

/* A call is in flight when the client goes: nothing listens there, so it is
 * tried again and again. */
static void use(void *library) {
  LOAD(library, tinker_client_new);
  LOAD(library, tinker_client_get_capabilities);
  LOAD(library, tinker_client_release);
  LOAD(library, tinker_future_release);
  LOAD(library, tinker_shutdown);
  tinker_client_t *client = NULL;
  must(tinker_client_new_fn(&client, NULL, NULL) == 0);
  tinker_future_t *future = tinker_client_get_capabilities_fn(client, NULL);
  tinker_client_release_fn(client);
  tinker_future_release_fn(future);
  must(tinker_shutdown_fn(-1) == 0);
}

int main(int argc, char **argv) {
  int rounds = argc == 3 ? atoi(argv[2]) : 0, fds = 0;
  must(rounds > WARM_UP);
  int threads = count_in("/proc/self/task");
  setenv("TINKER_BASE_URL", "unix:/nowhere/socket", 1);
  for (round_number = 0; round_number < rounds; round_number++) {
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) fail(__LINE__, dlerror());
    use(library);
    must(dlclose(library) == 0);
    must(!dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD));
    if (round_number < WARM_UP) fds = count_in("/proc/self/fd");
    expect_threads(threads);
    must(count_in("/proc/self/fd") == fds);
  }
  printf("%d rounds\n", rounds);
  return 0;
}
