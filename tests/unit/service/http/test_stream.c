/* Replies that are sent while they are made. The test is the HTTP thread. */
#include <criterion/criterion.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "engine/generator.h"
#include "rig.h"
#include "service/http/stream.h"

static rig_t rig;

/* A request that its handler has parked with a stream. */
static rig_pending_t *park(tinker__svc_stream_t **st, size_t max) {
  rig_pending_t *c = rig_request(&rig, "GET api/v1/healthz", NULL, "");
  MHD_suspend_connection(rig_req(c)->conn);
  cr_assert_eq(tinker__svc_stream_new(st, rig_req(c), "text/plain", max), 0);
  return c;
}

/* Asks as the HTTP library does, until the end: -1 whole, -2 cut off. */
static ssize_t read_all(rig_pending_t *c, char *out, size_t len, size_t piece) {
  char bytes[100];
  ssize_t n;
  size_t have = 0;
  while ((n = tinker__svc_stream_read(rig_req(c), have, bytes, piece)) >= 0) {
    cr_assert_lt(have + (size_t)n, len);
    memcpy(out + have, bytes, (size_t)n);
    have += (size_t)n;
    if (n == 0) rig_resumed(c);
  }
  out[have] = 0;
  return n;
}

/* The HTTP library is done with the request. */
static void complete(rig_pending_t *c) {
  reply_t *reply = malloc(sizeof *reply);
  cr_assert_neq(reply, NULL);
  tinker__svc_stream_gone(rig_req(c)->stream);
  MHD_resume_connection(rig_req(c)->conn);
  rig_wait(&rig, c, reply);
  free(reply);
}

static void *write_lines(void *user) {
  tinker__svc_stream_t *st = user;
  char line[20];
  for (int i = 0; i < 500; i++) {
    int n = snprintf(line, sizeof line, "%d\n", i);
    cr_assert_eq(tinker__svc_stream_write(st, line, (size_t)n), 0);
  }
  tinker__svc_stream_end(st, 0);
  return NULL;
}

/* Everything in order, however reader and writer meet. */
Test(stream, whole) {
  tinker__svc_stream_t *st;
  pthread_t writer;
  char want[5000] = "", got[5000];
  rig_open(&rig);
  for (int i = 0; i < 500; i++) snprintf(want + strlen(want), 20, "%d\n", i);
  for (size_t piece = 1; piece <= 100; piece = piece * 3 + 1) {
    rig_pending_t *c = park(&st, 4000);
    pthread_create(&writer, NULL, write_lines, st);
    rig_resumed(c); /* headers go out */
    struct MHD_Response *response = tinker__svc_stream_response(rig_req(c));
    cr_assert_neq(response, NULL);
    MHD_destroy_response(response);
    cr_assert_eq(read_all(c, got, sizeof got, piece),
                 MHD_CONTENT_READER_END_OF_STREAM);
    cr_assert_str_eq(got, want);
    pthread_join(writer, NULL);
    complete(c);
  }
  rig_close(&rig);
}

/* One that is not read: the writer is refused, the rest goes out, and no last
 * chunk. */
Test(stream, slow_reader) {
  tinker__svc_stream_t *st;
  char got[100];
  rig_open(&rig);
  rig_pending_t *c = park(&st, 10);
  cr_assert_eq(tinker__svc_stream_write(st, "12345678", 8), 0);
  cr_assert_eq(tinker__svc_stream_read(rig_req(c), 0, got, 5), 5);
  cr_assert_eq(tinker__svc_stream_write(st, "abcdefg", 7),
               0); /* ten wait now */
  cr_assert_eq(tinker__svc_stream_write(st, "h", 1), TINKER_EOVERFLOW);
  cr_assert_eq(tinker__svc_stream_write(st, "", 0), TINKER_EOVERFLOW);
  tinker__svc_stream_end(st, 0); /* too late to be whole */
  rig_resumed(c);
  cr_assert_eq(read_all(c, got, sizeof got, 100),
               MHD_CONTENT_READER_END_WITH_ERROR);
  cr_assert_str_eq(got, "678abcdefg");
  complete(c);
  rig_close(&rig);
}

/* The reader leaves: the writer learns it with its next bytes. */
Test(stream, reader_gone) {
  tinker__svc_stream_t *st;
  rig_open(&rig);
  rig_pending_t *c = park(&st, 10);
  cr_assert_eq(tinker__svc_stream_write(st, "1", 1), 0);
  complete(c);
  cr_assert_eq(tinker__svc_stream_write(st, "2", 1), TINKER_ECANCELED);
  tinker__svc_stream_end(st, 0);
  c = park(&st, 10); /* before its headers */
  complete(c);
  tinker__svc_stream_refuse(st, 400, "no");
  rig_close(&rig);
}

