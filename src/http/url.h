/* url: what the base URL says, and how a request's path is put after it.
 * Pure functions. */
#ifndef TINKER_HTTP_URL_H
#define TINKER_HTTP_URL_H

#include "base/buf.h"

/* Longest path of a Unix socket: sun_path without its NUL. */
#if defined(__APPLE__)
#define TINKER__UNIX_PATH_MAX 103
#else
#define TINKER__UNIX_PATH_MAX 107
#endif
#define TINKER__BASE_URL_MAX 2048

typedef struct tinker__target_s {
  char *base;      /* without a trailing slash; "http://localhost" for unix: */
  char *unix_path; /* NULL unless unix: */
  bool tls;
  bool loopback; /* unix:, localhost, 127.0.0.0/8 or ::1 */
} tinker__target_t;

/* Reads a base URL. An https or http host is demanded; user names, queries and
 * fragments are refused. 0, TINKER_EINVAL (`why` says what is wrong),
 * TINKER_ENOMEM; *out is set only on success, free it with
 * tinker__target_free. */
int tinker__target_parse(tinker__target_t *out, tinker__mem_t *mem,
                         const char *base_url, char *why, size_t why_len);
void tinker__target_free(tinker__target_t *target, tinker__mem_t *mem);

/* Longest id of a session, model or sampler that is taken from a server. */
#define TINKER__SEGMENT_MAX 256

/* May this text of a server become one segment of a path? It has 1 to 256
 * visible ASCII characters, without those that end a segment or change what
 * follows (/ ? # % " and \), and is neither "." nor "..". NULL: no. */
bool tinker__segment_ok(const char *id);

/* What keeps a text of a caller from being one segment of a path: it is empty,
 * longer than TINKER__SEGMENT_MAX bytes, "." or "..", or has a '/' or a control
 * character. NULL = nothing; else a static string that completes "it ...". */
const char *tinker__segment_fault(tinker__str_t text);
/* Appends a segment that has no fault, escaped: what may not stand there as it
 * is becomes %XX, '%' too. */
void tinker__segment_add(tinker__buf_t *out, tinker__str_t text);

/* <base>/<path>: exactly one slash between, the base's own path kept, a
 * NUL at the end. Spaces and bytes over 127 are percent-encoded; ':', '/' and
 * '%' go out as they are. 0, TINKER_EINVAL (control character), or the buffer's
 * error. */
int tinker__target_url(const tinker__target_t *target, const char *path,
                       tinker__buf_t *out);

/* The origin of an absolute URL, "https://host:443": lower case, the port
 * always named, a NUL at the end. 0, TINKER_EINVAL (not http or https, no host,
 * a user name, no URL at all), TINKER_ENOMEM. */
int tinker__url_origin(const char *url, tinker__buf_t *out);

/* What a Location means that came in the reply to `from`: an absolute URL, a
 * NUL at the end. The codes are those of tinker__url_origin. */
int tinker__url_resolve(const char *from, const char *location,
                        tinker__buf_t *out);

/* May a request go on from `from` to `to`, both absolute, with all that it
 * carries? Only within an origin. 0, TINKER_ENOTSUP (`why` names both origins),
 * TINKER_EINVAL, TINKER_ENOMEM. `mem` is for texts in between. */
int tinker__url_may_follow(const char *from, const char *to, tinker__mem_t *mem,
                           char *why, size_t why_len);

#endif
