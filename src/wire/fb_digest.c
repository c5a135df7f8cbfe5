/* fb_digest: a digest of what a request says, whatever form it came in. Every
 * part is preceded by its length, so no two requests run together. */
#include "wire/digest_parts.h"
#include "wire/fb_decode.h"

#include <string.h>

void tinker__parts_init(tinker__parts_t *p, tinker__mem_t *mem) {
  p->rc = tinker__sha256_new(&p->sha, mem);
}

int tinker__parts_end(tinker__parts_t *p,
                      unsigned char out[TINKER__SHA256_LEN]) {
  if (p->rc) return p->rc;
  return tinker__sha256_end(p->sha, out);
}

void tinker__parts_bytes(tinker__parts_t *p, const void *data, size_t len) {
  tinker__parts_u64(p, len);
  if (!p->rc && len) tinker__sha256_add(p->sha, data, len);
}

void tinker__parts_str(tinker__parts_t *p, tinker__str_t s) {
  tinker__parts_bytes(p, s.ptr, s.len);
}

void tinker__parts_u64(tinker__parts_t *p, uint64_t v) {
  if (!p->rc) tinker__sha256_add(p->sha, &v, sizeof(v));
}

void tinker__parts_f64(tinker__parts_t *p, double v) {
  uint64_t bits;
  memcpy(&bits, &v, sizeof(bits));
  tinker__parts_u64(p, bits);
}

void tinker__parts_tensor(tinker__parts_t *p, const tinker__tensor_view_t *t) {
  tinker__parts_u64(p, (uint64_t)t->dtype);
  tinker__parts_u64(p, t->ndim);
  for (size_t i = 0; i < t->ndim; i++) {
    tinker__parts_u64(p, (uint64_t)t->shape[i]);
  }
  tinker__parts_bytes(p, t->data, t->count * tinker__dtype_size(t->dtype));
  if (!t->crow) return;
  tinker__parts_bytes(p, t->crow, ((size_t)t->shape[0] + 1) * 8);
  tinker__parts_bytes(p, t->col, t->count * 8);
}

void tinker__parts_chunks(tinker__parts_t *p, const tinker__chunk_view_t *c,
                          size_t n) {
  tinker__parts_u64(p, n);
  for (size_t i = 0; i < n; i++) {
    switch (c[i].kind) {
    case TINKER__CHUNK_TEXT:
      tinker__parts_bytes(p, c[i].text.tokens, c[i].text.count * 4);
      break;
    }
  }
}

static void add_datum(tinker__parts_t *p, const tinker__datum_view_t *d) {
  tinker__parts_chunks(p, d->chunks, d->chunk_count);
  tinker__parts_u64(p, d->input_count);
  for (size_t i = 0; i < d->input_count; i++) {
    tinker__parts_str(p, d->inputs[i].name);
    tinker__parts_tensor(p, &d->inputs[i].tensor);
  }
}

int tinker__fb_digest(const tinker__fb_view_t *v, tinker__mem_t *mem,
                      unsigned char out[TINKER__SHA256_LEN]) {
  tinker__parts_t p;
  tinker__parts_init(&p, mem);
  tinker__parts_str(&p, v->model_id);
  tinker__parts_u64(&p, (uint64_t)v->seq_id);
  tinker__parts_str(&p, v->loss_fn);
  tinker__parts_u64(&p, v->forward_only);
  tinker__parts_u64(&p, v->config_count);
  for (size_t i = 0; i < v->config_count; i++) {
    tinker__parts_str(&p, v->config[i].name);
    tinker__parts_u64(&p, v->config[i].is_text);
    tinker__parts_str(&p, v->config[i].text);
    tinker__parts_f64(&p, v->config[i].is_text ? 0 : v->config[i].number);
  }
  tinker__parts_u64(&p, v->datum_count);
  for (size_t i = 0; i < v->datum_count; i++) add_datum(&p, &v->datums[i]);
  return tinker__parts_end(&p, out);
}
