/* The digest of what a JSON body means. */
#include <criterion/criterion.h>
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

static int digest(tinker__mem_t *mem, void *user) {
  unsigned char out[32];
  (void)user;
  return tinker__svc_body_digest(mem, tinker__str(one), NULL, out);
}

Test(body, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(digest, NULL, TINKER_ENOMEM), 3);
}
