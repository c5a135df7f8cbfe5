/* tls_server: see the header. Whatever can't fail in a sound test machine ends
 * the process when it does. The pipe `stop` is how the thread learns of its
 * end; all else belongs to it while it runs. */
#include "support/tls_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tls_server_s {
  SSL_CTX *context;
  tls_handler handler;
  int listener, port;
  int stop[2];
  pthread_t thread;
  tls_seen_t seen;
};

static void need(bool ok, const char *what) {
  if (ok) return;
  fprintf(stderr, "tls_server: %s\n", what);
  abort();
}

/* --- certificates --- */

static void extend(X509 *cert, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
  X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  need(e && X509_add_ext(cert, e, -1) == 1, value);
  X509_EXTENSION_free(e);
}

static void fill(X509 *cert, const tls_spec_t *spec) {
  static long serial = 1;
  X509_NAME *name = X509_get_subject_name(cert);
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
  X509_gmtime_adj(X509_getm_notBefore(cert), spec->from_s);
  X509_gmtime_adj(X509_getm_notAfter(cert), spec->to_s);
  need(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                  (const unsigned char *)spec->name, -1, -1,
                                  0) == 1,
       "a name");
}

tls_identity_t tls_identity(const tls_spec_t *spec,
                            const tls_identity_t *issuer) {
  tls_identity_t made = {X509_new(), EVP_EC_gen("P-256")};
  need(made.cert && made.key, "a key");
  const tls_identity_t *by = issuer ? issuer : &made;
  fill(made.cert, spec);
  X509_set_issuer_name(made.cert, X509_get_subject_name(by->cert));
  X509_set_pubkey(made.cert, made.key);
  extend(made.cert, by->cert, NID_basic_constraints,
         spec->alt ? "critical,CA:FALSE" : "critical,CA:TRUE");
  if (spec->alt) {
    extend(made.cert, by->cert, NID_subject_alt_name, spec->alt);
  } else {
    extend(made.cert, by->cert, NID_key_usage, "critical,keyCertSign");
  }
  need(X509_sign(made.cert, by->key, EVP_sha256()) > 0, "a signature");
  return made;
}

void tls_identity_free(tls_identity_t *identity) {
  X509_free(identity->cert);
  EVP_PKEY_free(identity->key);
  *identity = (tls_identity_t){NULL, NULL};
}

void tls_identity_write(const tls_identity_t *identity, const char *path) {
  FILE *file = fopen(path, "w");
  need(file && PEM_write_X509(file, identity->cert) == 1 && fclose(file) == 0,
       path);
}

/* --- connections --- */

/* True when fd has something to say before the server is stopped. */
static bool wait_readable(const tls_server_t *s, int fd) {
  struct pollfd p[2] = {{fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
  while (poll(p, 2, -1) < 0) {
  }
  return !p[1].revents;
}

static size_t body_length(const char *head) {
  const char *at = strstr(head, "Content-Length: ");
  return at ? (size_t)strtoul(at + 16, NULL, 10) : 0;
}

/* Reads until `text` holds a whole request; false when the peer is gone. */
static bool read_request(tls_server_t *s, SSL *ssl, int fd, char *text,
                         size_t size) {
  size_t len = 0;
  for (;;) {
    text[len] = '\0';
    char *end = strstr(text, "\r\n\r\n");
    if (end && len >= (size_t)(end + 4 - text) + body_length(text)) return true;
    if (!SSL_pending(ssl) && !wait_readable(s, fd)) return false;
    int n = SSL_read(ssl, text + len, (int)(size - 1 - len));
    if (n <= 0) return false;
    s->seen.bytes += (size_t)n;
    len += (size_t)n;
  }
}

static void answer(tls_server_t *s, SSL *ssl, const char *request) {
  char path[256] = "", reply[4096];
  s->seen.keys += strstr(request, "X-API-Key: tml-") != NULL;
  sscanf(request, "%*s %255s", path);
  const char *body = s->handler(path);
  int n = snprintf(reply, sizeof(reply),
                   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   strlen(body), body);
  SSL_write(ssl, reply, n);
}

static void serve(tls_server_t *s, int fd) {
  char text[16384];
  unsigned char first = 0;
  s->seen.connections++;
  if (!wait_readable(s, fd)) return;
  if (recv(fd, &first, 1, MSG_PEEK) == 1 && first != 0x16) {
    s->seen.plain = true;
    return;
  }
  SSL *ssl = SSL_new(s->context);
  need(ssl && SSL_set_fd(ssl, fd) == 1, "a connection");
  if (SSL_accept(ssl) == 1) {
    s->seen.handshakes++;
    while (read_request(s, ssl, fd, text, sizeof(text))) answer(s, ssl, text);
  }
  SSL_free(ssl);
}

static void *accept_all(void *user) {
  tls_server_t *s = user;
  while (wait_readable(s, s->listener)) {
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0) continue;
    serve(s, fd);
    close(fd);
  }
  return NULL;
}

/* --- life --- */

static void listen_on_loopback(tls_server_t *s) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  s->listener = socket(AF_INET, SOCK_STREAM, 0);
  need(s->listener >= 0 && bind(s->listener, (struct sockaddr *)&a, len) == 0 &&
           listen(s->listener, 64) == 0 &&
           getsockname(s->listener, (struct sockaddr *)&a, &len) == 0,
       "a port");
  s->port = ntohs(a.sin_port);
}

tls_server_t *tls_server_new(const tls_identity_t *identity,
                             tls_handler handler) {
  tls_server_t *s = calloc(1, sizeof(*s));
  need(s && pipe(s->stop) == 0, "memory");
  signal(SIGPIPE, SIG_IGN);
  s->handler = handler;
  s->context = SSL_CTX_new(TLS_server_method());
  need(s->context && SSL_CTX_use_certificate(s->context, identity->cert) == 1 &&
           SSL_CTX_use_PrivateKey(s->context, identity->key) == 1,
       "a context");
  listen_on_loopback(s);
  need(pthread_create(&s->thread, NULL, accept_all, s) == 0, "a thread");
  return s;
}

int tls_server_port(const tls_server_t *server) {
  return server->port;
}

tls_seen_t tls_server_free(tls_server_t *server) {
  close(server->stop[1]);
  pthread_join(server->thread, NULL);
  tls_seen_t seen = server->seen;
  close(server->stop[0]);
  close(server->listener);
  SSL_CTX_free(server->context);
  free(server);
  return seen;
}
