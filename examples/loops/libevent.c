/* loops/libevent: a client without threads in an event_base. Two events are
 * all that a loop needs: one for the descriptor, one for the time, which is set
 * anew after each step.
 *
 * usage: loop_libevent TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include <event2/event.h>

#include "train.h"

typedef struct loop_s {
  run_t run;
  struct event_base *base;
  struct event *ready, *timeout;
} loop_t;

static void set_timeout(loop_t *loop) {
  int64_t ms = tinker_client_timeout_ms(loop->run.client);
  struct timeval tv = {ms / 1000, (ms % 1000) * 1000};
  if (ms < 0) {
    event_del(loop->timeout);
  } else {
    event_add(loop->timeout, &tv);
  }
}

static void on_event(evutil_socket_t fd, short what, void *user) {
  loop_t *loop = user;
  (void)fd;
  (void)what;
  check(tinker_client_step(loop->run.client));
  set_timeout(loop);
  if (loop->run.over) event_base_loopbreak(loop->base);
}

int main(int argc, char **argv) {
  loop_t loop = {.run = {0}};
  if (argc != 2) {
    return fprintf(stderr, "usage: loop_libevent TOKENIZER_JSON\n"), 2;
  }
  loop.run.client = stepped_client();
  loop.base = event_base_new();
  loop.ready = event_new(loop.base, tinker_client_fd(loop.run.client),
                         EV_READ | EV_PERSIST, on_event, &loop);
  loop.timeout = event_new(loop.base, -1, 0, on_event, &loop);
  event_add(loop.ready, NULL);

  train(&loop.run, argv[1]);
  set_timeout(&loop);
  event_base_dispatch(loop.base);

  event_free(loop.timeout);
  event_free(loop.ready);
  event_base_free(loop.base);
  return finish_run(&loop.run);
}
