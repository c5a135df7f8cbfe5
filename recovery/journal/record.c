/* record: names and hashes, see record.h. */
#include "journal/record.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

const char *tinker__rec_type_name(int64_t type) {
  switch (type) {
#define NAME(name, number)                                                     \
  case number: return #name;
    TINKER__REC_TYPES(NAME)
#undef NAME
  default: return NULL;
  }
}

int tinker__rec_chain_begin(const char *lineage, int64_t epoch,
                            unsigned char hash[TINKER__SHA256_LEN]) {
  char text[160];
  int n = snprintf(text, sizeof text, "tinker-recovery journal 1 %s %lld",
                   lineage, (long long)epoch);
  if (n < 0 || (size_t)n >= sizeof text) return TINKER_EOVERFLOW;
  return tinker__sha256(text, (size_t)n, hash);
}

/* The numbers and lengths of a record in one fixed form, so that no field can
 * be read as a part of its neighbour. */
static size_t head(const tinker__rec_record_t *r, char *out, size_t room) {
  int n =
      snprintf(out, room, "%lld %lld %lld %lld %lld %lld %s %zu %zu\n",
               (long long)r->id, (long long)r->type, (long long)r->generation,
               (long long)r->step, (long long)r->boot_ms, (long long)r->wall_ms,
               r->boot, r->fields.len, r->bytes.len);
  return n > 0 && (size_t)n < room ? (size_t)n : 0;
}

int tinker__rec_chain_next(tinker__sha256_t *h, const tinker__rec_record_t *r,
                           unsigned char hash[TINKER__SHA256_LEN]) {
  char text[256];
  unsigned char next[TINKER__SHA256_LEN];
  size_t len = head(r, text, sizeof text);
  if (len == 0) return TINKER_EOVERFLOW;
  int rc = tinker__sha256_add(h, hash, TINKER__SHA256_LEN);
  if (rc == 0) rc = tinker__sha256_add(h, text, len);
  if (rc == 0) rc = tinker__sha256_add(h, r->fields.ptr, r->fields.len);
  if (rc == 0) rc = tinker__sha256_add(h, r->bytes.ptr, r->bytes.len);
  int taken = tinker__sha256_take(h, next);
  if (rc == 0) rc = taken;
  if (rc == 0) memcpy(hash, next, sizeof next);
  return rc;
}
