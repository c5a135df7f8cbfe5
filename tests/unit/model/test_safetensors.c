/* safetensors: written and read back, malformed headers, every cut. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "model/safetensors.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(safetensors, .init = setup, .fini = teardown);

static const float floats[6] = {1, -2, 3.5f, 0, 1e-30f, -0.0f};
static const uint16_t halves[3] = {0x3f80, 0xbf80, 0x7f80};

static const tinker__tensor_t some[] = {
    {.name = {"b.half", 6},
     .dtype = TINKER__WEIGHT_BF16,
     .rank = 1,
     .shape = {3},
     .data = halves},
    {.name = {"z \"quoted\"", 10},
     .dtype = TINKER__WEIGHT_F32,
     .rank = 2,
     .shape = {2, 3},
     .data = floats},
    {.name = {"a", 1}, .dtype = TINKER__WEIGHT_F32, .rank = 0, .data = floats},
    {.name = {"empty", 5},
     .dtype = TINKER__WEIGHT_F16,
     .rank = 2,
     .shape = {0, 4},
     .data = NULL},
};
static const tinker__meta_t meta[] = {{"format", "pt"}, {"n", "\"1\"\n"}};

static int write_some(tinker__buf_t *b, tinker__mem_t *m) {
  return tinker__safetensors_write(b, m, some, 4, meta, 2, NULL, 0);
}

Test(safetensors, writes_and_reads_back) {
  tinker__buf_t b, again;
  tinker__safetensors_t *st = NULL;
  tinker__str_t value;
  char why[256] = "";
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__buf_init(&again, &mem, 1 << 20);
  cr_assert_eq(write_some(&b, &mem), 0);
  cr_assert_eq(write_some(&again, &mem), 0);
  cr_assert(tinker__str_eq(tinker__buf_str(&b), tinker__buf_str(&again)));
  cr_assert_eq((unsigned char)b.data[0] % 8, 0, "data is aligned to 8");
  cr_assert_eq(
      tinker__safetensors_parse(&st, &mem, b.data, b.len, why, sizeof why), 0,
      "%s", why);
  cr_assert_eq(tinker__safetensors_len(st), 4);
  /* Wide types first, then by name. */
  cr_assert(tinker__str_eqs(tinker__safetensors_at(st, 0)->name, "a"));
  cr_assert(tinker__str_eqs(tinker__safetensors_at(st, 2)->name, "b.half"));
  const tinker__tensor_t *t =
      tinker__safetensors_find(st, tinker__str("z \"quoted\""));
  cr_assert_not_null(t);
  cr_assert_eq(t->rank, 2);
  cr_assert_eq(t->shape[1], 3);
  cr_assert_eq(t->bytes, 24);
  cr_assert_eq(memcmp(t->data, floats, 24), 0);
  t = tinker__safetensors_find(st, tinker__str("empty"));
  cr_assert_eq(t->bytes, 0);
  cr_assert_eq(t->shape[1], 4);
  cr_assert_null(tinker__safetensors_find(st, tinker__str("b")));
  cr_assert(tinker__safetensors_meta(st, "n", &value));
  cr_assert(tinker__str_eqs(value, "\"1\"\n"));
  cr_assert(!tinker__safetensors_meta(st, "m", &value));
  tinker__safetensors_free(st);
  tinker__buf_free(&b);
  tinker__buf_free(&again);
}

Test(safetensors, refuses_to_write_nonsense) {
  tinker__buf_t b;
  char why[256] = "";
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__tensor_t two[2] = {some[0], some[1]};
  two[1].name = two[0].name;
  cr_assert_eq(
      tinker__safetensors_write(&b, &mem, two, 2, NULL, 0, why, sizeof why),
      TINKER_EINVAL);
  cr_assert_not_null(strstr(why, "b.half"), "%s", why);
  two[0].rank = TINKER__TENSOR_MAX_RANK + 1;
  cr_assert_eq(
      tinker__safetensors_write(&b, &mem, two, 1, NULL, 0, why, sizeof why),
      TINKER_EINVAL);
  two[0] = some[0];
  two[0].name = TINKER__STR("__metadata__");
  cr_assert_eq(
      tinker__safetensors_write(&b, &mem, two, 1, NULL, 0, why, sizeof why),
      TINKER_EINVAL);
  static const tinker__str_t names[] = {
      {"a\0b", 3}, {"\xff", 1}, {"\xed\xa0\x80", 3}};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    two[0] = some[0];
    two[0].name = names[i];
    cr_expect_eq(tinker__safetensors_write(&b, &mem, two, 1, NULL, 0, NULL, 0),
                 TINKER_EINVAL, "name %zu", i);
  }
  two[0] = some[1];
  two[0].shape[0] = two[0].shape[1] = (uint64_t)1 << 32;
  cr_assert_eq(
      tinker__safetensors_write(&b, &mem, two, 1, NULL, 0, why, sizeof why),
      TINKER_EINVAL);
  cr_assert_not_null(strstr(why, "z "), "%s", why);
  cr_assert_eq(b.len, 0, "nothing is written on failure");
  tinker__buf_free(&b);
}

