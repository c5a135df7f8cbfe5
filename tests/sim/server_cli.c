/* The simulated service behind lines of JSON, for the test that compares it
 * with the real one (tests/long/sim_server.py). It reads
 *
 *   {"now":0,"arrived":0,"method":"GET","path":"api/v1/healthz","body":"",
 *    "key":""}
 *
 * and answers each line with {"status":200,"again_ms":0,"body":"..."}, or reads
 * {"fault":"SAVE_SHORT","nth":1,"arg":1} or {"session_ms":1000} and answers
 * {"status":0}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "sim/server.h"

typedef struct {
  int64_t now, arrived, nth, arg, session_ms;
  char *method, *path, *body, *key, *fault;
  size_t len;
} line_t;

static char *copy(tinker__mem_t *mem, tinker__json_t *j, size_t *len) {
  tinker__str_t text = TINKER__STR("");
  tinker__json_string(j, &text);
  if (len) *len = text.len;
  return tinker__mem_strndup(mem, text.ptr, text.len);
}

static int read_line(tinker__mem_t *mem, const char *text, size_t len,
                     line_t *out) {
  tinker__json_t j;
  tinker__str_t key;
  tinker__json_init(&j, mem, text, len);
  *out = (line_t){.nth = 1, .session_ms = -1};
  tinker__json_object(&j);
  while (tinker__json_key(&j, &key)) {
    if (tinker__str_eqs(key, "now")) {
      tinker__json_i64(&j, &out->now);
    } else if (tinker__str_eqs(key, "arrived")) {
      tinker__json_i64(&j, &out->arrived);
    } else if (tinker__str_eqs(key, "nth")) {
      tinker__json_i64(&j, &out->nth);
    } else if (tinker__str_eqs(key, "arg")) {
      tinker__json_i64(&j, &out->arg);
    } else if (tinker__str_eqs(key, "session_ms")) {
      tinker__json_i64(&j, &out->session_ms);
    } else if (tinker__str_eqs(key, "method")) {
      out->method = copy(mem, &j, NULL);
    } else if (tinker__str_eqs(key, "path")) {
      out->path = copy(mem, &j, NULL);
    } else if (tinker__str_eqs(key, "body")) {
      out->body = copy(mem, &j, &out->len);
    } else if (tinker__str_eqs(key, "fault")) {
      out->fault = copy(mem, &j, NULL);
    } else {
      out->key = copy(mem, &j, NULL);
    }
  }
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  return rc;
}

static void set_fault(sim_server_t *s, const line_t *line) {
  sim_fault_t fault = {SIM_BUG_NONE, line->nth, 1, -1, line->arg};
  while (fault.bug < SIM_BUGS &&
         strcmp(sim_bug_name(fault.bug), line->fault) != 0) {
    fault.bug++;
  }
  sim_server_add_fault(s, &fault);
}

static void answer(tinker__buf_t *out, const sim_reply_t *reply) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "status");
  tinker__jsonw_i64(&w, reply->status);
  tinker__jsonw_key(&w, "again_ms");
  tinker__jsonw_i64(&w, reply->again_ms);
  tinker__jsonw_key(&w, "body");
  tinker__jsonw_str(
      &w, (tinker__str_t){reply->body ? reply->body : "", reply->len});
  tinker__jsonw_end_object(&w);
  tinker__buf_addc(out, '\n');
}

static void serve(sim_server_t *s, const line_t *line, tinker__buf_t *out) {
  sim_reply_t reply = {0};
  if (line->fault) {
    set_fault(s, line);
  } else if (line->session_ms >= 0) {
    sim_server_set_session_ms(s, line->session_ms);
  } else {
    sim_request_t request = {.method = line->method,
                             .path = line->path,
                             .content_type = "application/json",
                             .idempotency_key =
                                 line->key && *line->key ? line->key : NULL,
                             .body = line->body,
                             .len = line->len,
                             .arrived_ms = line->arrived};
    sim_server_call(s, line->now, &request, &reply);
  }
  answer(out, &reply);
}

int main(void) {
  char *text = NULL;
  size_t cap = 0;
  ssize_t len;
  tinker__mem_t mem;
  tinker__buf_t out;
  line_t line;
  sim_server_t *s = sim_server_new(1);
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, (size_t)1 << 26);
  while ((len = getline(&text, &cap, stdin)) > 0) {
    if (read_line(&mem, text, (size_t)len, &line) != 0) return 2;
    tinker__buf_clear(&out);
    serve(s, &line, &out);
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    char *owned[] = {line.method, line.path, line.body, line.key, line.fault};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
      tinker__mem_free(&mem, owned[i]);
    }
  }
  tinker__buf_free(&out);
  sim_server_free(s);
  free(text);
  return 0;
}
