/* base: opens the engine, loads and releases base models. Engine thread, except
 * tinker__cpu_estimate, which any thread may call; invariants in base.h. */
#include "cpu/base.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

/* The loader casts element types of files to those of the kernels. */
_Static_assert((int)TINKER__F32 == (int)TINKER__WEIGHT_F32 &&
                   (int)TINKER__BF16 == (int)TINKER__WEIGHT_BF16 &&
                   (int)TINKER__F16 == (int)TINKER__WEIGHT_F16,
               "element types are numbered alike");

/* 1 GiB of activations. */
#define BUDGET_FLOATS ((size_t)1 << 28)
/* A piece takes some milliseconds; on a model of a billion weights it takes
 * about as long as a decode round. With fewer rows much of the time would go
 * into copies of the weights. */
#define PIECE_MULTIPLY_ADDS ((uint64_t)1 << 28)
#define WINDOW_ROWS 256
/* First length of the rotary table. */
#define ROPE_START 256
/* Bytes of the weights that one step of a load hashes. */
#define HASH_BYTES ((size_t)64 << 20)

int tinker__cpu_open(tinker__engine_t **out,
                     const tinker__engine_options_t *options, char *why,
                     size_t why_len) {
  const tinker__cpu_kernels_t *ks =
      options->kernels ? tinker__cpu_kernels_by_name(options->kernels)
                       : tinker__cpu_kernels_get();
  if (!ks) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "kernels: this machine has no set named \"%s\"",
                       options->kernels);
  }
  const tinker_allocator_t *a = &options->mem;
  tinker__engine_t *e = a->calloc_fn(1, sizeof *e, a->user);
  if (!e) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  tinker__mem_init(&e->own, a, 0);
  e->mem = &e->own;
  e->ks = ks;
  e->budget = BUDGET_FLOATS;
  e->piece = PIECE_MULTIPLY_ADDS;
  e->window = WINDOW_ROWS;
  int rc = tinker__cpu_pool_new(&e->pool, e->mem, options->threads);
  if (rc) {
    a->free_fn(e, a->user);
    return tinker__why(why, why_len, rc, "threads: no memory for workers");
  }
  *out = e;
  return 0;
}

void tinker__cpu_close(tinker__engine_t *e) {
  if (!e) return;
  tinker_allocator_t a = e->own.alloc;
  for (size_t i = 0; i < TINKER__SPARES; i++) {
    tinker__mem_free(e->mem, e->spare[i].block);
  }
  tinker__cpu_pool_free(e->pool);
  a.free_fn(e, a.user);
}

int tinker__cpu_estimate(const char *model_dir, uint64_t *bytes, char *why,
                         size_t why_len) {
  tinker__mem_t mem;
  tinker__folder_t *f = NULL;
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__folder_open(&f, &mem, tinker__world_real(), model_dir, why,
                               why_len);
  if (rc) return rc;
  /* Norms and biases are widened, and panels are rounded up. For models of real
   * size one part in 64 covers both. */
  uint64_t b = tinker__folder_bytes(f);
  *bytes = b + b / 64 + (1u << 20);
  tinker__folder_close(f);
  return 0;
}

static void set_dims(tinker__eng_base_t *b, const tinker__model_config_t *c) {
  tinker__cpu_dims_t *d = &b->d;
  d->vocab = c->vocab_size;
  d->hidden = c->hidden_size;
  d->inter = c->intermediate_size;
  d->layers = c->num_layers;
  d->heads = c->num_heads;
  d->kv_heads = c->num_kv_heads;
  d->head_dim = c->head_dim;
  d->q_dim = d->heads * d->head_dim;
  d->kv_dim = d->kv_heads * d->head_dim;
  d->context = c->max_positions;
  d->eps = (float)c->rms_norm_eps;
  d->attn_scale = (float)(1.0 / sqrt((double)d->head_dim));
  b->arch = tinker__arch_name(c->arch);
}

