/* load_steps: normaliser, pre-tokenizer, template and decoder of a
 * tokenizer.json. */
#include <string.h>
#include <tinker/error.h>

#include "text/load.h"
#include "text/pattern.h"

#define BYTE_LEVEL_PATTERN                                                     \
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"          \
  "|\\s+(?!\\S)|\\s+"

static int unknown_type(tinker__load_t *l, const char *where,
                        const char *type) {
  return tinker__why(l->v.why, l->v.why_len, TINKER_ENOTSUP,
                     "%s: type \"%s\" is not supported", where, type);
}

static int one_normalizer(tinker__load_t *l, const char *type,
                          tinker__str_t raw) {
  static const char *const keys[1] = {"type"};
  tinker__str_t value[1];
  if (strcmp(type, "NFC") != 0) return unknown_type(l, "normalizer", type);
  l->t->nfc = true;
  return tinker__values_object(&l->v, raw, "normalizer", keys, value, 1);
}

int tinker__load_normalizer(tinker__load_t *l, tinker__str_t raw) {
  if (raw.len == 0) return 0;
  return tinker__load_component(l, raw, "normalizer", "normalizers",
                                one_normalizer);
}

/* The next free step, NULL when there are too many. */
static tinker__split_t *next_step(tinker__load_t *l) {
  if (l->t->num_steps == TINKER__TOKENIZER_MAX_STEPS) {
    tinker__values_fail(&l->v, TINKER_EOVERFLOW, "pre_tokenizer",
                        "over 16 steps");
    return NULL;
  }
  return &l->t->steps[l->t->num_steps++];
}

static int compile(tinker__load_t *l, tinker__split_t *step,
                   tinker__str_t pattern, bool literal) {
  char reason[160] = "";
  tinker__buf_t room;
  tinker__buf_init(&room, l->v.mem, 1 << 20);
  int rc = 0;
  if (!literal) {
    rc = tinker__pattern_translate(&room, pattern, reason, sizeof reason);
    pattern = tinker__buf_str(&room);
  }
  if (rc == 0) {
    rc = tinker__split_compile(step, l->v.mem, pattern, literal, l->t->no_jit,
                               reason, sizeof reason);
  }
  tinker__buf_free(&room);
  return rc ? tinker__values_fail(&l->v, rc, "pre_tokenizer", reason) : 0;
}

static int read_behavior(tinker__load_t *l, tinker__str_t raw,
                         tinker__split_behavior_t *out) {
  static const char *const names[] = {
      [TINKER__SPLIT_ISOLATED] = "\"Isolated\"",
      [TINKER__SPLIT_REMOVED] = "\"Removed\"",
      [TINKER__SPLIT_MERGED_PREVIOUS] = "\"MergedWithPrevious\"",
      [TINKER__SPLIT_MERGED_NEXT] = "\"MergedWithNext\"",
      [TINKER__SPLIT_CONTIGUOUS] = "\"Contiguous\"",
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (tinker__str_eqs(raw, names[i])) {
      *out = (tinker__split_behavior_t)i;
      return 0;
    }
  }
  return tinker__values_refuse(&l->v, "pre_tokenizer", "behavior", raw);
}

static int read_pattern(tinker__load_t *l, tinker__str_t raw,
                        tinker__split_t *step) {
  static const char *const keys[2] = {"Regex", "String"};
  tinker__str_t value[2];
  int rc = tinker__values_object(&l->v, raw, "pre_tokenizer: pattern", keys,
                                 value, 2);
  if (rc) return rc;
  bool literal = value[0].len == 0;
  rc = tinker__values_text(&l->v, value[literal], "pre_tokenizer: pattern",
                           &l->text);
  if (rc == 0 && l->text.len == 0) {
    rc = tinker__values_fail(&l->v, TINKER_ENOTSUP, "pre_tokenizer",
                             "an empty pattern");
  }
  return rc ? rc : compile(l, step, tinker__buf_str(&l->text), literal);
}