/* Whatever the length of the header, the data starts at a multiple of 8. */
Test(safetensors, data_is_aligned) {
  char name[10] = "";
  for (size_t n = 1; n <= 8; n++) {
    tinker__tensor_t t = some[1];
    tinker__buf_t b;
    memset(name, 'x', n);
    t.name = (tinker__str_t){name, n};
    tinker__buf_init(&b, &mem, 1 << 16);
    cr_assert_eq(tinker__safetensors_write(&b, &mem, &t, 1, NULL, 0, NULL, 0),
                 0);
    cr_expect_eq((b.len - sizeof floats) % 8, 0, "name of %zu", n);
    cr_expect_eq(memcmp(b.data + b.len - sizeof floats, floats, sizeof floats),
                 0);
    tinker__buf_free(&b);
  }
}

/* A tensor more than may be in a file. */
Test(safetensors, has_a_largest_number_of_tensors) {
  for (int more = 0; more < 2; more++) {
    tinker__safetensors_t *st = NULL;
    tinker__buf_t b;
    char why[256] = "";
    tinker__buf_init(&b, &mem, 1 << 24);
    tinker__buf_add(&b, "\0\0\0\0\0\0\0\0{", 9);
    for (unsigned i = 0; i < TINKER__SAFETENSORS_MAX_TENSORS + more; i++) {
      tinker__buf_addf(&b,
                       "%s\"%x\":{\"dtype\":\"F32\",\"shape\":[0],"
                       "\"data_offsets\":[0,0]}",
                       i ? "," : "", i);
    }
    tinker__buf_addc(&b, '}');
    for (int i = 0; i < 8; i++) b.data[i] = (char)((b.len - 8) >> (8 * i));
    int rc =
        tinker__safetensors_parse(&st, &mem, b.data, b.len, why, sizeof why);
    cr_assert_eq(rc, more ? TINKER_EOVERFLOW : 0, "%s", why);
    if (more) cr_assert_not_null(strstr(why, "over 131072 tensors"), "%s", why);
    tinker__safetensors_free(st);
    tinker__buf_free(&b);
  }
}

/* A file with this header and this many bytes behind it. */
static int parse_header(const char *header, size_t body, char *why,
                        size_t why_len) {
  unsigned char file[4096] = {0};
  tinker__safetensors_t *st = NULL;
  size_t n = strlen(header);
  file[0] = (unsigned char)n;
  file[1] = (unsigned char)(n >> 8);
  memcpy(file + 8, header, n);
  int rc =
      tinker__safetensors_parse(&st, &mem, file, 8 + n + body, why, why_len);
  tinker__safetensors_free(st);
  return rc;
}

#define T(dtype, shape, offsets)                                               \
  "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

