/* The digest of a training example, see <tinker/data.h>: SHA-256 of a fixed
 * serialisation. Any thread; the example is only read. A change of a byte here
 * is a new version, since journals keep digests. */
#include "api/data.h"

#include <string.h>

#include "base/digest.h"
#include "base/str.h"

static const char version[] = "tkdatum1";

/* The numbers of the parts. */
enum { CHUNK_TEXT = 0, DTYPE_F32 = 1, DTYPE_I64 = 2 };

typedef struct sum_s {
  tinker__sha256_t *hash;
  int rc;
} sum_t;

static void add(sum_t *s, const void *data, size_t len) {
  if (!s->rc) s->rc = tinker__sha256_add(s->hash, data, len);
}

/* 8 bytes, little-endian. */
static void add_number(sum_t *s, uint64_t n) {
  unsigned char bytes[8];
  for (size_t i = 0; i < sizeof bytes; i++) {
    bytes[i] = (unsigned char)(n >> (8 * i));
  }
  add(s, bytes, sizeof bytes);
}

/* Tokens and values are hashed as they lie in memory: the library builds on
 * little-endian machines only (wire/proto.c). */
static void add_input(sum_t *s, const tinker_input_t *input) {
  size_t at = 0;
  add_number(s, input->chunks);
  for (size_t i = 0; i < input->chunks; i++) {
    size_t n = input->ends[i] - at;
    add_number(s, CHUNK_TEXT);
    add_number(s, n);
    add(s, input->tokens + at, n * sizeof *input->tokens);
    at = input->ends[i];
  }
}

static void add_tensor(sum_t *s, const tinker__input_tensor_t *t) {
  tinker__str_t name = tinker__str(t->name);
  add_number(s, name.len);
  add(s, name.ptr, name.len);
  add_number(s, t->is_float ? DTYPE_F32 : DTYPE_I64);
  add_number(s, t->cols ? 2 : 1);
  add_number(s, t->rows);
  if (t->cols) add_number(s, t->cols);
  add(s, t->data, t->count * (t->is_float ? sizeof(float) : sizeof(int64_t)));
}

int tinker_datum_sha256(const tinker_datum_t *datum, unsigned char out[32]) {
  tinker__mem_t mem;
  unsigned char digest[TINKER__SHA256_LEN];
  sum_t s;
  if (!datum || !out) return TINKER_EINVAL;
  tinker__mem_init(&mem, &datum->mem.alloc, 0);
  s.rc = tinker__sha256_new(&s.hash, &mem);
  if (s.rc) return s.rc;
  add(&s, version, sizeof version - 1);
  add_input(&s, datum->input);
  add_number(&s, datum->tensor_count);
  for (size_t i = 0; i < datum->tensor_count; i++) {
    add_tensor(&s, &datum->tensors[i]);
  }
  int rc = tinker__sha256_end(s.hash, digest);
  if (!s.rc) s.rc = rc;
  if (!s.rc) memcpy(out, digest, sizeof digest);
  return s.rc;
}
