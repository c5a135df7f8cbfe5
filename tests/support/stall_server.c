/* stall_server: see the header. */
#include "support/stall_server.h"

#include <stdio.h>
#include <string.h>

static const struct {
  const char *path, *body;
} starts[] = {
    {"/client/config", "{}"},
    {"/client/dynamic_config", "{}"},
    {"/create_session", "{\"type\":\"create_session\",\"session_id\":\"s\"}"},
    {"/session_heartbeat", "{}"},
    {"/sessions/", "{}"},
    {"/create_sampling_session", "{\"sampling_session_id\":\"s:sample:0\"}"},
    {"/create_model", "{\"request_id\":\"made\"}"},
    {"/get_info", "{\"type\":\"get_info\",\"model_id\":\"s:train:0\","
                  "\"model_data\":{\"model_name\":\"m\"}}"},
    {"/save_weights", "{\"request_id\":\"saved\"}"},
};

/* On the connection's own thread, until its next request. */
static tiny_reply_t well(const char *body) {
  static _Thread_local char text[512];
  snprintf(text, sizeof text,
           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
           "Content-Length: %zu\r\n\r\n%s",
           strlen(body), body);
  return (tiny_reply_t){.bytes = text};
}

static tiny_reply_t stall(stall_t how) {
  static const char head[] =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
      "Content-Length: 1000\r\n\r\n";
  switch (how) {
  case STALL_HEADERS: return (tiny_reply_t){.bytes = head, .hang = true};
  case STALL_TRICKLE: return (tiny_reply_t){.bytes = head, .byte_ms = 1000};
  case STALL_RESET: return (tiny_reply_t){.reset = true};
  default: return (tiny_reply_t){.hang = true};
  }
}

tiny_reply_t stall_answer(void *user, const tiny_request_t *r) {
  if (strstr(r->path, "/retrieve_future") && strstr(r->body, "\"made\"")) {
    return well("{\"model_id\":\"s:train:0\"}");
  }
  for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
    if (strstr(r->path, starts[i].path)) return well(starts[i].body);
  }
  return stall(*(const stall_t *)user);
}

const char *stall_name(stall_t how) {
  static const char *const names[] = {"never", "headers", "trickle", "reset"};
  return names[how];
}
