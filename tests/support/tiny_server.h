/* tiny_server: an HTTP/1.1 server of raw sockets on loopback or a Unix socket
 * that misbehaves as told. A thread accepts, a thread serves each connection:
 * it reads one whole request, asks the handler what to do, does it. */
#ifndef TESTS_SUPPORT_TINY_SERVER_H
#define TESTS_SUPPORT_TINY_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tiny_request_s {
  char method[8];
  char path[256];
  const char *head; /* status line and headers, NUL-terminated */
  const char *body;
  size_t body_len;
  int connection; /* from 0 */
  int nth;        /* request of this connection, from 0 */
} tiny_request_t;

typedef struct tiny_reply_s {
  const char *bytes; /* sent as they are; NULL = nothing */
  size_t len;        /* 0 = strlen(bytes) */
  bool hang;         /* then wait until the peer goes or the server stops */
  bool close;        /* then close, without having said so */
  bool reset;        /* then close by a TCP reset */
  int byte_ms;       /* a pause after each byte; 0 = all at once */
} tiny_reply_t;

/* Runs on the connection's thread; several at once. */
typedef tiny_reply_t (*tiny_handler)(void *user, const tiny_request_t *r);

typedef struct tiny_server_s tiny_server_t;

/* unix_path: NULL = 127.0.0.1 and a free port. backlog: of the listen queue.
 * accepting: false = only listen, until tiny_server_accept. */
tiny_server_t *tiny_server_new(const char *unix_path, int backlog,
                               bool accepting, tiny_handler handler,
                               void *user);
void tiny_server_accept(tiny_server_t *server);
/* "http://127.0.0.1:<port>" or "unix:<path>"; valid until it is freed. */
const char *tiny_server_url(const tiny_server_t *server);
/* The same by a host name that is this machine to the system ("127.1"), but to
 * us a name as any other: it stands for a far host. */
void tiny_server_far_url(const tiny_server_t *server, char *out,
                         size_t out_len);
int tiny_server_connections(tiny_server_t *server); /* so far */
void tiny_server_free(tiny_server_t *server);

/* Is `line` one of the headers of head? Whole line, exact case. */
bool tiny_has_header(const char *head, const char *line);

/* clang-format off */
#define TINY_OK(body_len, body)                                                \
  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "      \
  body_len "\r\n\r\n" body
/* clang-format on */

#endif
