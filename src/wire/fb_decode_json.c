/* fb_decode_json: the retired JSON form of forward_backward, and prompts in
 * JSON (protocol 8.1, 17.4). */
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_decode.h"
#include "wire/messages.h"

static int json_fail(const tinker__json_t *j, const tinker__where_t *at) {
  return tinker__where(at, j->error, "%s", j->reason);
}

/* Fails with the reader's error, for a field outside the datums. */
static int field_fail(const tinker__fb_decoder_t *d, const tinker__json_t *j,
                      const char *name) {
  return tinker__fb_fail(d, j->error, name, j->reason);
}

/* The tokens of a text chunk, copied into the arena. */
static int take_tokens(tinker__chunk_view_t *out, tinker__arena_t *arena,
                       tinker__json_t *j, const tinker__where_t *at) {
  int32_t *v = NULL;
  size_t n = 0;
  int rc = 0;
  if (tinker__json_i32_array(j, &v, &n, TINKER__MAX_TOKENS)) {
    int32_t *copy = tinker__arena_alloc(arena, n * sizeof(*v));
    if (!copy) {
      rc = tinker__where(at, tinker__arena_error(arena), "%s",
                         tinker__arena_trouble(arena));
    } else if (n) {
      memcpy(copy, v, n * sizeof(*v));
    }
    *out = tinker__text_chunk(copy, n);
  } else {
    rc = json_fail(j, at);
  }
  tinker__mem_free(j->mem, v);
  return rc;
}

static int take_chunk(tinker__chunk_view_t *out, tinker__arena_t *arena,
                      tinker__json_t *j, const tinker__where_t *at) {
  tinker__str_t key, type = TINKER__STR("encoded_text");
  bool tokens = false;
  int rc = 0;
  tinker__json_object(j);
  while (!rc && tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "type")) {
      tinker__json_string(j, &type);
    } else if (tinker__str_eqs(key, "tokens")) {
      if (tokens) return tinker__where(at, TINKER_EINVAL, "tokens given twice");
      tokens = true;
      rc = take_tokens(out, arena, j, at);
    } else {
      tinker__json_skip(j);
    }
  }
  if (!rc && j->error) return json_fail(j, at);
  if (!rc && (!tokens || !tinker__str_eqs(type, "encoded_text"))) {
    return tinker__where(
        at, TINKER_EINVAL,
        "only encoded_text chunks are supported, no image or audio");
  }
  return rc;
}

static int take_chunks(const tinker__chunk_view_t **out, size_t *count,
                       tinker__arena_t *arena, tinker__json_t *j,
                       const tinker__where_t *at) {
  tinker__chunk_view_t *chunks = NULL;
  size_t n = 0, cap = 0, tokens = 0;
  tinker__json_array(j);
  while (tinker__json_more(j)) {
    chunks = n < TINKER__MAX_CHUNKS
                 ? tinker__arena_grow(arena, chunks, n, &cap, sizeof(*chunks))
                 : NULL;
    if (!chunks && n < TINKER__MAX_CHUNKS) {
      return tinker__where(at, tinker__arena_error(arena), "%s",
                           tinker__arena_trouble(arena));
    }
    if (!chunks) {
      return tinker__where(at, TINKER_EOVERFLOW, "more than %d chunks",
                           TINKER__MAX_CHUNKS);
    }
    int rc = take_chunk(&chunks[n], arena, j, at);
    if (rc) return rc;
    tokens += chunks[n++].text.count;
    if (tokens > TINKER__MAX_TOKENS) {
      return tinker__where(at, TINKER_EOVERFLOW, "more than %u tokens",
                           TINKER__MAX_TOKENS);
    }
  }
  *out = chunks;
  *count = n;
  return j->error ? json_fail(j, at) : 0;
}

int tinker__prompt_from_json(const tinker__chunk_view_t **chunks, size_t *count,
                             tinker__arena_t *arena, tinker__json_t *j,
                             const tinker__where_t *at) {
  tinker__str_t key;
  bool seen = false;
  int rc = 0;
  tinker__json_object(j);
  while (!rc && tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "chunks")) {
      if (seen) return tinker__where(at, TINKER_EINVAL, "chunks given twice");
      seen = true;
      rc = take_chunks(chunks, count, arena, j, at);
    } else {
      tinker__json_skip(j);
    }
  }
  if (!rc && j->error) rc = json_fail(j, at);
  if (!rc && !seen) rc = tinker__where(at, TINKER_EINVAL, "chunks are missing");
  return rc;
}

