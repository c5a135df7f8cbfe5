/* curl_handle: easy handles. A new one gets all options that are the same for
 * each request of its lane; the rules that protect users stand here: nothing
 * blocks the loop, no proxy is used, no other protocol. A handle is used again
 * as it is, so that a request sets only what differs (curl_request.c). */
#include "http/curl_internal.h"

/* A connection that takes longer is given up: nothing was sent yet. */
#define CONNECT_TIMEOUT_MS 5000L
/* Below the idle time of servers: an older connection is not used again, it
 * may be closing at this moment. */
#define MAX_AGE_S 20L
#define DOWNLOAD_BUFFER (512 * 1024L)
/* Longest URL: a path of 16 KiB whose bytes are all escaped. */
#define URL_MAX (1 << 16)

typedef struct setting_s {
  CURL *easy;
  CURLcode code; /* of the first failure, which can only be lack of memory */
} setting_t;

static void set_long(setting_t *s, CURLoption option, long value) {
  if (!s->code) s->code = curl_easy_setopt(s->easy, option, value);
}

static void set_pointer(setting_t *s, CURLoption option, const void *value) {
  if (!s->code) s->code = curl_easy_setopt(s->easy, option, value);
}

static void set_callbacks(setting_t *s, tinker__curl_handle_t *h) {
  set_pointer(s, CURLOPT_PRIVATE, h);
  set_pointer(s, CURLOPT_ERRORBUFFER, h->error_text);
  set_pointer(s, CURLOPT_HEADERDATA, h);
  set_pointer(s, CURLOPT_WRITEDATA, h);
  set_pointer(s, CURLOPT_READDATA, h);
  set_pointer(s, CURLOPT_SEEKDATA, h);
  set_pointer(s, CURLOPT_OPENSOCKETDATA, h->lane);
  set_pointer(s, CURLOPT_CLOSESOCKETDATA, h->lane);
  if (s->code) return;
  curl_easy_setopt(s->easy, CURLOPT_HEADERFUNCTION, tinker__curl_on_header);
  curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, tinker__curl_on_body);
  curl_easy_setopt(s->easy, CURLOPT_READFUNCTION, tinker__curl_read_body);
  curl_easy_setopt(s->easy, CURLOPT_OPENSOCKETFUNCTION, tinker__curl_open);
  curl_easy_setopt(s->easy, CURLOPT_CLOSESOCKETFUNCTION, tinker__curl_close);
}

/* A large reply is read in large pieces, as the bytes that the server keeps.
 * Its connection is its own: what pauses on a shared one would have to be kept
 * in memory. */
static void set_download(setting_t *s) {
  set_long(s, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  set_long(s, CURLOPT_BUFFERSIZE, DOWNLOAD_BUFFER);
  set_long(s, CURLOPT_TCP_KEEPALIVE, 1);
}

/* Over TLS requests share connections, where the server can do that. */
static void set_exchange(setting_t *s, const tinker__target_t *target) {
  set_long(s, CURLOPT_HTTP_VERSION,
           target->tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
  set_long(s, CURLOPT_PIPEWAIT, target->tls);
  if (!target->loopback) {
    set_long(s, CURLOPT_TCP_KEEPALIVE, 1);
    set_pointer(s, CURLOPT_ACCEPT_ENCODING, "");
  }
}

static void set_connection(setting_t *s, const tinker__target_t *target) {
  set_long(s, CURLOPT_NOSIGNAL, 1);
  /* Without it a hanging name lookup blocks the loop when it is given up. */
  set_long(s, CURLOPT_QUICK_EXIT, 1);
  set_pointer(s, CURLOPT_PROTOCOLS_STR, "http,https");
  set_long(s, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
  set_long(s, CURLOPT_MAXAGE_CONN, MAX_AGE_S);
  if (target->unix_path) {
    set_pointer(s, CURLOPT_UNIX_SOCKET_PATH, target->unix_path);
  }
  /* No proxy is taken from the environment: it would get the key, and its
   * answers would be taken for the service's. Without the second option curl
   * reads no_proxy for each request, while the program may change it. */
  set_pointer(s, CURLOPT_PROXY, "");
  set_pointer(s, CURLOPT_NOPROXY, "");
}

void tinker__curl_handle_free(tinker__curl_handle_t *h) {
  tinker__mem_t *mem = h->lane->owner->mem;
  if (h->easy) curl_easy_cleanup(h->easy);
  tinker__buf_free(&h->url);
  tinker__buf_free(&h->lines);
  tinker__buf_free(&h->joined);
  tinker__mem_free(mem, h->nodes);
  tinker__mem_free(mem, h);
}

static tinker__curl_handle_t *new_handle(tinker__curl_lane_t *lane) {
  tinker__mem_t *mem = lane->owner->mem;
  tinker__curl_handle_t *h = tinker__mem_zalloc(mem, sizeof(*h));
  if (!h) return NULL;
  h->lane = lane;
  h->method = -1;
  tinker__list_init(&h->link);
  tinker__buf_init(&h->url, mem, URL_MAX);
  tinker__buf_init(&h->lines, mem, SIZE_MAX);
  tinker__buf_init(&h->joined, mem, SIZE_MAX);
  setting_t s = {curl_easy_init(), CURLE_OK};
  h->easy = s.easy;
  if (s.easy) {
    set_callbacks(&s, h);
    set_connection(&s, &lane->owner->target);
    if (lane->id == TINKER__LANE_DOWNLOAD) {
      set_download(&s);
    } else {
      set_exchange(&s, &lane->owner->target);
    }
    if (!s.code) return h;
  }
  tinker__curl_handle_free(h);
  return NULL;
}

tinker__curl_handle_t *tinker__curl_handle_take(tinker__curl_lane_t *lane) {
  tinker__link_t *link = tinker__list_pop_front(&lane->handles);
  if (!link) return new_handle(lane);
  lane->handle_count--;
  return TINKER__CONTAINER(link, tinker__curl_handle_t, link);
}

void tinker__curl_handle_give(tinker__curl_handle_t *h) {
  tinker__curl_lane_t *lane = h->lane;
  h->x = NULL;
  if (lane->handle_count >= TINKER__CURL_IDLE_MAX) {
    tinker__curl_handle_free(h);
    return;
  }
  /* The last one first: what it needs is still in the processor's cache. */
  tinker__list_push_front(&lane->handles, &h->link);
  lane->handle_count++;
}
