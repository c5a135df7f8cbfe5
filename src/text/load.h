/* load: the parts of reading a tokenizer.json, one file each. */
#ifndef TINKER_TEXT_LOAD_H
#define TINKER_TEXT_LOAD_H

#include "text/tokenizer.h"
#include "text/values.h"

typedef struct tinker__load_s {
  tinker__values_t v;
  tinker_tokenizer_t *t;
  tinker__strings_t names; /* tokens as the file spells them; all findable */
  uint32_t num_vocab;      /* entries of the model's vocabulary */
  uint32_t next_added;     /* id of the next token that is new */
  tinker__buf_t text;      /* scratch */
  unsigned depth;          /* of Sequences */
  bool byte_level;         /* the pre-tokenizer has had its ByteLevel */
  bool decoder;            /* the decoder is ByteLevel */
  bool templated;          /* a template was read */
} tinker__load_t;

/* "model": vocabulary and merges. */
int tinker__load_model(tinker__load_t *l, tinker__str_t raw);
/* "added_tokens", after the model and the normaliser. */
int tinker__load_added(tinker__load_t *l, tinker__str_t raw);
/* "normalizer" and "pre_tokenizer". */
int tinker__load_normalizer(tinker__load_t *l, tinker__str_t raw);
int tinker__load_steps(tinker__load_t *l, tinker__str_t raw);
/* "post_processor" and "decoder". */
int tinker__load_template(tinker__load_t *l, tinker__str_t raw);
int tinker__load_decoder(tinker__load_t *l, tinker__str_t raw);

/* Name of the component's "type" and a Sequence's members are handled alike
 * everywhere: runs `one` on the component, or on each member in order. */
typedef int (*tinker__component_cb)(tinker__load_t *l, const char *type,
                                    tinker__str_t raw);
int tinker__load_component(tinker__load_t *l, tinker__str_t raw,
                           const char *where, const char *members,
                           tinker__component_cb one);

#endif
