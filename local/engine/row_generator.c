/* row_generator: see row_generator.h. The lock guards the list and the ids.
 * From the moment a generation is handed to the scheduler only the engine
 * thread uses it, except for its flag `cancel`. */
#include "engine/row_generator.h"

#include <pthread.h>

#include <tinker/error.h>

typedef struct {
  tinker__eng_generator_t face; /* first */
  tinker__mem_t *mem;
  tinker__eng_scheduler_t *scheduler;
  tinker__eng_row_models_t models;
  pthread_mutex_t lock;
  tinker__link_t all; /* of generation_t */
  uint64_t last_id;
} rows_t;

typedef struct {
  tinker__link_t link;
  rows_t *owner;
  uint64_t id;
  tinker__eng_row_lease_t lease;
  tinker__eng_generate_cb_t cb;
  tinker__eng_gen_t *gen; /* owned by the scheduler once handed over */
} generation_t;

static rows_t *rows_of(tinker__eng_generator_t *g) {
  return TINKER__CONTAINER(g, rows_t, face);
}

static void generation_free(generation_t *n) {
  rows_t *o = n->owner;
  o->models.drop(o->models.user, &n->lease);
  tinker__mem_free(o->mem, n);
}

/* --- On the engine thread ------------------------------------------------- */

static int prepare(tinker__eng_gen_t *gen, char *why, size_t why_len) {
  generation_t *n = gen->user;
  (void)why;
  (void)why_len;
  gen->base = n->owner->models.base(n->owner->models.user, &n->lease);
  return 0;
}

static int on_token(tinker__eng_gen_t *gen, size_t sample) {
  generation_t *n = gen->user;
  const tinker__eng_gen_seq_t *q = &gen->seqs[sample];
  size_t last = q->n - 1;
  const tinker__eng_gen_text_t *text = n->lease.text;
  tinker__eng_generated_t t = {
      .sample = sample,
      .token = q->tokens[last],
      .text = TINKER__STR(""),
      .logprob = q->logprobs[last],
      .n_top = gen->top_sample,
  };
  if (gen->top_sample) {
    t.top_ids = q->top_ids + last * gen->top_sample;
    t.top_logprobs = q->top_logprobs + last * gen->top_sample;
  }
  if (text && text->bytes(text->user, t.token, &t.text.ptr, &t.text.len)) {
    t.text = TINKER__STR(""); /* an id without text */
  }
  if (q->stopped) {
    t.end = TINKER__GENERATED_STOP;
  } else if (q->n >= gen->max_tokens) {
    t.end = TINKER__GENERATED_LENGTH;
  }
  return n->cb.on_token(n->cb.user, &t);
}

static void on_done(tinker__eng_gen_t *gen, int rc, const char *why) {
  generation_t *n = gen->user;
  rows_t *o = n->owner;
  n->cb.done(n->cb.user, rc, why);
  pthread_mutex_lock(&o->lock);
  tinker__list_remove(&n->link);
  pthread_mutex_unlock(&o->lock);
  tinker__eng_gen_free(gen);
  generation_free(n);
}

/* --- The table ------------------------------------------------------------ */

/* Checks the request against the model's bounds and writes the specification.
 */
static int take_spec(const tinker__eng_generate_t *s,
                     const tinker__eng_row_lease_t *l,
                     tinker__eng_gen_spec_t *out, char *why, size_t why_len) {
  size_t context = l->info->context_length;
  size_t left = s->n_tokens < context ? context - s->n_tokens : 0;
  size_t most = s->max_tokens ? s->max_tokens : left;
  if (!left || most > left) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "max_tokens: a prompt of %zu tokens and %zu more do not "
                       "fit into the context of %zu",
                       s->n_tokens, s->max_tokens ? s->max_tokens : 1, context);
  }
  for (size_t i = 0; i < s->n_tokens; i++) {
    if (s->tokens[i] >= 0 && (size_t)s->tokens[i] < l->info->vocab_size) {
      continue;
    }
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "tokens[%zu]: %ld is not in 0 to %zu", i,
                       (long)s->tokens[i], l->info->vocab_size - 1);
  }
  if (s->top_logprobs > l->info->vocab_size) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "top_logprobs: %zu is more than the vocabulary's %zu",
                       s->top_logprobs, l->info->vocab_size);
  }
  if (s->n_stop_strings && !l->text) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "stop_strings: they need a tokenizer.json in the "
                       "model's folder%s%s",
                       l->no_text ? " that can be read: " : "",
                       l->no_text ? l->no_text : "");
  }
  *out = (tinker__eng_gen_spec_t){
      .prompt = s->tokens,
      .n_prompt = s->n_tokens,
      .num_samples = s->num_samples,
      .max_tokens = most,
      .sampling = {s->temperature, s->top_k, s->top_p, s->seed},
      .stop_tokens = s->stop_tokens,
      .n_stop_tokens = s->n_stop_tokens,
      .stop_strings = s->stop_strings,
      .n_stop_strings = s->n_stop_strings,
      .text = l->text,
      .top_sample = s->top_logprobs,
  };
  return 0;
}