/* A load: first the layers, a matrix at a time, then the matrices of the
 * vocabulary, then the digest of the files' bytes. */
struct tinker__eng_load_s {
  tinker__eng_base_t *base;
  tinker__folder_t *folder;
  tinker__folder_hash_t *hash; /* NULL until all weights are loaded */
  size_t piece;                /* of the layers, next to be loaded */
  int rc;                      /* the first failure stays */
  bool complete;
  char dir[]; /* for messages */
};
typedef struct tinker__eng_load_s load_t;

/* A tensor as floats; NULL when the architecture has no such tensor. */
static float *load_vector(load_t *l, tinker__role_t role, size_t layer) {
  const tinker__tensor_t *t =
      tinker__folder_tensor(l->folder, role, (uint32_t)layer);
  tinker__engine_t *e = l->base->engine;
  if (!t || l->rc) return NULL;
  float *v = tinker__mem_array(e->mem, (size_t)t->count, sizeof *v);
  if (!v) {
    l->rc = TINKER_ENOMEM;
    return NULL;
  }
  e->ks->widen(v, t->data, (tinker__cpu_elem_t)t->dtype, (size_t)t->count);
  l->base->bytes += t->count * sizeof *v;
  return v;
}

static tinker__cpu_packed_t *load_matrix(load_t *l, tinker__role_t role,
                                         size_t layer) {
  const tinker__tensor_t *t =
      tinker__folder_tensor(l->folder, role, (uint32_t)layer);
  tinker__cpu_packed_t *w = NULL;
  if (l->rc) return NULL;
  l->rc = tinker__cpu_packed_new(&w, l->base->engine->mem, t->data,
                                 (tinker__cpu_elem_t)t->dtype,
                                 (size_t)t->shape[0], (size_t)t->shape[1]);
  if (w) l->base->bytes += tinker__cpu_packed_bytes(w);
  return w;
}

/* Pieces of a layer: its matrices, and last its vectors. */
#define PIECES (TINKER__PROJS + 1)

static void load_vectors(load_t *l, size_t i) {
  static const tinker__role_t biases[] = {
      TINKER__ROLE_Q_BIAS, TINKER__ROLE_K_BIAS, TINKER__ROLE_V_BIAS,
      TINKER__ROLE_O_BIAS};
  tinker__cpu_layer_t *y = &l->base->layers[i];
  for (size_t p = 0; p < sizeof biases / sizeof *biases; p++) {
    y->bias[p] = load_vector(l, biases[p], i);
  }
  y->norm1 = load_vector(l, TINKER__ROLE_ATTN_NORM, i);
  y->norm2 = load_vector(l, TINKER__ROLE_MLP_NORM, i);
  y->q_norm = load_vector(l, TINKER__ROLE_Q_NORM, i);
  y->k_norm = load_vector(l, TINKER__ROLE_K_NORM, i);
}

static void load_layer(load_t *l, size_t i, size_t piece) {
  static const tinker__role_t roles[TINKER__LORA_LM_HEAD] = {
      TINKER__ROLE_Q,    TINKER__ROLE_K,  TINKER__ROLE_V,   TINKER__ROLE_O,
      TINKER__ROLE_GATE, TINKER__ROLE_UP, TINKER__ROLE_DOWN};
  if (piece == TINKER__PROJS) {
    load_vectors(l, i);
  } else {
    l->base->layers[i].w[piece] = load_matrix(l, roles[piece], i);
  }
}

/* Stretches the wavelengths as Llama 3 does, with the float operations of
 * Hugging Face's code. */
