/* The libcurl transport on the loops without threads of their own: requests go
 * out and come back while the test's own loop turns them. */
#include <criterion/criterion.h>
#include <poll.h>
#include <tinker/error.h>

#include "loop/borrowed.h"
#include "loop/step.h"
#include "support/http_client.h"
#include "support/tiny_server.h"

enum { CALLS = 40 };

static tiny_reply_t answer(void *user, const tiny_request_t *r) {
  (void)user;
  (void)r;
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

static const tinker__http_request_t get = {.path = "a",
                                           .method = TINKER__HTTP_GET};
static http_client_t client;
static http_call_t calls[CALLS];

static void begin_all(void) {
  for (int i = 0; i < CALLS; i++) http_call_begin(&client, &calls[i], get);
}

static void end_all(void) {
  for (int i = 0; i < CALLS; i++) {
    cr_assert_eq(calls[i].times, 1);
    cr_assert_eq(calls[i].reply.status, 200);
    http_call_end(&calls[i]);
  }
}

static void turn(void) {
  struct pollfd fd = {tinker__step_fd(client.loop), POLLIN, 0};
  poll(&fd, 1, (int)tinker__step_timeout_ms(client.loop));
  cr_assert_eq(tinker__step(client.loop), 0);
}

Test(loops, a_poll_loop_carries_requests) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, answer, NULL);
  http_client_open_on(&client, tiny_server_url(server), tinker__loop_step);
  begin_all();
  while (atomic_load(&client.done) < CALLS) turn();
  end_all();
  http_client_close(&client);
  tiny_server_free(server);
}

Test(loops, a_wait_in_step_mode_carries_requests) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, answer, NULL);
  http_client_open_on(&client, tiny_server_url(server), tinker__loop_step);
  begin_all();
  for (int i = 0; i < CALLS; i++) http_call_finish(&calls[i]);
  end_all();
  http_expect(&client, get, 0, 200, true);
  http_client_close(&client);
  tiny_server_free(server);
}

/* Nobody listens, and nobody answers: the deadline is the client's own. */
Test(loops, deadlines_pass_in_step_mode) {
  tiny_server_t *server = tiny_server_new(NULL, 64, false, answer, NULL);
  tinker__http_request_t r = get;
  r.timeout_ms = 30;
  http_client_open_on(&client, tiny_server_url(server), tinker__loop_step);
  http_call_begin(&client, &calls[0], r);
  while (!http_call_is_over(&calls[0])) turn();
  cr_assert_eq(calls[0].reply.error, TINKER_ETIMEDOUT);
  http_call_end(&calls[0]);
  http_client_close(&client);
  tiny_server_free(server);
}

/* ---- on a uv loop ---- */

static uv_loop_t uv;

static int make_borrowed(tinker__loop_t **out, tinker__mem_t *mem,
                         const tinker__world_t *world) {
  return tinker__loop_borrowed(out, mem, world, &uv);
}

static void on_closed(void *user) {
  (void)user;
  tinker__loop_unhold(client.loop);
}

static void close_http(tinker__task_t *task) {
  (void)task;
  tinker__http_close(client.http, on_closed, NULL);
}

Test(loops, a_borrowed_uv_loop_carries_requests) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, answer, NULL);
  cr_assert_eq(uv_loop_init(&uv), 0);
  http_client_open_on(&client, tiny_server_url(server), make_borrowed);
  begin_all();
  tinker__loop_hold(client.loop);
  while (atomic_load(&client.done) < CALLS) uv_run(&uv, UV_RUN_ONCE);
  end_all();
  tinker__task_init(&client.close_task, close_http);
  tinker__loop_post(client.loop, &client.close_task);
  cr_assert_eq(uv_run(&uv, UV_RUN_DEFAULT), 0);
  tinker__loop_close(client.loop, NULL, NULL);
  cr_assert_eq(uv_run(&uv, UV_RUN_DEFAULT), 0);
  cr_assert_eq(uv_loop_close(&uv), 0); /* no handle is left */
  cr_assert_eq(atomic_load(&client.mem.live_blocks), 0);
  tiny_server_free(server);
}
