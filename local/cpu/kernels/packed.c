/* packed: weights in panels of sixteen outputs, see kernels.h. Made once on
 * one thread, then read by any. */
#include <string.h>

#include <tinker/error.h>

#include "cpu/kernels/kernels.h"
#include "cpu/pages.h"

static size_t type_size(tinker__cpu_elem_t type) {
  return type == TINKER__F32 ? 4 : 2;
}

size_t tinker__cpu_packed_bytes(const tinker__cpu_packed_t *w) {
  return (w->n_out + 15) / 16 * 16 * w->k_in * type_size(w->type);
}

static void fill_panels(tinker__cpu_packed_t *w, const unsigned char *src) {
  size_t size = type_size(w->type);
  unsigned char *out = w->panels;
  for (size_t n = 0; n < w->n_out; n++) {
    unsigned char *lane = out + (n / 16 * w->k_in * 16 + n % 16) * size;
    if (size == 4) {
      for (size_t k = 0; k < w->k_in; k++, src += 4) {
        memcpy(lane + k * 64, src, 4);
      }
    } else {
      for (size_t k = 0; k < w->k_in; k++, src += 2) {
        memcpy(lane + k * 32, src, 2);
      }
    }
  }
}

int tinker__cpu_packed_new(tinker__cpu_packed_t **out, tinker__mem_t *mem,
                           const void *src, tinker__cpu_elem_t type,
                           size_t n_out, size_t k_in) {
  if (n_out == 0 || k_in == 0 || n_out > SIZE_MAX / 2 - 16 ||
      k_in > SIZE_MAX / 8 / (n_out + 16)) {
    return TINKER_EINVAL;
  }
  tinker__cpu_packed_t *w = tinker__mem_zalloc(mem, sizeof *w);
  if (w == NULL) return TINKER_ENOMEM;
  w->mem = mem;
  w->n_out = n_out;
  w->k_in = k_in;
  w->type = type;
  size_t bytes = tinker__cpu_packed_bytes(w);
  w->block = tinker__mem_alloc(mem, bytes + 64);
  if (w->block == NULL) {
    tinker__mem_free(mem, w);
    return TINKER_ENOMEM;
  }
  tinker__cpu_pages_large(w->block, bytes + 64);
  w->panels = (void *)(((uintptr_t)w->block + 63) & ~(uintptr_t)63);
  size_t last = (n_out - 1) / 16 * 16 * k_in * type_size(type);
  memset((unsigned char *)w->panels + last, 0, bytes - last);
  fill_panels(w, src);
  *out = w;
  return 0;
}

void tinker__cpu_packed_free(tinker__cpu_packed_t *w) {
  if (w == NULL) return;
  tinker__mem_free(w->mem, w->block);
  tinker__mem_free(w->mem, w);
}

tinker__cpu_packed_t tinker__cpu_packed_part(const tinker__cpu_packed_t *w,
                                             size_t n0, size_t n) {
  tinker__cpu_packed_t part = *w;
  part.n_out = n;
  part.panels = (char *)w->panels + n0 * w->k_in * type_size(w->type);
  part.block = NULL;
  return part;
}

void tinker__cpu_packed_row(const tinker__cpu_packed_t *w, size_t n, float *y) {
  size_t at = n / 16 * w->k_in * 16 + n % 16;
  const uint16_t *h = w->panels;
  const float *f = w->panels;
  for (size_t k = 0; k < w->k_in; k++, at += 16) {
    y[k] = w->type == TINKER__F32    ? f[at]
           : w->type == TINKER__BF16 ? tinker__cpu_bf16_to_f32(h[at])
                                     : tinker__cpu_f16_to_f32(h[at]);
  }
}