static int take_inputs(tinker__fb_decoder_t *d, tinker__json_t *j,
                       tinker__datum_view_t *out, size_t index) {
  tinker__where_t at = {"data",          index,  "loss_fn_inputs",
                        TINKER__STR(""), d->why, d->why_len};
  tinker__named_tensor_t *inputs = NULL;
  size_t n = 0, cap = 0;
  tinker__str_t key;
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    if (n == TINKER__MAX_INPUTS) {
      return tinker__where(&at, TINKER_EOVERFLOW, "more than %d tensors",
                           TINKER__MAX_INPUTS);
    }
    int rc = tinker__fb_name(d, "data.loss_fn_inputs", key);
    inputs = tinker__arena_grow(d->arena, inputs, n, &cap, sizeof(*inputs));
    char *name = tinker__arena_str(d->arena, key);
    if (!rc && (!inputs || !name)) rc = tinker__fb_no_memory(d);
    if (rc) return rc;
    at.name = inputs[n].name = (tinker__str_t){name, key.len};
    rc = tinker__tensor_from_json(&inputs[n].tensor, d->arena, j, 0, &at);
    if (rc) return rc;
    n++;
    at.name = TINKER__STR("");
  }
  out->inputs = inputs;
  out->input_count = n;
  return j->error ? json_fail(j, &at) : tinker__fb_sort_inputs(d, out, index);
}

static int take_datum(tinker__fb_decoder_t *d, tinker__json_t *j,
                      tinker__datum_view_t *out, size_t index) {
  tinker__where_t at = {"data",          index,  "model_input",
                        TINKER__STR(""), d->why, d->why_len};
  tinker__str_t key;
  unsigned seen = 0;
  int rc = 0;
  memset(out, 0, sizeof(*out));
  tinker__json_object(j);
  while (!rc && tinker__json_key(j, &key)) {
    if (tinker__str_eqs(key, "model_input")) {
      if (tinker__again(&seen, 1)) {
        return tinker__where(&at, TINKER_EINVAL, "given twice");
      }
      rc = tinker__prompt_from_json(&out->chunks, &out->chunk_count, d->arena,
                                    j, &at);
    } else if (tinker__str_eqs(key, "loss_fn_inputs")) {
      if (tinker__again(&seen, 2)) {
        return tinker__fb_fail(d, TINKER_EINVAL, "data.loss_fn_inputs",
                               "given twice");
      }
      rc = take_inputs(d, j, out, index);
    } else {
      tinker__json_skip(j);
    }
  }
  if (!rc && j->error) rc = json_fail(j, &at);
  if (!rc && !(seen & 1)) rc = tinker__where(&at, TINKER_EINVAL, "is missing");
  return rc;
}

static int take_data(tinker__fb_decoder_t *d, tinker__json_t *j) {
  tinker__datum_view_t *datums = NULL;
  size_t n = 0, cap = 0;
  tinker__json_array(j);
  while (tinker__json_more(j)) {
    if (n == TINKER__MAX_DATUMS) {
      return tinker__fb_fail(d, TINKER_EOVERFLOW, "data", "too many datums");
    }
    datums = tinker__arena_grow(d->arena, datums, n, &cap, sizeof(*datums));
    if (!datums) return tinker__fb_no_memory(d);
    int rc = take_datum(d, j, &datums[n], n);
    if (rc) return rc;
    n++;
  }
  d->view->datums = datums;
  d->view->datum_count = n;
  return j->error ? field_fail(d, j, "data") : 0;
}

static int take_text(tinker__fb_decoder_t *d, tinker__json_t *j,
                     const char *name, tinker__str_t *out) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s)) return field_fail(d, j, name);
  if (s.len > TINKER__MAX_TEXT || memchr(s.ptr, 0, s.len)) {
    return tinker__fb_fail(d, TINKER_EINVAL, name,
                           "too long, or contains a NUL");
  }
  char *copy = tinker__arena_str(d->arena, s);
  if (!copy) return tinker__fb_no_memory(d);
  *out = (tinker__str_t){copy, s.len};
  return 0;
}

