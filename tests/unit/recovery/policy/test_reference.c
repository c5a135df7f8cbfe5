/* The tables of docs/recovery-policy.md are those of policy_table.c. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "policy/policy.h"

#define PAGE TINKER_SOURCE_DIR "/docs/recovery-policy.md"
#define HEAD                                                                   \
  "| Key | Kind | Default | Allowed | Meaning |\n|---|---|---|---|---|\n"

/* The page must have the rows directly after HEAD, and end with them. When it
 * has not, what it should be is written beside the test, to be copied. */
Test(reference, page_is_made_of_the_table) {
  tinker__mem_t mem;
  tinker__buf_t page, want;
  char why[300] = "";
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&page, &mem, 1 << 20);
  tinker__buf_init(&want, &mem, 1 << 20);
  tinker__file_read(tinker__world_real(), PAGE, &page, why, sizeof why);
  cr_assert_str_empty(why);
  const char *head = strstr(tinker__buf_cstr(&page), HEAD);
  cr_assert_not_null(head, "no table in " PAGE);
  tinker__buf_add(&want, page.data, (size_t)(head - page.data) + strlen(HEAD));
  tinker__yaml_reference(&want, tinker__rec_policy_table, "");
  if (strcmp(page.data, tinker__buf_cstr(&want)) != 0) {
    FILE *f = fopen("recovery-policy.md", "w");
    cr_assert_not_null(f);
    fputs(want.data, f);
    fclose(f);
    cr_assert_fail(PAGE " is not made of the table: recovery-policy.md in the "
                        "working folder is");
  }
  tinker__buf_free(&page);
  tinker__buf_free(&want);
}
