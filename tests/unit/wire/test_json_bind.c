/* Caps of what a small message may hold, at their edges. */
#include "wire_test.h"

#include "wire/fb_request.h"
#include "wire/messages.h"

TestSuite(json_bind, .init = wire_setup, .fini = wire_teardown);

/* head, then n times `item` with `between` in the gaps, then tail. */
static char *repeat(const char *head, const char *item, const char *between,
                    size_t n, const char *tail) {
  size_t step = strlen(item) + strlen(between);
  char *text = malloc(strlen(head) + n * step + strlen(tail) + 1);
  char *at = text + sprintf(text, "%s", head);
  for (size_t i = 0; i < n; i++) {
    at += sprintf(at, "%s%s", i ? between : "", item);
  }
  sprintf(at, "%s", tail);
  return text;
}

static int decode(const tinker__bind_table_t *table, char *text) {
  static char out[4096];
  cr_assert_leq(table->size, sizeof(out));
  int rc = tinker__message_decode(table, out, &arena, tinker__str(text), why,
                                  sizeof(why));
  free(text);
  return rc;
}

Test(json_bind, texts_and_lists_have_a_cap) {
  static const struct {
    const tinker__bind_table_t *table;
    const char *head, *item, *between, *tail, *field;
    size_t most;
  } rows[] = {{&tinker__create_model_result_msg, "{\"model_id\":\"", "x", "",
               "\"}", "model_id", TINKER__MAX_TEXT},
              {&tinker__capabilities_reply_msg, "{\"supported_models\":[", "{}",
               ",", "]}", "supported_models", TINKER__MAX_LIST},
              {&tinker__accepted_msg,
               "{\"request_id\":\"r\",\"sample_sequence_ids\":[", "\"a\"", ",",
               "]}", "sample_sequence_ids", TINKER__MAX_SEQUENCES},
              {&tinker__load_weights_msg,
               "{\"path\":\"p\",\"optimizer\":true,\"optimizer_config\":[", "1",
               ",", "]}", "optimizer_config", 8 * TINKER__MAX_TEXT - 1}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    size_t most = rows[i].most;
    cr_assert_eq(
        decode(rows[i].table, repeat(rows[i].head, rows[i].item,
                                     rows[i].between, most, rows[i].tail)),
        0, "%s: %s", rows[i].field, why);
    cr_assert_eq(
        decode(rows[i].table, repeat(rows[i].head, rows[i].item,
                                     rows[i].between, most + 1, rows[i].tail)),
        TINKER_EOVERFLOW, "%s", rows[i].field);
    cr_assert_not_null(strstr(why, rows[i].field), "%s", why);
  }
}

/* What the service reads again out of its log has no cap but the body's. */
Test(json_bind, what_is_in_a_log_stays_readable) {
  tinker__create_session_t m;
  char *text = repeat("{\"user_metadata\":{\"a\":\"", "x", "",
                      17 * TINKER__MAX_TEXT, "\"},\"display_name\":\"\"}");
  cr_assert_eq(tinker__message_decode(&tinker__create_session_msg, &m, &arena,
                                      tinker__str(text), why, sizeof(why)),
               0, "%s", why);
  cr_assert_eq(m.user_metadata.len,
               17 * TINKER__MAX_TEXT + strlen("{\"a\":\"\"}"));
  free(text);
  /* The tags, which nobody keeps, are not looked at. */
  cr_assert_eq(
      tinker__message_decode(
          &tinker__kept_session_msg, &m, &arena,
          TINKER__STR("{\"tags\":[\"a\\u0000\"],\"display_name\":\"d\"}"), why,
          sizeof(why)),
      0, "%s", why);
  cr_assert_str_eq(m.display_name, "d");
}

/* null is a value where the row says so: it is there, without a number. */
Test(json_bind, null_where_it_is_a_value) {
  tinker__set_ttl_t m;
  static const struct {
    const char *text;
    int code;
    bool has;
  } rows[] = {{"{\"ttl_seconds\":7}", 0, true},
              {"{\"ttl_seconds\":null}", 0, false},
              {"{}", TINKER_EINVAL, false}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    cr_assert_eq(tinker__message_decode(&tinker__set_ttl_msg, &m, &arena,
                                        tinker__str(rows[i].text), why,
                                        sizeof(why)),
                 rows[i].code, "%s", rows[i].text);
    cr_assert_eq(m.has_ttl_seconds, rows[i].has, "%s", rows[i].text);
  }
}

/* Numbers of requests are int32 on the wire, in JSON too. */
Test(json_bind, numbers_of_requests) {
  static const char *const texts[] = {"2147483647", "2147483648", "-1"};
  for (int i = 0; i < 3; i++) {
    char body[400];
    tinker__fb_request_t r;
    snprintf(body, sizeof(body),
             "{\"model_id\":\"m\",\"seq_id\":%s,\"forward_backward_input\":{"
             "\"data\":[],\"loss_fn\":\"ppo\"}}",
             texts[i]);
    int rc = tinker__fb_request_decode(&r, &arena, tinker__str(body),
                                       TINKER__FB_JSON, false, 1 << 20, why,
                                       sizeof(why));
    cr_assert_eq(rc, i ? TINKER_EINVAL : 0, "%s: %s", texts[i], why);
    if (rc) cr_assert_not_null(strstr(why, "seq_id"), "%s", why);
  }
}
