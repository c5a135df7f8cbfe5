/* The digest of what a JSON body means. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "service/parse/body.h"
#include "support/fail_alloc.h"

static const char one[] = "{\"a\":[1,{\"b\":\"x\",\"c\":2}],\"s\":5,"
                          "\"d\":\"\\u0041\",\"f\":1e2}";

Test(body, digest_is_of_the_meaning) {
  tinker__mem_t mem;
  unsigned char a[32], b[32];
  tinker__mem_init(&mem, NULL, 0);
  const char *const same[] = {
      "{\"s\":5,\"d\":\"A\",\"a\":[1,{\"c\":2,\"b\":\"x\"}],\"f\":1e2}",
      (" { \"a\" : [ 1 , {\"b\":\"x\", \"c\":2} ] ,\"s\":77,\"d\":\"A\","
       "\"f\":100.0} "),
      "{\"a\":[1,{\"b\":\"x\",\"c\":2}],\"d\":\"A\",\"f\":1.00E+2}"};
  const char *const other[] = {
      "{\"a\":[1,{\"b\":\"x\",\"c\":3}],\"d\":\"A\",\"f\":1e2}",
      "{\"a\":[1,{\"b\":\"x\"}],\"c\":2,\"d\":\"A\",\"f\":1e2}",
      "{\"a\":[{\"b\":\"x\",\"c\":2},1],\"d\":\"A\",\"f\":1e2}",
      "{\"a\":[1,{\"b\":\"x\",\"c\":2,\"s\":5}],\"d\":\"A\",\"f\":1e2}",
      "{\"a\":[\"1\",{\"b\":\"x\",\"c\":2}],\"d\":\"A\",\"f\":1e2}",
      "{\"a\":[1,{\"b\":\"x\",\"c\":2}],\"d\":\"A\",\"f\":1e3}",
      "{}"};
  cr_assert_eq(tinker__svc_body_digest(&mem, tinker__str(one), "s", a), 0);
  for (size_t i = 0; i < 3; i++) {
    cr_assert_eq(tinker__svc_body_digest(&mem, tinker__str(same[i]), "s", b),
                 0);
    cr_assert_arr_eq(a, b, 32, "%s", same[i]);
  }
  for (size_t i = 0; i < 7; i++) {
    cr_assert_eq(tinker__svc_body_digest(&mem, tinker__str(other[i]), "s", b),
                 0);
    cr_assert(memcmp(a, b, 32), "%s", other[i]);
  }
  cr_assert_eq(tinker__svc_body_digest(&mem, tinker__str(one), NULL, b), 0);
  cr_assert(memcmp(a, b, 32));
  cr_assert_eq(mem.live_blocks, 0);
}

/* Computed by the first version of the digest: stores hold it. */
static const char deep[] =
    "{\"b\":{\"z\":[{\"y\":1,\"x\":[[{}],[{\"q\":null,\"p\":true}]]},2.50],"
    "\"a\":{}},\"a\\u0062\":[[],{\"k\":\"v\",\"k\":\"w\"}],\"\":-0.0}";

Test(body, digest_of_nested_objects_stays) {
  tinker__mem_t mem;
  unsigned char d[32];
  char hex[65];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_body_digest(&mem, tinker__str(deep), "q", d), 0);
  for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", d[i]);
  cr_assert_str_eq(
      hex, "d7c0c35fcbe33e0ba75f3e41478ef527fabe57aaad5206bb4b6ccd5cffb9e76e");
  cr_assert_eq(mem.live_blocks, 0);
}

/* However deep a text is nested, its bytes are read twice at most. */
Test(body, digest_reads_a_deep_text_as_often_as_a_flat_one) {
  enum { DEPTH = 60, WIDE = 1000 };
  tinker__mem_t mem;
  tinker__buf_t text;
  unsigned char d[32];
  size_t read = 0;
  tinker__mem_init(&mem, NULL, 0);
  for (int objects = 0; objects < 2; objects++) {
    tinker__buf_init(&text, &mem, 1 << 20);
    for (int i = 0; i < DEPTH; i++) {
      tinker__buf_adds(&text, objects ? "{\"\":" : "[");
    }
    tinker__buf_adds(&text, "[1");
    for (int i = 0; i < WIDE; i++) tinker__buf_adds(&text, ",1");
    tinker__buf_adds(&text, "]");
    for (int i = 0; i < DEPTH; i++) {
      tinker__buf_adds(&text, objects ? "}" : "]");
    }
    cr_assert_eq(tinker__svc_body_digest_read(&mem, tinker__buf_str(&text),
                                              NULL, d, &read),
                 0);
    cr_assert_leq(read, 2 * text.len);
    cr_assert_gt(read, text.len);
    tinker__buf_free(&text);
  }
  for (int i = 0; i < 2; i++) { /* and one too deep is refused */
    char too_deep[200];
    memset(too_deep, i ? '[' : '1', sizeof too_deep);
    memset(too_deep, '[', TINKER__JSON_MAX_DEPTH + (size_t)i);
    cr_assert_eq(tinker__svc_body_digest(
                     &mem, (tinker__str_t){too_deep, sizeof too_deep}, NULL, d),
                 TINKER_EJSON);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

static int digest(tinker__mem_t *mem, void *user) {
  unsigned char out[32];
  (void)user;
  return tinker__svc_body_digest(mem, tinker__str(one), NULL, out);
}

Test(body, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(digest, NULL, TINKER_ENOMEM), 3);
}
