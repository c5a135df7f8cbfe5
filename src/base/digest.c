/* digest: see digest.h. */
#include "base/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <tinker/error.h>

#include "base/world.h"

struct tinker__sha256_s {
  tinker__mem_t *mem;
  EVP_MD_CTX *ctx;
};

int tinker__sha256_new(tinker__sha256_t **out, tinker__mem_t *mem) {
  tinker__sha256_t *h = tinker__mem_zalloc(mem, sizeof(*h));
  if (!h) return TINKER_ENOMEM;
  h->mem = mem;
  h->ctx = EVP_MD_CTX_new();
  if (!h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) {
    EVP_MD_CTX_free(h->ctx);
    tinker__mem_free(mem, h);
    return TINKER_ENOMEM;
  }
  *out = h;
  return 0;
}

int tinker__sha256_add(tinker__sha256_t *h, const void *data, size_t len) {
  return EVP_DigestUpdate(h->ctx, data, len) == 1 ? 0 : TINKER_ENOMEM;
}

int tinker__sha256_take(tinker__sha256_t *h,
                        unsigned char out[TINKER__SHA256_LEN]) {
  return EVP_DigestFinal_ex(h->ctx, out, NULL) == 1 &&
                 EVP_DigestInit_ex(h->ctx, NULL, NULL) == 1
             ? 0
             : TINKER_ENOMEM;
}

void tinker__sha256_free(tinker__sha256_t *h) {
  if (!h) return;
  EVP_MD_CTX_free(h->ctx);
  tinker__mem_free(h->mem, h);
}

int tinker__sha256_end(tinker__sha256_t *h,
                       unsigned char out[TINKER__SHA256_LEN]) {
  int rc = EVP_DigestFinal_ex(h->ctx, out, NULL) == 1 ? 0 : TINKER_ENOMEM;
  tinker__sha256_free(h);
  return rc;
}

int tinker__sha256(const void *data, size_t len,
                   unsigned char out[TINKER__SHA256_LEN]) {
  return EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1
             ? 0
             : TINKER_ENOMEM;
}

void tinker__hex(const void *data, size_t len, char *out) {
  static const char hex[] = "0123456789abcdef";
  const unsigned char *p = data;
  for (size_t i = 0; i < len; i++) {
    *out++ = hex[p[i] >> 4];
    *out++ = hex[p[i] & 15];
  }
  *out = 0;
}

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int tinker__base64_encode(tinker__buf_t *out, const void *data, size_t len) {
  const unsigned char *p = data;
  if (len > SIZE_MAX / 4 * 3 - 4) {
    return tinker__buf_fail(out, TINKER_EOVERFLOW);
  }
  int rc = tinker__buf_reserve(out, (len + 2) / 3 * 4);
  if (rc || !len) return rc;
  char *q = out->data + out->len;
  for (size_t i = 0; i < len; i += 3) {
    size_t n = len - i < 3 ? len - i : 3;
    uint32_t v = (uint32_t)p[i] << 16;
    v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
    v |= n > 2 ? p[i + 2] : 0;
    *q++ = alphabet[v >> 18];
    *q++ = alphabet[v >> 12 & 63];
    *q++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
    *q++ = n > 2 ? alphabet[v & 63] : '=';
  }
  out->len = (size_t)(q - out->data);
  return 0;
}

static int value_of(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to 1..3 bytes; 0 = malformed. pad: how many '=' are due. */
static size_t quad(const char *p, size_t pad, unsigned char out[3]) {
  uint32_t v = 0;
  for (size_t i = 0; i < 4; i++) {
    int x = i >= 4 - pad ? 0 : value_of(p[i]);
    if (x < 0) return 0;
    v = v << 6 | (uint32_t)x;
  }
  if ((pad == 1 && v & 0xff) || (pad == 2 && v & 0xffff)) {
    return 0; /* stray bits after the last byte */
  }
  out[0] = (unsigned char)(v >> 16);
  out[1] = (unsigned char)(v >> 8);
  out[2] = (unsigned char)v;
  return 3 - pad;
}

int tinker__base64_decode(tinker__buf_t *out, tinker__str_t text) {
  if (text.len % 4) return TINKER_EINVAL;
  int rc = tinker__buf_reserve(out, text.len / 4 * 3);
  size_t was = out->len;
  for (size_t i = 0; !rc && i < text.len; i += 4) {
    unsigned char bytes[3];
    const char *p = text.ptr + i;
    bool last = i + 4 == text.len;
    size_t pad = last && p[3] == '=' ? (p[2] == '=' ? 2 : 1) : 0;
    size_t n = quad(p, pad, bytes);
    if (!n) {
      out->len = was;
      return TINKER_EINVAL;
    }
    rc = tinker__buf_add(out, bytes, n);
  }
  return rc;
}

bool tinker__secret_eq(tinker__str_t a, tinker__str_t b) {
  return a.len == b.len && CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0;
}

void tinker__uuid4_of(const unsigned char random[TINKER__UUID_BYTES],
                      char out[37]) {
  unsigned char b[TINKER__UUID_BYTES];
  memcpy(b, random, sizeof(b));
  b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
  b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
  /* The dashes take the places of the NULs. */
  tinker__hex(b, 4, out);
  tinker__hex(b + 4, 2, out + 9);
  tinker__hex(b + 6, 2, out + 14);
  tinker__hex(b + 8, 2, out + 19);
  tinker__hex(b + 10, 6, out + 24);
  out[8] = out[13] = out[18] = out[23] = '-';
}

int tinker__uuid4(const struct tinker__world_s *w, char out[37]) {
  unsigned char b[TINKER__UUID_BYTES];
  int rc = w->random(w->user, b, sizeof(b));
  if (!rc) tinker__uuid4_of(b, out);
  return rc;
}
