/* generator: the interface to something that generates text or tokens. It knows
 * nothing of training, rows or caches. The engine thread with its batch is a
 * generator (row_generator.h); another server can be one.
 *
 * begin, cancel and models may be called from any thread. The callbacks of a
 * generation run one at a time, on a thread of the generator, or on the thread
 * that calls close. done runs once and last, for every begin that returned 0.
 * No field of a request is ignored: a field for which a generator has no bit is
 * refused by its name before the generator sees the request. */
#ifndef TINKER_ENGINE_GENERATOR_H
#define TINKER_ENGINE_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define TINKER_GENERATOR_ABI 1

/* Bits of `caps`: the fields that a generator supports. */
#define TINKER_GENERATOR_TOKENS ((uint64_t)1) /* prompts and results as ids */
#define TINKER_GENERATOR_TEXT ((uint64_t)2)   /* prompts as text */
#define TINKER_GENERATOR_SEED ((uint64_t)4)
#define TINKER_GENERATOR_LOGPROBS ((uint64_t)8) /* also of alternatives */
#define TINKER_GENERATOR_TOP_K ((uint64_t)16)

typedef struct tinker__eng_generator_s tinker__eng_generator_t;

/* A request. Everything in it is copied by begin. */
typedef struct tinker__eng_generate_s {
  const char *model;
  const int32_t *tokens; /* the prompt as n_tokens ids, at least one; or NULL */
  size_t n_tokens;
  tinker__str_t text;         /* the prompt if tokens is NULL */
  size_t num_samples;         /* at least 1 */
  size_t max_tokens;          /* of a sample; 0 = to the end of the context */
  float temperature;          /* >= 0; 0 = the most likely */
  int64_t top_k;              /* <= 0 = unlimited */
  double top_p;               /* in (0, 1] */
  bool seeded;                /* the same seed must give the same result */
  uint64_t seed;              /* the caller's, or a random one if not seeded */
  const int32_t *stop_tokens; /* part of the result */
  size_t n_stop_tokens;
  const tinker__str_t *stop_strings;
  size_t n_stop_strings;
  bool logprobs;
  size_t top_logprobs; /* alternatives of each token */
} tinker__eng_generate_t;

typedef enum {
  TINKER__GENERATED_MORE, /* the sample goes on */
  TINKER__GENERATED_STOP, /* a stop token or string */
  TINKER__GENERATED_LENGTH
} tinker__eng_generated_end_t;

/* A token or a piece of text of one sample, valid during the call. */
typedef struct tinker__eng_generated_s {
  size_t sample;
  int32_t token;      /* -1 = not known */
  tinker__str_t text; /* its bytes, which may end inside a character; "" = not
                         known */
  float logprob;      /* NaN = not known */
  const int32_t *top_ids; /* n_top alternatives */
  const float *top_logprobs;
  size_t n_top;
  tinker__eng_generated_end_t end;
} tinker__eng_generated_t;

typedef struct tinker__eng_generate_cb_s {
  /* A result that is not 0 ends the generation, and done gets that code. */
  int (*on_token)(void *user, const tinker__eng_generated_t *t);
  /* rc 0, TINKER_ECANCELED, or another code with a sentence in why. */
  void (*done)(void *user, int rc, const char *why);
  void *user;
} tinker__eng_generate_cb_t;

typedef struct tinker__eng_generator_api_s {
  uint32_t abi;  /* TINKER_GENERATOR_ABI */
  uint32_t size; /* of this table as the generator knows it */
  uint64_t caps;
  const char *name;
  /* *id, which is not 0, names the generation until its done has returned. A
   * callback may run before begin returns. */
  int (*begin)(tinker__eng_generator_t *g, const tinker__eng_generate_t *spec,
               const tinker__eng_generate_cb_t *cb, uint64_t *id, char *why,
               size_t why_len);
  /* Ends a generation soon. An id that has ended is ignored. */
  void (*cancel)(tinker__eng_generator_t *g, uint64_t id);
  /* Calls each with the models that it generates from at present, and the
   * tokens of their contexts (0 = not known). */
  void (*models)(tinker__eng_generator_t *g,
                 void (*each)(void *to, const char *name, size_t context),
                 void *to);
  /* Generations under way end with TINKER_ECANCELED, on the calling thread. */
  void (*close)(tinker__eng_generator_t *g);
  void (*reserved[8])(void); /* NULL: places of functions to come */
} tinker__eng_generator_api_t;

/* Every generator begins with its table. */
struct tinker__eng_generator_s {
  const tinker__eng_generator_api_t *api;
};

/* Checks a request and begins it. A field that g does not support is refused by
 * its name with TINKER_ENOTSUP, a value out of its range with TINKER_EINVAL. */
int tinker__eng_generate(tinker__eng_generator_t *g,
                         const tinker__eng_generate_t *spec,
                         const tinker__eng_generate_cb_t *cb, uint64_t *id,
                         char *why, size_t why_len);

#endif
