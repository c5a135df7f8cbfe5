/* loops/uv: a client on the program's own uv_loop_t. libuv turns it like any
 * other handle; uv_run() returns when the operations have ended and nothing
 * else is active.
 *
 * usage: loop_uv TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include "train.h"

#include <tinker/uv.h>
#include <uv.h>

/* The program's own business: a clock that ticks, and does not keep the loop
 * going either. */
static void on_tick(uv_timer_t *timer) {
  ++*(int *)timer->data;
}

int main(int argc, char **argv) {
  run_t run = {0};
  uv_loop_t loop;
  uv_timer_t clock;
  int ticks = 0;
  tinker_error_t *error = NULL;
  if (argc != 2) return fprintf(stderr, "usage: loop_uv TOKENIZER_JSON\n"), 2;
  uv_loop_init(&loop);
  uv_timer_init(&loop, &clock);
  clock.data = &ticks;
  uv_timer_start(&clock, on_tick, 50, 50);
  uv_unref((uv_handle_t *)&clock);

  check_made(tinker_client_new_uv(&run.client, &loop, NULL, &error), &error);
  train(&run, argv[1]);
  uv_run(&loop, UV_RUN_DEFAULT);
  printf("%d ticks meanwhile\n", ticks);

  int status = finish_run(&run);
  uv_close((uv_handle_t *)&clock, NULL);
  uv_run(&loop, UV_RUN_DEFAULT); /* the client's handles close as well */
  return uv_loop_close(&loop) == 0 ? status : 1;
}