static int make(generation_t *n, const tinker__eng_generate_t *spec, char *why,
                size_t why_len) {
  rows_t *o = n->owner;
  tinker__eng_gen_spec_t s;
  int rc = take_spec(spec, &n->lease, &s, why, why_len);
  if (rc) return rc;
  rc = tinker__eng_gen_new(&n->gen, o->mem, &s);
  if (rc) return tinker__why(why, why_len, rc, "out of memory");
  n->gen->user = n;
  n->gen->backend = n->lease.backend;
  n->gen->prepare = prepare;
  n->gen->on_token = on_token;
  n->gen->done = on_done;
  return 0;
}

static int begin(tinker__eng_generator_t *g, const tinker__eng_generate_t *spec,
                 const tinker__eng_generate_cb_t *cb, uint64_t *id, char *why,
                 size_t why_len) {
  rows_t *o = rows_of(g);
  generation_t *n = tinker__mem_zalloc(o->mem, sizeof *n);
  if (!n) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  n->owner = o;
  n->cb = *cb;
  tinker__list_init(&n->link);
  int rc = o->models.hold(o->models.user, spec->model, &n->lease, why, why_len);
  if (rc) {
    tinker__mem_free(o->mem, n);
    return rc;
  }
  rc = make(n, spec, why, why_len);
  if (rc) {
    generation_free(n);
    return rc;
  }
  pthread_mutex_lock(&o->lock);
  *id = n->id = ++o->last_id;
  tinker__list_push_back(&o->all, &n->link);
  tinker__eng_scheduler_sample(o->scheduler, n->gen);
  pthread_mutex_unlock(&o->lock);
  return 0;
}

/* A generation in the list has not been freed, so its flag can be set. */
static void cancel(tinker__eng_generator_t *g, uint64_t id) {
  rows_t *o = rows_of(g);
  pthread_mutex_lock(&o->lock);
  TINKER__LIST_EACH(l, tmp, &o->all) {
    generation_t *n = TINKER__CONTAINER(l, generation_t, link);
    if (n->id == id) atomic_store(&n->gen->cancel, true);
  }
  pthread_mutex_unlock(&o->lock);
}

static void models(tinker__eng_generator_t *g,
                   void (*each)(void *to, const char *name, size_t context),
                   void *to) {
  rows_t *o = rows_of(g);
  o->models.each(o->models.user, each, to);
}

static void close_rows(tinker__eng_generator_t *g) {
  rows_t *o = rows_of(g);
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&o->all)) != NULL) {
    generation_t *n = TINKER__CONTAINER(l, generation_t, link);
    n->cb.done(n->cb.user, TINKER_ECANCELED, "the service stops");
    generation_free(n); /* the scheduler has freed n->gen */
  }
  pthread_mutex_destroy(&o->lock);
  tinker__mem_free(o->mem, o);
}

int tinker__eng_row_generator_new(tinker__eng_generator_t **out,
                                  tinker__mem_t *mem,
                                  tinker__eng_scheduler_t *scheduler,
                                  const tinker__eng_row_models_t *row_models) {
  static const tinker__eng_generator_api_t api = {
      .abi = TINKER_GENERATOR_ABI,
      .size = sizeof(tinker__eng_generator_api_t),
      .caps = TINKER_GENERATOR_TOKENS | TINKER_GENERATOR_SEED |
              TINKER_GENERATOR_LOGPROBS | TINKER_GENERATOR_TOP_K,
      .name = "rows",
      .begin = begin,
      .cancel = cancel,
      .models = models,
      .close = close_rows,
  };
  rows_t *o = tinker__mem_zalloc(mem, sizeof *o);
  if (!o) return TINKER_ENOMEM;
  o->face.api = &api;
  o->mem = mem;
  o->scheduler = scheduler;
  o->models = *row_models;
  tinker__list_init(&o->all);
  pthread_mutex_init(&o->lock, NULL);
  *out = &o->face;
  return 0;
}
