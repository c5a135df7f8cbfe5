/* Which words of a refusal mean something, and what is said about a failure. */
#include "http/trouble.h"

#include <criterion/criterion.h>
#include <string.h>

Test(trouble, words) {
  static const struct {
    int status;
    const char *text;
    tinker__said_t said;
  } rows[] = {
      {404, "model not found: s:train:0", TINKER__SAID_NO_MODEL},
      {404, "Model not found", TINKER__SAID_NO_MODEL},
      {404, "Model s:train:0 not found", TINKER__SAID_NO_MODEL},
      {404, "base_model 'x' is not served here", TINKER__SAID_MISSING},
      {404, "path: checkpoint not found: tinker://r/weights/a",
       TINKER__SAID_MISSING},
      {404, "training run not found: r", TINKER__SAID_MISSING},
      {404, "sampling session not found: s:sample:0", TINKER__SAID_MISSING},
      {404, "session not found: s", TINKER__SAID_NO_SESSION},
      {404, "Session not found", TINKER__SAID_NO_SESSION},
      {404, "Not Found", TINKER__SAID_NO_ROUTE},
      {404, "no such endpoint: /api/v1/x", TINKER__SAID_NO_ROUTE},
      {404, "", TINKER__SAID_MISSING},
      {403, "Invalid session_id", TINKER__SAID_NO_SESSION},
      {403, "You do not have access to this model", TINKER__SAID_NOTHING},
      {409, "checkpoint a already exists", TINKER__SAID_EXISTS},
      {409, "a session exists for this X-Idempotency-Key with other metadata",
       TINKER__SAID_EXISTS},
      {409, "s:train:0:4 was used before with another content",
       TINKER__SAID_TAKEN},
      {409, "seq_id 4 was used before: the next one is 9", TINKER__SAID_TAKEN},
      {409, "s:train:0:4 was used by a call that was rejected",
       TINKER__SAID_SPENT},
      {409, "busy", TINKER__SAID_NOTHING},
      {422, "model not found", TINKER__SAID_NOTHING},
      {0, "the model can't go on: the engine crashed", TINKER__SAID_STUCK},
      {0,
       "ResourceAlreadyExists: checkpoint tinker://r/weights/a already exists",
       TINKER__SAID_EXISTS},
      {0, "path: checkpoint not found: tinker://r/weights/a",
       TINKER__SAID_MISSING},
      {0, "model not found: r", TINKER__SAID_NO_MODEL},
      {0, "NonFiniteInTensor", TINKER__SAID_NOTHING},
      {0, "", TINKER__SAID_NOTHING}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    cr_expect_eq(tinker__trouble_said(rows[i].status, rows[i].text),
                 rows[i].said, "%d %s", rows[i].status, rows[i].text);
  }
}

Test(trouble, expected_number) {
  static const struct {
    int status;
    const char *text;
    int64_t number;
  } rows[] = {{409, "expected 1, got 7", 1},
              {409, "sequence: expected seq_id 12, got 13", 12},
              {409, "expected 0, got 7", 0},
              {409, "expected one, got 7", 0},
              {409, "expected 1", 0},
              {409, "expected -1, got 7", 0},
              {409, "busy", 0},
              {400, "expected 1, got 7", 0}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    cr_expect_eq(tinker__trouble_expected(rows[i].status, rows[i].text),
                 rows[i].number, "%d %s", rows[i].status, rows[i].text);
  }
}

static tinker__mem_t mem;

static void reply_of(tinker__http_reply_t *r, int status, const char *body) {
  tinker__mem_init(&mem, NULL, 0);
  *r = (tinker__http_reply_t){.sent = true,
                              .status = status,
                              .content_type = "application/json",
                              .retry_after_ms = -1,
                              .should_retry = -1,
                              .content_length = -1};
  tinker__buf_init(&r->body, &mem, 1 << 16);
  tinker__buf_adds(&r->body, body);
}

Test(trouble, of_a_reply) {
  tinker__http_reply_t r;
  tinker__trouble_t t;
  char text[200];
  reply_of(&r, 404, "{\"detail\":\"model not found: m\"}");
  tinker__trouble_read(&t, &r);
  cr_assert(!t.error && t.sent && t.status == 404 && !t.foreign);
  cr_assert_eq(t.said, TINKER__SAID_NO_MODEL);
  cr_assert(t.retry_after_ms == 0 && t.should_retry == 0);
  cr_assert_str_eq(tinker__trouble_text(&r, text, sizeof text),
                   "the server answered 404: model not found: m");
  r.retry_after_ms = 1500;
  r.should_retry = 0;
  strcpy(r.request_id, "req-7");
  tinker__trouble_read(&t, &r);
  cr_assert(t.retry_after_ms == 1500 && t.should_retry == -1);
  cr_assert_str_eq(tinker__trouble_text(&r, text, sizeof text),
                   "the server answered 404 (log id req-7): model not found: "
                   "m");
  tinker__buf_free(&r.body);
}

/* The words of a page are nobody's. */
Test(trouble, of_a_page) {
  tinker__http_reply_t r;
  tinker__trouble_t t;
  char text[200];
  reply_of(&r, 404, "<html>model not found</html>");
  r.should_retry = 1;
  tinker__trouble_read(&t, &r);
  cr_assert(t.foreign && t.said == TINKER__SAID_NOTHING);
  cr_assert_eq(t.should_retry, 1);
  tinker__trouble_text(&r, text, sizeof text);
  cr_assert(strstr(text, "something between here and the server answered 404"));
  tinker__buf_free(&r.body);
}

Test(trouble, of_a_failure) {
  tinker__http_reply_t r;
  tinker__trouble_t t;
  char text[200];
  reply_of(&r, 0, "");
  r.error = TINKER_ECONNECT;
  r.sent = false;
  r.should_retry = 0; /* of headers that came before it failed */
  tinker__trouble_read(&t, &r);
  cr_assert(t.error == TINKER_ECONNECT && !t.sent && t.should_retry == 0);
  cr_assert_str_eq(tinker__trouble_text(&r, text, sizeof text),
                   tinker_code_text(TINKER_ECONNECT));
  strcpy(r.detail, "Connection refused");
  cr_assert_str_eq(tinker__trouble_text(&r, text, sizeof text),
                   "could not connect: nothing was sent: Connection refused");
  r.error = TINKER_ETIMEDOUT; /* of the attempt */
  cr_assert_str_eq(tinker__trouble_text(&r, text, sizeof text),
                   "no answer in time: Connection refused");
  tinker__buf_free(&r.body);
}
