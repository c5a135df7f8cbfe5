/* loops/poll: a client without threads in a loop around poll(). The descriptor
 * and the time say when the client wants a turn; a program with more to do adds
 * its own descriptors to the array.
 *
 * usage: loop_poll TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include <poll.h>

#include "train.h"

int main(int argc, char **argv) {
  run_t run = {0};
  if (argc != 2) return fprintf(stderr, "usage: loop_poll TOKENIZER_JSON\n"), 2;
  run.client = stepped_client();
  train(&run, argv[1]);

  struct pollfd fd = {tinker_client_fd(run.client), POLLIN, 0};
  while (!run.over) {
    poll(&fd, 1, (int)tinker_client_timeout_ms(run.client));
    check(tinker_client_step(run.client));
  }
  return finish_run(&run);
}
