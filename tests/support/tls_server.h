/* tls_server: HTTP/1.1 over TLS on loopback, with certificates made on the
 * spot. It counts what a client has entrusted to it: bytes of a request are
 * seen only after the client has accepted the certificate.
 *
 * A thread accepts and serves one connection after another. */
#ifndef TESTS_SUPPORT_TLS_SERVER_H
#define TESTS_SUPPORT_TLS_SERVER_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

/* A certificate with its key. */
typedef struct tls_identity_s {
  X509 *cert;
  EVP_PKEY *key;
} tls_identity_t;

/* What a certificate says. */
typedef struct tls_spec_s {
  const char *name;  /* common name */
  const char *alt;   /* "DNS:localhost,IP:127.0.0.1"; NULL = an authority */
  long from_s, to_s; /* validity, in seconds from now */
} tls_spec_t;

/* issuer: NULL = signed by itself. */
tls_identity_t tls_identity(const tls_spec_t *spec,
                            const tls_identity_t *issuer);
void tls_identity_free(tls_identity_t *identity);
/* Writes the certificate as PEM. */
void tls_identity_write(const tls_identity_t *identity, const char *path);

/* Body of the JSON reply to a path, 200. Runs on the server's thread. */
typedef const char *(*tls_handler)(const char *path);

typedef struct tls_server_s tls_server_t;

tls_server_t *tls_server_new(const tls_identity_t *identity,
                             tls_handler handler);
int tls_server_port(const tls_server_t *server);

typedef struct tls_seen_s {
  int connections;
  int handshakes; /* those that were completed */
  size_t bytes;   /* that came through TLS */
  bool plain;     /* a connection did not begin with a TLS record */
  int keys;       /* requests with "X-API-Key: tml-" */
} tls_seen_t;

/* Stops the server, joins its thread; what it has seen. */
tls_seen_t tls_server_free(tls_server_t *server);

#endif
