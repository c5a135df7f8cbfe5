/* facts: see facts.h. One table has the names of all fields. */
#include "journal/facts.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "base/json_table.h"
#include "base/json_write.h"

#define MAX_REQUESTS 4096

typedef struct {
  const char *name;
  size_t offset;
} field_t;

#define FIELD(name)                                                            \
  { #name, offsetof(tinker__rec_facts_t, name) }

static const field_t numbers[] = {FIELD(op),         FIELD(slot),
                                  FIELD(kind),       FIELD(side),
                                  FIELD(request),    FIELD(end),
                                  FIELD(code),       FIELD(epoch),
                                  FIELD(from_step),  FIELD(to_step),
                                  FIELD(incident),   FIELD(attempt),
                                  FIELD(level),      FIELD(incarnation),
                                  FIELD(next_model), FIELD(next_sampling),
                                  FIELD(delay_ms),   FIELD(count),
                                  FIELD(pid),        FIELD(started),
                                  FIELD(signal),     FIELD(seconds),
                                  FIELD(expires_ms), FIELD(at_ms),
                                  FIELD(lost),       FIELD(disowned)};
static const field_t texts[] = {
    FIELD(name), FIELD(path),  FIELD(model), FIELD(session),  FIELD(id),
    FIELD(why),  FIELD(batch), FIELD(cause), FIELD(evidence), FIELD(nonce)};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static int64_t *number_at(const tinker__rec_facts_t *f, size_t i) {
  return (int64_t *)(void *)((char *)(uintptr_t)f + numbers[i].offset);
}

static tinker__str_t *text_at(const tinker__rec_facts_t *f, size_t i) {
  return (tinker__str_t *)(void *)((char *)(uintptr_t)f + texts[i].offset);
}

/* --- Writing -------------------------------------------------------------- */

static void write_bits(tinker__jsonw_t *w, const char *key, double value) {
  char text[17];
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  snprintf(text, sizeof text, "%016llx", (unsigned long long)bits);
  tinker__jsonw_key(w, key);
  tinker__jsonw_cstr(w, text);
}

static void write_requests(tinker__jsonw_t *w, const tinker__rec_facts_t *f) {
  char hex[2 * TINKER__SHA256_LEN + 1];
  tinker__jsonw_key(w, "requests");
  tinker__jsonw_begin_array(w);
  for (size_t i = 0; i < f->request_count; i++) {
    const tinker__rec_sent_t *r = &f->requests[i];
    tinker__hex(r->sha256, sizeof r->sha256, hex);
    tinker__jsonw_begin_array(w);
    tinker__jsonw_i64(w, r->seq_id);
    tinker__jsonw_i64(w, r->len);
    tinker__jsonw_i64(w, r->datums);
    tinker__jsonw_i64(w, r->offset);
    tinker__jsonw_cstr(w, hex);
    tinker__jsonw_end_array(w);
  }
  tinker__jsonw_end_array(w);
}

int tinker__rec_facts_write(const tinker__rec_facts_t *f, tinker__buf_t *out) {
  tinker__jsonw_t w;
  tinker__buf_clear(out);
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  for (size_t i = 0; i < COUNT(numbers); i++) {
    int64_t v = *number_at(f, i);
    if (v == TINKER__REC_UNSET) continue;
    tinker__jsonw_key(&w, numbers[i].name);
    tinker__jsonw_i64(&w, v);
  }
  for (size_t i = 0; i < COUNT(texts); i++) {
    tinker__str_t *s = text_at(f, i);
    if (!s->ptr || !s->len) continue;
    tinker__jsonw_key(&w, texts[i].name);
    tinker__jsonw_str(&w, *s);
  }
  if (f->has_loss) write_bits(&w, "loss", f->loss);
  if (f->has_noise) write_bits(&w, "noise", f->noise);
  if (f->plan.ptr && f->plan.len) {
    tinker__jsonw_key(&w, "plan");
    tinker__jsonw_raw(&w, f->plan);
  }
  if (f->request_count) write_requests(&w, f);
  tinker__jsonw_end_object(&w);
  return tinker__buf_error(out);
}

/* --- Reading -------------------------------------------------------------- */

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(tinker__str_t text, unsigned char *out, size_t len) {
  if (text.len != 2 * len) return false;
  for (size_t i = 0; i < len; i++) {
    int high = digit(text.ptr[2 * i]), low = digit(text.ptr[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = (unsigned char)(16 * high + low);
  }
  return true;
}

bool tinker__rec_unhex(tinker__str_t text,
                       unsigned char out[TINKER__SHA256_LEN]) {
  return unhex(text, out, TINKER__SHA256_LEN);
}

static void read_bits(tinker__json_t *j, double *out, bool *has) {
  unsigned char bytes[8];
  uint64_t bits = 0;
  tinker__str_t text;
  if (!tinker__json_string(j, &text)) return;
  if (!unhex(text, bytes, sizeof bytes)) {
    tinker__json_fail(j, TINKER_EJSON, "not the bits of a number");
    return;
  }
  for (int i = 0; i < 8; i++) bits = bits << 8 | bytes[i];
  memcpy(out, &bits, sizeof bits);
  *has = true;
}

static void read_request(tinker__json_t *j, tinker__rec_sent_t *r) {
  tinker__str_t hex = {"", 0};
  bool more = tinker__json_array(j) && tinker__json_more(j) &&
              tinker__json_i64(j, &r->seq_id) && tinker__json_more(j) &&
              tinker__json_i64(j, &r->len) && tinker__json_more(j) &&
              tinker__json_i64(j, &r->datums) && tinker__json_more(j) &&
              tinker__json_i64(j, &r->offset) && tinker__json_more(j) &&
              tinker__json_string(j, &hex) && !tinker__json_more(j);
  if (!more || r->seq_id == INT64_MAX || r->len < 0 || r->datums < 0 ||
      r->offset < 0 || !tinker__rec_unhex(hex, r->sha256)) {
    tinker__json_fail(j, TINKER_EJSON, "not a request");
  }
}

static void read_requests(tinker__json_t *j, tinker__arena_t *arena,
                          tinker__rec_facts_t *f) {
  tinker__rec_sent_t *list = NULL;
  size_t cap = 0, n = 0;
  if (!tinker__json_array(j)) return;
  while (tinker__json_more(j)) {
    if (n == MAX_REQUESTS) {
      tinker__json_fail(j, TINKER_EJSON, "too many requests");
      return;
    }
    list = tinker__arena_grow(arena, list, n, &cap, sizeof *list);
    if (!list) {
      tinker__json_fail(j, TINKER_ENOMEM, "out of memory");
      return;
    }
    memset(&list[n], 0, sizeof *list);
    read_request(j, &list[n++]);
  }
  f->requests = list;
  f->request_count = n;
}

/* Strings with escapes are the reader's, so they are copied. */
static void read_text(tinker__json_t *j, tinker__arena_t *arena,
                      tinker__str_t *out) {
  tinker__str_t text;
  if (!tinker__json_string(j, &text)) return;
  const char *copy = tinker__arena_str(arena, text);
  if (copy) {
    *out = (tinker__str_t){copy, text.len};
  } else {
    tinker__json_fail(j, TINKER_ENOMEM, "out of memory");
  }
}

static bool read_named(tinker__json_t *j, tinker__arena_t *arena,
                       tinker__str_t key, tinker__rec_facts_t *f) {
  for (size_t i = 0; i < COUNT(numbers); i++) {
    if (!tinker__str_eqs(key, numbers[i].name)) continue;
    tinker__json_i64(j, number_at(f, i));
    return true;
  }
  for (size_t i = 0; i < COUNT(texts); i++) {
    if (!tinker__str_eqs(key, texts[i].name)) continue;
    read_text(j, arena, text_at(f, i));
    return true;
  }
  return false;
}

static void read_field(tinker__json_t *j, tinker__arena_t *arena,
                       tinker__str_t key, tinker__rec_facts_t *f) {
  if (read_named(j, arena, key, f)) return;
  if (tinker__str_eqs(key, "loss")) {
    read_bits(j, &f->loss, &f->has_loss);
  } else if (tinker__str_eqs(key, "noise")) {
    read_bits(j, &f->noise, &f->has_noise);
  } else if (tinker__str_eqs(key, "plan")) {
    tinker__json_raw(j, &f->plan);
  } else if (tinker__str_eqs(key, "requests")) {
    read_requests(j, arena, f);
  } else {
    tinker__json_skip(j);
  }
}

int tinker__rec_facts_read(tinker__rec_facts_t *f, tinker__arena_t *arena,
                           tinker__str_t fields, char *why, size_t why_len) {
  const tinker__rec_facts_t init = TINKER__REC_FACTS_INIT;
  tinker__json_t j;
  tinker__str_t key;
  *f = init;
  tinker__json_init(&j, arena->mem, fields.ptr, fields.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) read_field(&j, arena, key, f);
  }
  int rc = tinker__json_end(&j);
  if (rc != 0) {
    rc = tinker__json_told(&j, "a record's fields", why, why_len);
  }
  tinker__json_done(&j);
  return rc;
}
