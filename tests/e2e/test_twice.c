/* Never twice: many ordered operations of several trainers against the local
 * service, which loses the replies of one request in ten after it has done what
 * was asked. The ledger says what was applied: each number once, in order. What
 * the client sends goes through a relay that keeps a digest of each request:
 * what is sent again has the same bytes, number included.
 *
 * TINKER_TWICE_OPS says how many operations there are. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "play.h"
#include "support/tiny_server.h"

enum { OPS_EACH_DAY = 500, TRAINERS = 5, CONNECTIONS = 2048 };
enum { LEDGER = 32 << 20, IDLE_BYTES = 1 << 16 };

/* --- the relay --- */

typedef struct line_s {
  int up; /* to the service, -1 = none */
  char *reply;
  size_t len, cap;
} line_t;

typedef struct relay_s {
  const faulty_t *service;
  line_t lines[CONNECTIONS];
  pthread_mutex_t lock;
  uint64_t *posts; /* digests of numbered requests */
  size_t count, cap;
} relay_t;

static relay_t relay;

static int dial(const faulty_t *service) {
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", service->socket);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
}

static void keep_digest(const tiny_request_t *r) {
  uint64_t h = 1469598103934665603u;
  for (const char *at = r->path; *at; at++) {
    h = (h ^ (unsigned char)*at) * 1099511628211u;
  }
  for (size_t i = 0; i < r->body_len; i++) {
    h = (h ^ (unsigned char)r->body[i]) * 1099511628211u;
  }
  pthread_mutex_lock(&relay.lock);
  if (relay.count == relay.cap) {
    relay.cap = 2 * relay.cap + 1024;
    relay.posts = realloc(relay.posts, relay.cap * sizeof *relay.posts);
  }
  relay.posts[relay.count++] = h;
  pthread_mutex_unlock(&relay.lock);
}

static bool put(int fd, const char *data, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
    if (n <= 0) return false;
    data += n;
    len -= (size_t)n;
  }
  return true;
}

/* Is the reply whole? */
static bool is_whole(const line_t *l) {
  const char *end = l->len ? strstr(l->reply, "\r\n\r\n") : NULL;
  if (!end) return false;
  const char *at = strstr(l->reply, "ontent-Length: ");
  size_t body = at && at < end ? strtoul(at + 15, NULL, 10) : 0;
  return l->len >= (size_t)(end - l->reply) + 4 + body;
}

/* False when the service has closed before the end. */
static bool get(line_t *l) {
  l->len = 0;
  while (!is_whole(l)) {
    if (l->len + IDLE_BYTES + 1 > l->cap) {
      l->cap = 2 * l->cap + IDLE_BYTES + 1;
      l->reply = realloc(l->reply, l->cap);
    }
    ssize_t n = read(l->up, l->reply + l->len, IDLE_BYTES);
    if (n <= 0) return false;
    l->len += (size_t)n;
    l->reply[l->len] = '\0';
  }
  return true;
}

