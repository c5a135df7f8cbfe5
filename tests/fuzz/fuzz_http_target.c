/* fuzz_http_target: "METHOD TARGET" as a client sends it: cut at '?', percent
 * escapes taken out, routed. What is captured lies inside the path, and the
 * route with its captures put in is the path again. */
#include <stdlib.h>
#include <string.h>

#include "base/json_read.h"
#include "service/http/listener.h"
#include "service/tinker/handlers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good) {
  if (!good) __builtin_trap();
}

/* A text none of whose characters can be left as it is comes out whole. */
static void check_escaped(const char *text, size_t len) {
  char *all = malloc(3 * len + 1);
  must(all != NULL);
  for (size_t i = 0; i < len; i++) {
    all[3 * i] = '%';
    tinker__hex(text + i, 1, all + 3 * i + 1);
  }
  all[3 * len] = 0;
  must(tinker__svc_http_unescape(all) == len && !memcmp(all, text, len + 1));
  free(all);
}

static void check_unescape(char *target) {
  size_t before = strlen(target);
  bool plain = !strchr(target, '%');
  size_t len = tinker__svc_http_unescape(target);
  must(len <= before && strlen(target) == len);
  must(!plain || len == before);
  check_escaped(target, len);
}

/* A slash at the end is not part of the path. */
static void check_path(const tinker__svc_req_t *r,
                       const tinker__svc_route_t *route) {
  char *made = calloc(1, strlen(route->path) + strlen(r->path) + 2);
  size_t n = 0, len = 0;
  must(made != NULL);
  for (const char *p = route->path; *p; p++) {
    if (*p == '*') {
      memcpy(made + len, r->capture[n].ptr, r->capture[n].len);
      len += r->capture[n++].len;
    } else {
      made[len++] = *p;
    }
  }
  if (strcmp(made, r->path) != 0) {
    made[len] = '/';
    must(!strcmp(made, r->path));
  }
  free(made);
}

static void check_captures(const tinker__svc_req_t *r) {
  const char *end = r->path + strlen(r->path), *at = r->path;
  for (size_t i = 0; i < TINKER__MAX_CAPTURES && r->capture[i].len; i++) {
    tinker__str_t c = r->capture[i];
    must(c.ptr >= at && c.ptr + c.len <= end);
    must(!memchr(c.ptr, '/', c.len) && !memchr(c.ptr, 0, c.len));
    at = c.ptr + c.len;
  }
}

static const tinker__svc_site_t site = {.tables = {tinker__svc_tinker_routes}};

static void check_refusal(tinker__mem_t *mem, const tinker__svc_req_t *r) {
  tinker__json_t j;
  must(r->status == 404 || r->status == 405);
  must(!tinker__buf_error(&r->reply));
  tinker__json_init(&j, mem, r->reply.data, r->reply.len);
  tinker__json_skip(&j);
  must(tinker__json_end(&j) == 0);
  tinker__json_done(&j);
}

static void route(const char *method, char *target) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 1u << 26);
  tinker__svc_req_t r = {.path = *target == '/' ? target + 1 : target};
  tinker__buf_init(&r.reply, &mem, 1u << 20);
  const tinker__svc_route_t *t = tinker__svc_http_route(&site, &r, method);
  if (t) {
    must(!strcmp(t->method, method) && !r.status);
    check_captures(&r);
    check_path(&r, t);
  } else {
    check_refusal(&mem, &r);
  }
  tinker__buf_free(&r.reply);
  must(mem.live_blocks == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *method = calloc(1, size + 2); /* ended twice: a target is behind it */
  must(method != NULL);
  if (size) memcpy(method, data, size);
  char *target = method + strcspn(method, " ");
  if (*target) *target++ = 0;
  char *query = strchr(target, '?');
  if (query) {
    *query++ = 0;
    check_unescape(query);
  }
  check_unescape(target);
  route(method, target);
  free(method);
  return 0;
}
