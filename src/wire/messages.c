/* messages: the generic half of messages.h. */
#include "wire/messages.h"

#include <string.h>
#include <tinker/error.h>

#include "wire/body_write.h"

/* No small message is longer. */
#define MAX_MESSAGE ((size_t)4 << 20)

int tinker__message_encode(tinker__buf_t *out,
                           const tinker__bind_table_t *table, const void *in) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__bind_write(&w, table, in, false);
  return tinker__buf_error(out);
}

int tinker__message_encode_numbered(tinker__wire_body_t *out,
                                    tinker__mem_t *mem,
                                    const tinker__bind_table_t *table,
                                    const void *in, tinker__str_t model_id) {
  tinker__body_writer_t b;
  tinker__jsonw_t w;
  tinker__body_begin(&b, out, mem, TINKER__BODY_MODEL, model_id, 0);
  b.text.max = MAX_MESSAGE;
  tinker__jsonw_init(&w, &b.text);
  tinker__bind_write_fields(&w, table, in, true);
  tinker__buf_addc(&b.text, '}');
  out->estimate = b.text.len;
  return tinker__body_end(&b);
}

int tinker__message_decode_part(const tinker__bind_table_t *table, void *out,
                                tinker__arena_t *arena, tinker__str_t text,
                                const char *prefix, char *why, size_t why_len) {
  tinker__json_t j;
  tinker__decode_budget(arena, text.len);
  tinker__json_init(&j, arena->mem, text.ptr, text.len);
  int rc = tinker__bind_read(&j, arena, table, prefix, out, why, why_len);
  if (!rc && tinker__json_end(&j)) {
    rc = tinker__bind_malformed(&j, prefix, why, why_len);
  }
  tinker__json_done(&j);
  tinker__arena_allow_all(arena);
  return rc;
}

int tinker__message_decode(const tinker__bind_table_t *table, void *out,
                           tinker__arena_t *arena, tinker__str_t body,
                           char *why, size_t why_len) {
  return tinker__message_decode_part(table, out, arena, body, "", why, why_len);
}

int tinker__message_decode_call(const tinker__bind_table_t *table, void *out,
                                tinker__arena_t *arena, tinker__str_t body,
                                tinker__bind_rest_t rest, void *user,
                                tinker__bind_head_t *head, char *why,
                                size_t why_len) {
  tinker__json_t j;
  tinker__decode_budget(arena, body.len);
  tinker__json_init(&j, arena->mem, body.ptr, body.len);
  int rc = tinker__bind_read_call(&j, arena, table, out, rest, user, head, why,
                                  why_len);
  tinker__json_done(&j);
  tinker__arena_allow_all(arena);
  return rc;
}
