/* A body in pieces on its way over a socket: the same bytes at every try. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/http_client.h"
#include "support/tiny_server.h"

enum { IDS = 100000 };

static int32_t ids[IDS];
static tinker__piece_t list[3];
static tinker__pieces_t pieces;
static char *text; /* what has to arrive */
static atomic_int arrived, wrong;

static void make(size_t n) {
  tinker__place_t place = {0};
  for (int i = 0; i < IDS; i++) ids[i] = i * 7 % 151643;
  list[0] = (tinker__piece_t){"{\"tokens\":[", 11, false};
  list[1] = (tinker__piece_t){ids, n, true};
  list[2] = (tinker__piece_t){"]}", 2, false};
  pieces = (tinker__pieces_t){list, 3, 0};
  for (int i = 0; i < 3; i++) pieces.len += tinker__piece_len(&list[i]);
  text = malloc(pieces.len);
  cr_assert_not_null(text);
  tinker__pieces_read(&pieces, &place, text, pieces.len);
}

static void setup(void) {
  make(IDS);
}

/* A body that is joined before it is sent. */
static void setup_small(void) {
  make(IDS / 100);
}

static void teardown(void) {
  free(text);
}

TestSuite(http_body, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(small_body, .init = setup_small, .fini = teardown, .timeout = 120);

/* On a kept connection /once is read to its end, then the line goes dead. */
static tiny_reply_t answer(void *user, const tiny_request_t *r) {
  (void)user;
  if (strcmp(r->path, "/first") != 0) {
    atomic_fetch_add(&arrived, 1);
    bool same =
        r->body_len == pieces.len && memcmp(r->body, text, pieces.len) == 0;
    if (!same) atomic_fetch_add(&wrong, 1);
  }
  if (strcmp(r->path, "/once") == 0 && r->nth > 0) {
    return (tiny_reply_t){.close = true};
  }
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

static tinker__http_request_t post(const char *path, bool numbered) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = path,
      .body = {NULL, pieces.len},
      .pieces = pieces,
      .numbered = numbered,
  };
}

static void arrives(void) {
  http_client_t c;
  tiny_server_t *server = tiny_server_new(NULL, 64, true, answer, NULL);
  http_client_open(&c, tiny_server_url(server));
  http_expect(&c, post("/fine", true), 0, 200, true);
  http_expect(&c, post("/fine", false), 0, 200, true);
  cr_assert_eq(atomic_load(&arrived), 2);
  cr_assert_eq(atomic_load(&wrong), 0);
  http_client_close(&c);
  tiny_server_free(server);
}

Test(http_body, in_pieces) {
  arrives();
}

Test(small_body, in_pieces) {
  arrives();
}

/* curl goes back to the first piece where the server knows the number, and
 * nowhere else. */
static void is_sent_again_by_its_number_only(void) {
  http_client_t c;
  tinker__http_request_t first = post("/first", true);
  first.body = TINKER__STR("{}");
  first.pieces = (tinker__pieces_t){0};
  tiny_server_t *server = tiny_server_new(NULL, 64, true, answer, NULL);
  http_client_open(&c, tiny_server_url(server));
  http_expect(&c, first, 0, 200, true);
  http_expect(&c, post("/once", false), TINKER_ETRANSPORT, 0, true);
  cr_assert_eq(atomic_load(&arrived), 1);
  http_expect(&c, first, 0, 200, true);
  http_expect(&c, post("/once", true), 0, 200, true);
  cr_assert_eq(atomic_load(&arrived), 3);
  cr_assert_eq(atomic_load(&wrong), 0);
  http_client_close(&c);
  tiny_server_free(server);
}

Test(http_body, is_sent_again_by_its_number_only) {
  is_sent_again_by_its_number_only();
}

Test(small_body, is_sent_again_by_its_number_only) {
  is_sent_again_by_its_number_only();
}