Test(safetensors, refuses_malformed_headers) {
  static const struct {
    const char *header;
    size_t body;
    int code;
    const char *said;
  } rows[] = {
      {"{\"a\":" T("F32", "[2]", "[0,8]") "}  ", 8, 0, ""},
      {"{}", 0, 0, ""},
      {"{}", 1, TINKER_EFORMAT, "1 bytes behind"},
      {"[]", 0, TINKER_EFORMAT, "header"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 9, TINKER_EFORMAT, "behind"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") "}", 7, TINKER_EFORMAT,
       "the file is cut: 7 bytes follow its header, tensor a ends at 8"},
      {"{\"a\":" T("F32", "[2]", "[1,9]") "}", 9, TINKER_EFORMAT, "hole"},
      {"{\"a\":" T("F32", "[2]", "[8,0]") "}", 8, TINKER_EFORMAT, "ascending"},
      {"{\"a\":" T("F32", "[3]", "[0,8]") "}", 8, TINKER_EFORMAT, "disagree"},
      {"{\"a\":" T("F64", "[1]", "[0,8]") "}", 8, TINKER_ENOTSUP, "F64"},
      {"{\"a\":" T("I64", "[1]", "[0,8]") "}", 8, TINKER_ENOTSUP, "I64"},
      {"{\"a\":" T("F32", "[-2]", "[0,8]") "}", 8, TINKER_EFORMAT, "byte"},
      {"{\"a\":" T("F32", "[2]", "[0,8,8]") "}", 8, TINKER_EFORMAT, "two"},
      {"{\"a\":" T("F32", "[2]", "[0]") "}", 8, TINKER_EFORMAT, "ascending"},
      {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, 0, ""},
      {"{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8,
       TINKER_EOVERFLOW, "dimensions"},
      {"{\"a\":" T("F32", "[4294967296,4294967296]", "[0,0]") "}", 0,
       TINKER_EOVERFLOW, "too large"},
      {"{\"a\":" T("F32", "[18446744073709551615]", "[0,8]") "}", 8,
       TINKER_EOVERFLOW, "too large"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, TINKER_EFORMAT,
       "missing"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],"
       "\"data_offsets\":[0,8]}}",
       8, TINKER_EFORMAT, "twice"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[1]",
                                                      "[4,8]") "}",
       8, TINKER_EFORMAT, "overlap"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") ",\"a\":" T("F32", "[2]",
                                                      "[8,16]") "}",
       16, TINKER_EFORMAT, "twice"},
      {"{\"__metadata__\":{\"a\":1}}", 0, TINKER_EFORMAT, "byte"},
      {"{\"a\":" T("F32", "[2]", "[0,8]") "} x", 8, TINKER_EFORMAT, "byte"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char why[256] = "";
    int rc = parse_header(rows[i].header, rows[i].body, why, sizeof why);
    cr_expect_eq(rc, rows[i].code, "%s: %d %s", rows[i].header, rc, why);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].header,
                       why);
  }
}

Test(safetensors, names_what_is_not_one) {
  static const struct {
    const char *data;
    size_t len;
    const char *said;
  } rows[] = {
#define ROW(data, said) {data, sizeof data - 1, said}
      ROW("", "the file is empty: download it again"),
      ROW("version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
          "the file is a git-lfs pointer"),
      ROW("<!doctype html><title>404</title>", "the file is a web page"),
      ROW("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "zeros alone"),
      ROW("\0\0\0\0\0\0\0\0{}", "header of 0 bytes"),
      ROW("PK\3\4\x14\0\0\0\0\0\0\0", "zip archive"),
      ROW("\x80\2}q\0(X\1\0\0\0", "not a safetensors file: download it again"),
      ROW("abc", "3 bytes are no safetensors file: download it again"),
      ROW("\x40\0\0\0\0\0\0\0{\"a\":", "the file is cut: it has 13 bytes, and "
                                       "a header of 64: download it again"),
#undef ROW
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker__safetensors_t *st = NULL;
    char why[256] = "";
    int rc = tinker__safetensors_parse(&st, &mem, rows[i].data, rows[i].len,
                                       why, sizeof why);
    cr_expect(rc == TINKER_EFORMAT || rc == TINKER_EOVERFLOW, "%zu: %d", i, rc);
    cr_expect_not_null(strstr(why, rows[i].said), "%zu: %s", i, why);
    cr_assert_null(st);
  }
}

Test(safetensors, survives_every_cut_and_a_huge_header) {
  tinker__buf_t b;
  tinker__safetensors_t *st = NULL;
  tinker__buf_init(&b, &mem, 1 << 20);
  cr_assert_eq(write_some(&b, &mem), 0);
  for (size_t n = 0; n < b.len; n++) {
    cr_assert_eq(tinker__safetensors_parse(&st, &mem, b.data, n, NULL, 0),
                 TINKER_EFORMAT, "cut at %zu", n);
  }
  memcpy(b.data, "\0\0\0\2\0\0\0\0", 8); /* 32 MiB: it is not that long */
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, b.data, b.len, NULL, 0),
               TINKER_EFORMAT);
  b.data[0] = 1; /* and no header may be */
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, b.data, b.len, NULL, 0),
               TINKER_EOVERFLOW);
  memset(b.data, 0xff, 8);
  cr_assert_eq(tinker__safetensors_parse(&st, &mem, b.data, b.len, NULL, 0),
               TINKER_EOVERFLOW);
  tinker__buf_free(&b);
}

static int write_and_read(tinker__mem_t *m, void *user) {
  tinker__buf_t b;
  tinker__safetensors_t *st = NULL;
  (void)user;
  tinker__buf_init(&b, m, 1 << 20);
  int rc = write_some(&b, m);
  if (rc == 0) rc = tinker__safetensors_parse(&st, m, b.data, b.len, NULL, 0);
  tinker__safetensors_free(st);
  tinker__buf_free(&b);
  return rc;
}

Test(safetensors, survives_lack_of_memory) {
  cr_assert_geq(tinker__fail_sweep(write_and_read, NULL, TINKER_ENOMEM), 5);
}
