/* Header lines and body pieces of a reply, as a server might send them: each
 * line of the input is a header, what follows an empty line is the body. */
#include <stdlib.h>
#include <string.h>

#include "base/show.h"
#include "http/curl_internal.h"
#include "http/trouble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const tinker__http_reply_t *r) {
  if (r->retry_after_ms < -1 || r->retry_after_ms > 60000) abort();
  if (r->should_retry < -1 || r->should_retry > 1) abort();
  if (!memchr(r->content_type, '\0', sizeof(r->content_type))) abort();
  if (!memchr(r->request_id, '\0', sizeof(r->request_id))) abort();
  if (r->body.len > r->body.max) abort();
}

static void check_show(tinker__buf_t *body) {
  char out[24];
  const char *text = tinker__buf_cstr(body);
  if (!text) return;
  tinker__show(out, sizeof(out), tinker__str(text));
  size_t n = strlen(out);
  if (n >= sizeof(out) || !tinker__utf8_valid(out, n)) abort();
  for (size_t i = 0; i < n; i++) {
    if ((unsigned char)out[i] < 0x20 || out[i] == 0x7f) abort();
  }
}

/* The words are looked at only if they are the service's. */
static void check_trouble(tinker__http_reply_t *r) {
  static const int statuses[] = {200, 403, 404, 409, 503};
  char text[64];
  for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
    tinker__trouble_t t;
    r->status = statuses[i];
    tinker__trouble_read(&t, r);
    if (t.said && (t.foreign || tinker__http_refusal(r) != r->status)) abort();
    if (t.retry_after_ms < 0 || t.retry_after_ms > 60000) abort();
    if (strlen(tinker__trouble_text(r, text, sizeof(text))) >= sizeof(text)) {
      abort();
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker__mem_t mem;
  tinker__transfer_t x;
  tinker__curl_handle_t handle;
  tinker__http_request_t request;
  const char *at = (const char *)data, *end = at + size;
  memset(&x, 0, sizeof(x));
  memset(&handle, 0, sizeof(handle));
  memset(&request, 0, sizeof(request));
  handle.x = &x;
  x.request = &request;
  tinker__mem_init(&mem, NULL, 0);
  x.reply = (tinker__http_reply_t){
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
  tinker__buf_init(&x.reply.body, &mem, 64);
  while (at < end && *at != '\n') {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t n = stop ? (size_t)(stop - at) + 1 : (size_t)(end - at);
    char *line = malloc(n); /* its exact size: a byte too far is seen */
    if (!line) abort();
    memcpy(line, at, n);
    if (tinker__curl_on_header(line, 1, n, &handle) != n) abort();
    free(line);
    at += n;
  }
  if (at < end) {
    tinker__curl_on_body((char *)(uintptr_t)at, 1, (size_t)(end - at), &handle);
  }
  check(&x.reply);
  x.reply.status = 403;
  if (tinker__http_foreign(&x.reply) != !tinker__http_refusal(&x.reply)) {
    abort();
  }
  check_trouble(&x.reply);
  check_show(&x.reply.body);
  tinker__buf_free(&x.reply.body);
  return 0;
}