static tiny_reply_t pass_on(void *user, const tiny_request_t *r) {
  line_t *l = &relay.lines[r->connection];
  (void)user;
  if (r->nth == 0) l->up = dial(relay.service);
  if (strstr(r->path, "/forward_backward") || strstr(r->path, "/optim_step") ||
      strstr(r->path, "/save_weights")) {
    keep_digest(r);
  }
  l->len = 0;
  if (l->up >= 0 && put(l->up, r->head, strlen(r->head)) &&
      put(l->up, "\r\n", 2) && put(l->up, r->body, r->body_len) && get(l)) {
    return (tiny_reply_t){.bytes = l->reply, .len = l->len};
  }
  if (l->up >= 0) close(l->up);
  l->up = -1;
  return (tiny_reply_t){
      .bytes = l->len ? l->reply : "", .len = l->len, .close = true};
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static size_t distinct(void) {
  size_t n = 0;
  qsort(relay.posts, relay.count, sizeof *relay.posts, by_value);
  for (size_t i = 0; i < relay.count; i++) {
    n += i == 0 || relay.posts[i] != relay.posts[i - 1];
  }
  return n;
}

static void end_relay(tiny_server_t *server, int connections) {
  tiny_server_free(server);
  for (int i = 0; i < connections; i++) {
    if (relay.lines[i].up > 0) close(relay.lines[i].up);
    free(relay.lines[i].reply);
  }
  free(relay.posts);
}

/* --- what is asked for --- */

static tinker_future_t *submit(tinker_trainer_t *t, size_t i,
                               tinker_datum_t *const *batch) {
  char name[32];
  snprintf(name, sizeof name, "c%zu", i);
  if (i % 50 == 49) return tinker_trainer_save_state(t, name, NULL, NULL);
  if (i % 2) return tinker_trainer_optim_step(t, NULL, NULL);
  return tinker_trainer_forward_backward(t, batch, 1, NULL, NULL);
}

/* --- what was done --- */

/* Numbers 1 to n of a trainer were accepted and applied, each once, in order.
 */
static void check_trainer(const char *ledger, const char *model, size_t n) {
  size_t accepted = 0, applied = 0, len = strlen(model);
  for (const char *at = ledger; (at = strstr(at, "\"id\":"));) {
    const char *id = strstr(at, model);
    const char *entry = at;
    at += 5;
    if (!id || id > at + 2 || id[len] != ':') continue;
    while (*entry != '{') entry--;
    size_t seq = strtoul(id + len + 1, NULL, 10);
    if (seq == 0) continue; /* the creation */
    if (strstr(entry, "\"accepted\"") && strstr(entry, "\"accepted\"") < id) {
      cr_assert_eq(seq, ++accepted, "%s accepted %zu", model, seq);
    }
    if (strstr(entry, "\"applied\"") && strstr(entry, "\"applied\"") < id) {
      cr_assert_eq(seq, ++applied, "%s applied %zu", model, seq);
    }
  }
  cr_assert(accepted == n && applied == n,
            "%s: %zu accepted, %zu applied of "
            "%zu",
            model, accepted, applied, n);
}

/* clang-format off */
#define LOSE(endpoint_)                                                        \
  "{\"endpoint\":\"" endpoint_ "\",\"probability\":0.1,\"act\":\"lose_reply\"}"
/* clang-format on */

static play_t hit;

Test(faults, never_twice, .timeout = 3600) {
  static const int32_t tokens[5] = {1, 2, 3, 4, 5};
  const char *text = getenv("TINKER_TWICE_OPS");
  size_t each = (text ? strtoul(text, NULL, 10) : OPS_EACH_DAY) / TRAINERS;
  tinker_future_t **f = calloc(each * TRAINERS, sizeof(*f));
  tinker_trainer_t *trainers[TRAINERS];
  tinker_datum_t *batch[1] = {NULL};
  char path[80];
  play_begin(
      &hit,
      LOSE("forward_backward") "," LOSE("optim_step") "," LOSE("save_weights"),
      NULL);
  tinker_client_release(hit.client);
  relay.service = &hit.service;
  pthread_mutex_init(&relay.lock, NULL);
  snprintf(path, sizeof path, "%s/relay", hit.service.dir);
  tiny_server_t *server = tiny_server_new(path, 64, true, pass_on, NULL);
  play_connect(&hit, tiny_server_url(server));
  for (int i = 0; i < TRAINERS; i++) {
    ended_t e = play_create(&hit);
    cr_assert_eq(e.code, 0, "%s", e.text);
    trainers[i] = hit.trainer;
  }
  cr_assert_eq(tinker_datum_new_supervised(batch, tokens, NULL, 5, NULL, NULL),
               0);
  for (size_t i = 0; i < each * TRAINERS; i++) {
    f[i] = submit(trainers[i % TRAINERS], i / TRAINERS, batch);
  }
  cr_assert_eq(tinker_future_wait_all(f, each * TRAINERS, -1), 0);
  for (size_t i = 0; i < each * TRAINERS; i++) {
    cr_assert_eq(tinker_future_status(f[i]), 0, "%zu: %s", i,
                 tinker_error_message(tinker_future_error(f[i])));
    tinker_future_release(f[i]);
  }
  char *ledger = malloc(LEDGER);
  faulty_ledger(&hit.service, ledger, LEDGER);
  size_t lost = faulty_count(ledger, "fault", NULL, NULL);
  for (int i = 0; i < TRAINERS; i++) {
    check_trainer(ledger, tinker_trainer_model_id(trainers[i]), each);
    if (i + 1 < TRAINERS) tinker_trainer_release(trainers[i]);
  }
  fprintf(stderr, "never_twice: %zu operations, %zu replies lost, %zu posts\n",
          each * TRAINERS, lost, relay.count);
  cr_assert_geq(lost, each * TRAINERS / 20);
  cr_assert_geq(relay.count, each * TRAINERS + lost); /* sent again */
  cr_assert_eq(distinct(), each * TRAINERS); /* and never with other bytes */
  free(ledger);
  free(f);
  tinker_datum_release(batch[0]);
  play_close(&hit);
  int connections = tiny_server_connections(server);
  play_end(&hit);
  end_relay(server, connections);
}