static int take_config(tinker__fb_decoder_t *d, tinker__json_t *j) {
  tinker__config_entry_t *c = NULL;
  size_t n = 0, cap = 0;
  tinker__str_t key;
  if (tinker__json_peek(j) == TINKER__JSON_NULL) {
    return tinker__json_null(j) ? 0 : j->error;
  }
  tinker__json_object(j);
  while (tinker__json_key(j, &key)) {
    if (n == TINKER__MAX_CONFIG) {
      return tinker__fb_fail(d, TINKER_EOVERFLOW, "loss_fn_config",
                             "too many entries");
    }
    c = tinker__arena_grow(d->arena, c, n, &cap, sizeof(*c));
    char *name = tinker__arena_str(d->arena, key);
    if (!c || !name) return tinker__fb_no_memory(d);
    c[n] = (tinker__config_entry_t){
        .name = {name, key.len},
        .text = TINKER__STR(""),
    };
    c[n].is_text = tinker__json_peek(j) == TINKER__JSON_STRING;
    int rc = 0;
    if (c[n].is_text) {
      rc = take_text(d, j, "loss_fn_config", &c[n].text);
    } else {
      tinker__json_f64(j, &c[n].number);
    }
    if (rc) return rc;
    n++;
  }
  return j->error ? field_fail(d, j, "loss_fn_config")
                  : tinker__fb_set_config(d, c, n);
}

/* The inner object, forward_backward_input or forward_input. */
static int take_input(tinker__fb_decoder_t *d, tinker__json_t *j,
                      const char *name) {
  static const char *const names[] = {"data", "loss_fn", "loss_fn_config"};
  tinker__str_t key;
  unsigned seen = 0;
  int rc = 0;
  tinker__json_object(j);
  while (!rc && tinker__json_key(j, &key)) {
    unsigned i = 0;
    while (i < 3 && !tinker__str_eqs(key, names[i])) i++;
    if (i < 3 && tinker__again(&seen, 1u << i)) {
      return tinker__fb_fail(d, TINKER_EINVAL, names[i], "given twice");
    }
    if (i == 0) {
      rc = take_data(d, j);
    } else if (i == 1) {
      rc = take_text(d, j, names[i], &d->view->loss_fn);
    } else if (i == 2) {
      rc = take_config(d, j);
    } else {
      tinker__json_skip(j);
    }
  }
  return !rc && j->error ? field_fail(d, j, name) : rc;
}

typedef struct {
  tinker__fb_decoder_t *d;
  unsigned seen;
} top_t;

/* A field beside model and number. */
static int take_top(void *user, tinker__json_t *j, tinker__str_t key,
                    bool skips) {
  top_t *t = user;
  tinker__fb_decoder_t *d = t->d;
  bool forward = tinker__str_eqs(key, "forward_input");
  bool input = forward || tinker__str_eqs(key, "forward_backward_input");
  if (input && tinker__json_peek(j) != TINKER__JSON_NULL) {
    d->request->inputs |=
        forward ? TINKER__FB_HAS_FORWARD : TINKER__FB_HAS_BACKWARD;
  }
  if (!input || skips) {
    tinker__json_skip(j);
    return 0;
  }
  const char *name = forward ? "forward_input" : "forward_backward_input";
  if (tinker__again(&t->seen, 1)) {
    return tinker__fb_fail(d, TINKER_EINVAL, name, "given twice");
  }
  if (forward) d->view->forward_only = true;
  return take_input(d, j, name);
}

int tinker__fb_decode_json(tinker__fb_decoder_t *d, tinker__str_t body) {
  tinker__call_head_t head;
  top_t top = {.d = d};
  int rc = tinker__message_decode_call(&tinker__call_head_msg, &head, d->arena,
                                       body, take_top, &top, &d->request->head,
                                       d->why, d->why_len);
  d->request->has_model_id = head.model_id != NULL;
  d->request->has_seq_id = head.has_seq_id;
  if (head.model_id) d->view->model_id = tinker__str(head.model_id);
  d->view->seq_id = head.seq_id;
  return rc;
}
