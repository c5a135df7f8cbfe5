/* curl: the transport that speaks HTTP through libcurl, on the loop's thread.
 *
 * http:// and unix: are HTTP/1.1, https:// is HTTP/2 where the server offers
 * it; the download lane is HTTP/1.1 everywhere. Redirects go by the table of
 * http/http.h, so the key never leaves for another host. No proxy is used, and
 * the variables that name one (http_proxy, https_proxy, all_proxy) are not
 * read. */
#ifndef TINKER_HTTP_CURL_H
#define TINKER_HTTP_CURL_H

#include "http/http.h"
#include "loop/loop.h"

typedef struct tinker__curl_options_s {
  const char *base_url;   /* http://, https:// or unix:/path; copied */
  const char *api_key;    /* X-API-Key, copied; NULL = none is sent */
  const char *user_agent; /* copied */
} tinker__curl_options_t;

/* Any thread; the result is used on the loop's thread only. The loop outlives
 * it. 0, TINKER_EINVAL (a URL it can't use, a key with characters that no
 * header may hold; `why` says which), TINKER_ENOMEM. */
int tinker__curl_new(tinker__http_t **out, tinker__loop_t *loop,
                     const tinker__curl_options_t *options, char *why,
                     size_t why_len);

#endif