static int load_split(tinker__load_t *l, tinker__str_t raw) {
  static const char *const keys[4] = {"type", "pattern", "behavior", "invert"};
  tinker__str_t value[4];
  tinker__split_t *step = next_step(l);
  if (!step) return TINKER_EOVERFLOW;
  int rc = tinker__values_object(&l->v, raw, "pre_tokenizer", keys, value, 4);
  if (rc == 0) rc = read_behavior(l, value[2], &step->behavior);
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, value[3], "pre_tokenizer: invert", false,
                             &step->invert);
  }
  return rc ? rc : read_pattern(l, value[1], step);
}

static int load_digits(tinker__load_t *l, tinker__str_t raw) {
  static const char *const keys[2] = {"type", "individual_digits"};
  tinker__str_t value[2];
  bool individual = false;
  tinker__split_t *step = next_step(l);
  if (!step) return TINKER_EOVERFLOW;
  int rc = tinker__values_object(&l->v, raw, "pre_tokenizer", keys, value, 2);
  if (rc == 0) {
    rc =
        tinker__values_bool(&l->v, value[1], "pre_tokenizer: individual_digits",
                            false, &individual);
  }
  step->behavior =
      individual ? TINKER__SPLIT_ISOLATED : TINKER__SPLIT_CONTIGUOUS;
  return rc ? rc : compile(l, step, tinker__str("\\p{N}"), false);
}

/* Cutting into letters itself is what bpe.c does; here its own split and
 * space. trim_offsets changes no id. */
static int load_byte_level(tinker__load_t *l, tinker__str_t raw) {
  static const char *const keys[4] = {"type", "add_prefix_space",
                                      "trim_offsets", "use_regex"};
  tinker__str_t value[4];
  bool space = true, regex = true;
  int rc = tinker__values_object(&l->v, raw, "pre_tokenizer", keys, value, 4);
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, value[1], "pre_tokenizer: add_prefix_space",
                             true, &space);
  }
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, value[3], "pre_tokenizer: use_regex", true,
                             &regex);
  }
  if (rc || (!space && !regex)) return rc;
  tinker__split_t *step = next_step(l);
  if (!step) return TINKER_EOVERFLOW;
  step->prefix_space = space;
  return regex ? compile(l, step, tinker__str(BYTE_LEVEL_PATTERN), false) : 0;
}

static int one_step(tinker__load_t *l, const char *type, tinker__str_t raw) {
  if (l->byte_level) {
    return tinker__values_fail(&l->v, TINKER_ENOTSUP, "pre_tokenizer",
                               "a step behind ByteLevel");
  }
  if (strcmp(type, "Split") == 0) return load_split(l, raw);
  if (strcmp(type, "Digits") == 0) return load_digits(l, raw);
  if (strcmp(type, "ByteLevel") != 0) {
    return unknown_type(l, "pre_tokenizer", type);
  }
  l->byte_level = true;
  return load_byte_level(l, raw);
}

int tinker__load_steps(tinker__load_t *l, tinker__str_t raw) {
  int rc = 0;
  if (raw.len) {
    rc = tinker__load_component(l, raw, "pre_tokenizer", "pretokenizers",
                                one_step);
  }
  if (rc == 0 && !l->byte_level) {
    rc = tinker__values_fail(&l->v, TINKER_ENOTSUP, "pre_tokenizer",
                             "no ByteLevel");
  }
  return rc;
}

static int one_decoder(tinker__load_t *l, const char *type, tinker__str_t raw) {
  (void)raw;
  if (strcmp(type, "ByteLevel") != 0) return unknown_type(l, "decoder", type);
  if (l->decoder) {
    return tinker__values_fail(&l->v, TINKER_ENOTSUP, "decoder",
                               "ByteLevel twice");
  }
  l->decoder = true;
  return 0;
}

int tinker__load_decoder(tinker__load_t *l, tinker__str_t raw) {
  int rc = 0;
  if (raw.len) {
    rc = tinker__load_component(l, raw, "decoder", "decoders", one_decoder);
  }
  if (rc == 0 && !l->decoder) {
    rc = tinker__values_fail(&l->v, TINKER_ENOTSUP, "decoder", "not ByteLevel");
  }
  return rc;
}
