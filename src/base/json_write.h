/* json_write: JSON into a buffer: commas and escapes are its business. Errors
 * stick in the buffer (tinker__buf_error); a string that is not UTF-8 is
 * TINKER_EINVAL. Characters that must not reach a terminal (show.h) are
 * escaped. A float has a fraction or an exponent, so that no reader takes it
 * for an integer ("0.0"); one that is not finite is written as null. Not
 * thread-safe; pure. */
#ifndef TINKER_BASE_JSON_WRITE_H
#define TINKER_BASE_JSON_WRITE_H

#include "base/buf.h"

typedef struct tinker__jsonw_s {
  tinker__buf_t *out;
  bool need_comma;
} tinker__jsonw_t;

void tinker__jsonw_init(tinker__jsonw_t *w, tinker__buf_t *out);
void tinker__jsonw_begin_object(tinker__jsonw_t *w);
void tinker__jsonw_end_object(tinker__jsonw_t *w);
void tinker__jsonw_begin_array(tinker__jsonw_t *w);
void tinker__jsonw_end_array(tinker__jsonw_t *w);
void tinker__jsonw_key(tinker__jsonw_t *w, const char *key);
void tinker__jsonw_keyn(tinker__jsonw_t *w, tinker__str_t key);
void tinker__jsonw_str(tinker__jsonw_t *w, tinker__str_t s); /* valid UTF-8 */
void tinker__jsonw_cstr(tinker__jsonw_t *w, const char *s);  /* NULL = null */
void tinker__jsonw_i64(tinker__jsonw_t *w, int64_t v);
void tinker__jsonw_u64(tinker__jsonw_t *w, uint64_t v);
void tinker__jsonw_f64(tinker__jsonw_t *w, double v);
void tinker__jsonw_f32(tinker__jsonw_t *w, float v); /* shortest float text */
void tinker__jsonw_bool(tinker__jsonw_t *w, bool v);
void tinker__jsonw_null(tinker__jsonw_t *w);
/* One value that is JSON already. */
void tinker__jsonw_raw(tinker__jsonw_t *w, tinker__str_t json);
/* Whole arrays, the hot path of sampling. */
void tinker__jsonw_i32_array(tinker__jsonw_t *w, const int32_t *v, size_t n);
void tinker__jsonw_i64_array(tinker__jsonw_t *w, const int64_t *v, size_t n);
void tinker__jsonw_f32_array(tinker__jsonw_t *w, const float *v, size_t n);

#endif