/* Before the first bytes an error is a status, after them a cut. */
Test(stream, refusals) {
  static reply_t reply;
  tinker__svc_stream_t *st;
  char got[100];
  rig_open(&rig);
  rig_pending_t *c = park(&st, 10);
  tinker__svc_stream_refuse(st, 429, "later");
  rig_resumed(c);
  cr_assert_eq(tinker__svc_stream_response(rig_req(c)), NULL);
  tinker__svc_stream_gone(rig_req(c)->stream);
  MHD_resume_connection(rig_req(c)->conn);
  rig_wait(&rig, c, &reply);
  cr_assert_eq(reply.status, 429);
  cr_assert_str_eq(reply.text, "{\"detail\":\"later\"}");

  c = park(&st, 10);
  tinker__svc_stream_end(st, TINKER_ENOMEM); /* no word of why */
  rig_resumed(c);
  cr_assert_eq(tinker__svc_stream_response(rig_req(c)), NULL);
  cr_assert_eq(rig_req(c)->status, 500);
  complete(c);

  c = park(&st, 10);
  cr_assert_eq(tinker__svc_stream_write(st, "event", 5), 0);
  tinker__svc_stream_refuse(st, 429, "too late");
  rig_resumed(c);
  cr_assert_eq(rig_req(c)->status, 200);
  cr_assert_eq(read_all(c, got, sizeof got, 3),
               MHD_CONTENT_READER_END_WITH_ERROR);
  cr_assert_str_eq(got, "event");
  complete(c);
  rig_close(&rig);
}

/* A stop lets every connection go, whatever it waits for; none is made after.
 */
Test(stream, stop) {
  tinker__svc_stream_t *st[3], *late;
  rig_pending_t *c[4];
  char got[10];
  rig_open(&rig);
  for (int i = 0; i < 3; i++) c[i] = park(&st[i], 10);
  cr_assert_eq(tinker__svc_stream_write(st[1], "1", 1), 0); /* not read */
  cr_assert_eq(tinker__svc_stream_write(st[2], "1", 1), 0);
  rig_resumed(c[1]);
  rig_resumed(c[2]);
  cr_assert_eq(tinker__svc_stream_read(rig_req(c[2]), 0, got, 9), 1);
  cr_assert_eq(tinker__svc_stream_read(rig_req(c[2]), 1, got, 9), 0);
  pthread_mutex_lock(&rig.s->lock);
  rig.s->stopping = true;
  tinker__svc_streams_release(rig.s);
  pthread_mutex_unlock(&rig.s->lock);
  rig_resumed(c[0]);
  rig_resumed(c[2]);
  cr_assert_eq(rig_req(c[0])->status, 503);
  for (int i = 1; i < 3; i++) {
    cr_assert_eq(tinker__svc_stream_read(rig_req(c[i]), 1, got, 9),
                 MHD_CONTENT_READER_END_WITH_ERROR);
  }
  c[3] = rig_request(&rig, "GET api/v1/healthz", NULL, "");
  cr_assert_eq(tinker__svc_stream_new(&late, rig_req(c[3]), "text/plain", 10),
               TINKER_ECANCELED);
  cr_assert_eq(rig_req(c[3])->stream, NULL);
  static reply_t reply;
  rig_wait(&rig, c[3], &reply);
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(tinker__svc_stream_write(st[i], "2", 1), TINKER_ECANCELED);
    complete(c[i]);
    tinker__svc_stream_end(st[i], 0);
  }
  rig_close(&rig);
}

/* --- Tokens as they are made ---------------------------------------------- */

static int token_line(void *user, const tinker__eng_generated_t *t) {
  char line[20];
  int n = snprintf(line, sizeof line, "%d,", (int)t->token);
  return tinker__svc_stream_write(user, line, (size_t)n);
}

static void tokens_end(void *user, int rc, const char *why) {
  if (rc) {
    tinker__svc_stream_refuse(user, 500, why);
  } else {
    tinker__svc_stream_end(user, 0);
  }
}

static void generate(tinker__svc_stream_t *st, size_t tokens) {
  static const int32_t prompt[] = {1, 2};
  char why[300] = "";
  uint64_t id;
  const tinker__eng_generate_cb_t cb = {token_line, tokens_end, st};
  const tinker__eng_generate_t spec = {
      .model = "m",
      .tokens = prompt,
      .n_tokens = 2,
      .num_samples = 1,
      .max_tokens = tokens,
      .top_p = 1,
  };
  int rc =
      tinker__eng_generate(rig.s->generator, &spec, &cb, &id, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
}

/* The engine writes into the reply; a reader that takes nothing ends its
 * generation, not the engine's work for others. */
Test(stream, of_a_generation) {
  tinker__svc_stream_t *st;
  char got[1000], part[1000];
  rig_open(&rig);
  rig_pending_t *c = park(&st, 1000);
  generate(st, 100);
  rig_resumed(c);
  cr_assert_eq(read_all(c, got, sizeof got, 50),
               MHD_CONTENT_READER_END_OF_STREAM);
  size_t commas = 0;
  for (const char *at = got; *at; at++) commas += *at == ',';
  cr_assert_eq(commas, 100);
  complete(c);

  c = park(&st, 50);
  generate(st, 100);
  rig_resumed(c);
  rig_pending_t *other = park(&st, 1000);
  generate(st, 100); /* after it on the engine thread */
  rig_resumed(other);
  cr_assert_eq(read_all(other, part, sizeof part, 50),
               MHD_CONTENT_READER_END_OF_STREAM);
  cr_assert_str_eq(part, got);
  complete(other);
  cr_assert_eq(read_all(c, part, sizeof part, 50),
               MHD_CONTENT_READER_END_WITH_ERROR);
  cr_assert(!strncmp(part, got, strlen(part)));
  cr_assert_leq(strlen(part), 50);
  complete(c);
  rig_close(&rig);
}
