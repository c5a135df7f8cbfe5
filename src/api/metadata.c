/* metadata: see metadata.h. */
#include "api/metadata.h"

#include <string.h>

#include "base/json_write.h"

/* The service takes no more for a model. */
#define MAX_BYTES 65536
#define MAX_COUNT 256
#define MAX_NAME 256
#define MAX_VALUE 16384

static int text_fault(size_t at, const char *member, const char *s, size_t most,
                      bool may_be_empty, char *why, size_t why_len) {
  size_t n = s ? strlen(s) : 0;
  if (!s) {
    return tinker__why(why, why_len, TINKER_EINVAL, "metadata[%zu].%s is NULL",
                       at, member);
  }
  if ((n == 0 && !may_be_empty) || n > most) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "metadata[%zu].%s has %zu bytes: want %d to %zu", at,
                       member, n, may_be_empty ? 0 : 1, most);
  }
  if (tinker__utf8_valid(s, n)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "metadata[%zu].%s is not UTF-8", at, member);
}

/* An object with one name twice means something else to each reader. */
static int check_entry(const tinker_metadata_t *list, size_t at, char *why,
                       size_t why_len) {
  const tinker_metadata_t *m = &list[at];
  int rc = text_fault(at, "name", m->name, MAX_NAME, false, why, why_len);
  if (rc == 0) {
    rc = text_fault(at, "value", m->value, MAX_VALUE, true, why, why_len);
  }
  for (size_t i = 0; i < at && rc == 0; i++) {
    if (strcmp(list[i].name, m->name) != 0) continue;
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "metadata[%zu].name is that of metadata[%zu], too", at, i);
  }
  return rc;
}

static int check(const tinker_metadata_t *list, size_t count, char *why,
                 size_t why_len) {
  int rc = 0;
  if (count > MAX_COUNT || !list) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "metadata: metadata_count is %zu: want at most %d, and "
                       "an array of them",
                       count, MAX_COUNT);
  }
  for (size_t i = 0; i < count && rc == 0; i++) {
    rc = check_entry(list, i, why, why_len);
  }
  return rc;
}

int tinker__metadata_write(tinker__buf_t *out, const tinker_metadata_t *list,
                           size_t count, char *why, size_t why_len) {
  tinker__jsonw_t w;
  tinker__buf_clear(out);
  if (count == 0) return 0;
  int rc = check(list, count, why, why_len);
  if (rc != 0) return rc;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  for (size_t i = 0; i < count; i++) {
    tinker__jsonw_key(&w, list[i].name);
    tinker__jsonw_cstr(&w, list[i].value);
  }
  tinker__jsonw_end_object(&w);
  rc = tinker__buf_error(out);
  if (rc != 0) return tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
  if (out->len <= MAX_BYTES) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "metadata has %zu bytes as JSON: want at most %d",
                     out->len, MAX_BYTES);
}

tinker__str_t tinker__call_metadata(tinker__call_t *call, tinker__buf_t *out,
                                    const tinker_metadata_t *list,
                                    size_t count) {
  char why[TINKER__CALL_WHY];
  tinker__buf_init(out, call->core->mem, SIZE_MAX / 2);
  if (call->rc) return tinker__str("");
  int rc = tinker__metadata_write(out, list, count, why, sizeof why);
  if (rc) tinker__call_refuse(call, rc, "%s", why);
  return tinker__buf_str(out);
}