static void scale_freqs(float *f, size_t half, const tinker__rope_t *r) {
  const float pi2 = 6.2831853071795864f;
  float factor = (float)r->factor, low = (float)r->low_freq_factor;
  float high = (float)r->high_freq_factor;
  float old = (float)r->original_max_positions;
  for (size_t i = 0; i < half; i++) {
    float wavelength = pi2 / f[i];
    if (wavelength > old / low) {
      f[i] = f[i] / factor;
    } else if (wavelength >= old / high) {
      float smooth = (old / wavelength - low) / (high - low);
      f[i] = (1.0f - smooth) * f[i] / factor + smooth * f[i];
    }
  }
}

static int load_rope(tinker__eng_base_t *b, const tinker__rope_t *r) {
  size_t half = b->d.head_dim / 2;
  b->inv_freq = tinker__mem_array(b->engine->mem, half, sizeof(float));
  if (!b->inv_freq) return TINKER_ENOMEM;
  tinker__cpu_rope_freqs(b->inv_freq, half, r->theta);
  if (r->kind == TINKER__ROPE_LLAMA3) scale_freqs(b->inv_freq, half, r);
  return 0;
}

int tinker__cpu_base_rope(tinker__eng_base_t *b, size_t n) {
  if (n <= b->rope_len) return 0;
  size_t half = b->d.head_dim / 2;
  size_t len = b->rope_len ? b->rope_len : ROPE_START;
  while (len < n) len *= 2;
  if (len > SIZE_MAX / sizeof(float) / 2 / half) return TINKER_ENOMEM;
  float *t = tinker__mem_realloc(b->engine->mem, b->rope,
                                 len * 2 * half * sizeof(float));
  if (!t) return TINKER_ENOMEM;
  b->rope = t;
  for (size_t pos = b->rope_len; pos < len; pos++) {
    float *row = t + pos * 2 * half;
    tinker__cpu_rope_angles(row, row + half, b->inv_freq, half, pos);
  }
  b->rope_len = len;
  return 0;
}

static int prepare(load_t *l) {
  tinker__eng_base_t *b = l->base;
  const tinker__model_config_t *c = tinker__folder_config(l->folder);
  tinker__mem_t *mem = b->engine->mem;
  b->config = *c;
  set_dims(b, c);
  b->eos = tinker__mem_dup(mem, c->eos, c->num_eos * sizeof c->eos[0]);
  b->layers = tinker__mem_array(mem, b->d.layers, sizeof *b->layers);
  if (!b->eos || !b->layers) return TINKER_ENOMEM;
  b->num_eos = c->num_eos;
  return 0;
}

int tinker__cpu_load_begin(tinker__engine_t *e, const char *model_dir,
                           tinker__eng_load_t **out, char *why,
                           size_t why_len) {
  size_t len = strlen(model_dir) + 1;
  load_t *l = tinker__mem_zalloc(e->mem, sizeof *l + len);
  if (!l) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  memcpy(l->dir, model_dir, len);
  int rc = tinker__folder_open(&l->folder, e->mem, tinker__world_real(),
                               model_dir, why, why_len);
  if (rc) {
    tinker__mem_free(e->mem, l);
    return rc;
  }
  tinker__eng_base_t *b = l->base = tinker__mem_zalloc(e->mem, sizeof *b);
  if (b) {
    b->engine = e;
    b->refs = 1;
    if (prepare(l) == 0) {
      *out = l;
      return 0;
    }
  }
  tinker__cpu_base_release(b);
  tinker__folder_close(l->folder);
  tinker__mem_free(e->mem, l);
  return tinker__why(why, why_len, TINKER_ENOMEM,
                     "%s: no memory for the weights", model_dir);
}

/* Loads the tensors that belong to no layer, and begins the digest. */
static void load_rest(load_t *l) {
  tinker__eng_base_t *b = l->base;
  b->norm = load_vector(l, TINKER__ROLE_FINAL_NORM, 0);
  b->embed = load_matrix(l, TINKER__ROLE_EMBED, 0);
  b->head = b->config.tied ? b->embed : load_matrix(l, TINKER__ROLE_LM_HEAD, 0);
  if (!l->rc) l->rc = load_rope(b, &b->config.rope);
  if (!l->rc) l->rc = tinker__folder_hash_new(&l->hash, l->folder);
}

