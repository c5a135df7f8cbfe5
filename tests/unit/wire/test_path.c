/* The words of a checkpoint's path. */
#include <criterion/criterion.h>

#include "wire/path.h"

Test(path, what_is_one_and_its_parts) {
  tinker__str_t part[3];
  static const struct {
    const char *text;
    bool is, splits;
  } rows[] = {{"tinker://R:train:0/weights/n", true, true},
              {"tinker://R/sampler_weights/a.b", true, true},
              {"tinker://R/weights/", true, false},
              {"tinker://R//n", true, false},
              {"tinker:///weights/n", true, false},
              {"tinker://R/weights", true, false},
              {"tinker://R/weights/a/b", true, false},
              {"tinker://", false, false},
              {"tinker:/R/weights/n", false, false},
              {"", false, false}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    cr_assert_eq(tinker__path_is(rows[i].text), rows[i].is, "%s", rows[i].text);
    cr_assert_eq(tinker__path_split(tinker__str(rows[i].text), part),
                 rows[i].splits, "%s", rows[i].text);
  }
  cr_assert_not(tinker__path_is(NULL));
  cr_assert(tinker__path_split(TINKER__STR("tinker://R/weights/n"), part));
  cr_assert(tinker__str_eqs(part[0], "R") &&
            tinker__str_eqs(part[1], TINKER__PATH_TRAINING) &&
            tinker__str_eqs(part[2], "n"));
}
