/* loops/many: several runs in one loop, on one client that has no thread. Each
 * run goes on by itself in its callbacks, as far as the service lets it, and
 * none waits for another; who ends last closes the client.
 *
 * usage: loop_many TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include <poll.h>

#include "train.h"

enum { RUNS = 3 };
static const char *const names[RUNS] = {"slow: ", "middle: ", "fast: "};
static const double rates[RUNS] = {5e-4, 2e-3, 4e-3};
static int running = RUNS;

static void on_end(run_t *run) {
  if (--running == 0) end_client(run);
}

/* The client has closed; the run that ended last was told. */
static int are_over(const run_t *runs) {
  int over = 0;
  for (int i = 0; i < RUNS; i++) over |= runs[i].over;
  return over;
}

int main(int argc, char **argv) {
  run_t runs[RUNS] = {{0}};
  int failed = 0;
  if (argc != 2) return fprintf(stderr, "usage: loop_many TOKENIZER_JSON\n"), 2;
  tinker_client_t *client = stepped_client();
  for (int i = 0; i < RUNS; i++) {
    runs[i].client = tinker_client_retain(client);
    runs[i].name = names[i];
    runs[i].rate = rates[i];
    runs[i].ended = on_end;
    train(&runs[i], argv[1]);
  }

  struct pollfd fd = {tinker_client_fd(client), POLLIN, 0};
  while (!are_over(runs)) {
    poll(&fd, 1, (int)tinker_client_timeout_ms(client));
    check(tinker_client_step(client));
  }
  for (int i = 0; i < RUNS; i++) {
    runs[i].over = 1;
    failed |= finish_run(&runs[i]);
  }
  tinker_client_release(client);
  return failed;
}