static void load_hash(load_t *l) {
  l->rc = tinker__folder_hash_step(l->hash, HASH_BYTES);
  if (l->rc) return; /* 1 = there is more; or no memory */
  l->rc = tinker__folder_hash_end(l->hash, l->base->digest);
  l->hash = NULL;
  l->complete = l->rc == 0;
}

int tinker__cpu_load_step(tinker__eng_load_t *l, const atomic_bool *cancel,
                          char *why, size_t why_len) {
  size_t layers = l->base->d.layers;
  if (cancel && atomic_load(cancel)) {
    return tinker__why(why, why_len, TINKER_ECANCELED, "canceled");
  }
  if (l->rc > 0) l->rc = 0;
  if (l->complete || l->rc) {
    ;
  } else if (l->hash) {
    load_hash(l);
  } else if (l->piece < layers * PIECES) {
    load_layer(l, l->piece / PIECES, l->piece % PIECES);
    l->piece++;
  } else {
    load_rest(l);
  }
  if (l->rc >= 0) return !l->complete;
  return tinker__why(why, why_len, l->rc, "%s: no memory for the weights",
                     l->dir);
}

void tinker__cpu_load_end(tinker__eng_load_t *l, tinker__eng_base_t **out) {
  if (!l) return;
  tinker__mem_t *mem = l->base->engine->mem;
  if (l->hash) tinker__folder_hash_end(l->hash, NULL);
  tinker__folder_close(l->folder);
  bool give = l->complete && out;
  if (out) *out = give ? l->base : NULL;
  if (!give) tinker__cpu_base_release(l->base);
  tinker__mem_free(mem, l);
}

tinker__eng_base_t *tinker__cpu_base_retain(tinker__eng_base_t *b) {
  b->refs++;
  return b;
}

static void free_layer(tinker__mem_t *mem, tinker__cpu_layer_t *y) {
  for (size_t p = 0; p < TINKER__PROJS; p++) {
    tinker__cpu_packed_free(y->w[p]);
    tinker__mem_free(mem, y->bias[p]);
  }
  tinker__mem_free(mem, y->norm1);
  tinker__mem_free(mem, y->norm2);
  tinker__mem_free(mem, y->q_norm);
  tinker__mem_free(mem, y->k_norm);
}

void tinker__cpu_base_release(tinker__eng_base_t *b) {
  if (!b || --b->refs) return;
  tinker__mem_t *mem = b->engine->mem;
  for (size_t i = 0; b->layers && i < b->d.layers; i++) {
    free_layer(mem, &b->layers[i]);
  }
  if (b->head != b->embed) tinker__cpu_packed_free(b->head);
  tinker__cpu_packed_free(b->embed);
  tinker__mem_free(mem, b->layers);
  tinker__mem_free(mem, b->norm);
  tinker__mem_free(mem, b->inv_freq);
  tinker__mem_free(mem, b->rope);
  tinker__mem_free(mem, b->eos);
  tinker__mem_free(mem, b);
}

void tinker__cpu_base_info(const tinker__eng_base_t *b,
                           tinker__eng_base_info_t *out) {
  *out = (tinker__eng_base_info_t){
      .arch = b->arch,
      .vocab_size = b->d.vocab,
      .context_length = b->d.context,
      .num_layers = b->d.layers,
      .eos = b->eos,
      .num_eos = b->num_eos,
      .digest = b->digest,
      .bytes = b->bytes,
  };
}

void tinker__cpu_base_shape(const tinker__eng_base_t *b,
                            tinker__lora_target_t target, size_t *in,
                            size_t *out) {
  const tinker__cpu_packed_t *w =
      target == TINKER__LORA_LM_HEAD ? b->head : b->layers[0].w[target];
  *in = w->k_in;
  *out = w->n_out;
}
