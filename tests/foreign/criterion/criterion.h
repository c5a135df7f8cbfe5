/* criterion: as much of Criterion as the tests of local/cpu use, for machines
 * that have none. A failure ends the program. */
#ifndef TINKER_TESTS_FOREIGN_CRITERION_H
#define TINKER_TESTS_FOREIGN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>

void foreign_add(const char *name, void (*run)(void));
void foreign_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void foreign_check(bool good, const char *file, int line, const char *what,
                   const char *format, ...)
    __attribute__((format(printf, 5, 6)));

#define Test(suite, name)                                                      \
  static void suite##_##name(void);                                            \
  __attribute__((constructor)) static void suite##_##name##_add(void) {        \
    foreign_add(#suite "/" #name, suite##_##name);                             \
  }                                                                            \
  static void suite##_##name(void)

#define cr_log_info(...) foreign_log(__VA_ARGS__)
#define cr_skip_test(...)                                                      \
  do {                                                                         \
    foreign_log("skipped: " __VA_ARGS__);                                      \
    return;                                                                    \
  } while (0)
#define cr_assert(x, ...)                                                      \
  foreign_check(x, __FILE__, __LINE__, #x, " " __VA_ARGS__)
#define cr_assert_not(x, ...) cr_assert(!(x), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_null(x, ...) cr_assert((x) == NULL, __VA_ARGS__)
#define cr_assert_not_null(x, ...) cr_assert((x) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)                                            \
  cr_assert(strcmp((a), (b)) == 0, __VA_ARGS__)

#endif
