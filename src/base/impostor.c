/* impostor: see impostor.h. */
#include "base/impostor.h"

#include <string.h>
#include <tinker/error.h>

#define AGAIN ": download it again"
#define SHOWN 40

static const struct {
  const char *head;
  size_t len;
  const char *said;
} heads[] = {
#define HEAD(bytes, said)                                                      \
  { bytes, sizeof bytes - 1, said }
    HEAD("version https://git-lfs.",
         "is a git-lfs pointer, not the file "
         "itself: run \"git lfs pull\" in its folder, or download the file"),
    HEAD("version https://hawser.",
         "is a git-lfs pointer, not the file "
         "itself: run \"git lfs pull\" in its folder, or download the file"),
    HEAD("\x1f\x8b", "is compressed by gzip: unpack it"),
    HEAD("PK\x03\x04",
         "is a zip archive, as PyTorch and downloads in one "
         "piece make them: unpack it, and save weights as safetensors"),
    HEAD("\xff\xfe", "is UTF-16 text: save it as UTF-8"),
    HEAD("\xfe\xff", "is UTF-16 text: save it as UTF-8"),
#undef HEAD
};

static tinker__str_t without_space(tinker__str_t s) {
  while (s.len && strchr(" \t\r\n", *s.ptr) && *s.ptr) {
    s.ptr++;
    s.len--;
  }
  return s;
}

static bool only_zeros(tinker__str_t s) {
  size_t n = s.len < 512 ? s.len : 512;
  for (size_t i = 0; i < n; i++) {
    if (s.ptr[i]) return false;
  }
  return n > 0;
}

/* "<!doctype", "<html", "<?xml": no file that we read begins so. */
static bool is_page(tinker__str_t s) {
  if (tinker__str_starts(s, "\xef\xbb\xbf")) {
    s = (tinker__str_t){s.ptr + 3, s.len - 3};
  }
  s = without_space(s);
  if (s.len < 3 || s.ptr[0] != '<') return false;
  char c = s.ptr[1] | 0x20;
  return s.ptr[1] == '!' || s.ptr[1] == '?' || (c >= 'a' && c <= 'z');
}

const char *tinker__impostor(tinker__str_t data) {
  if (data.len == 0) return "is empty" AGAIN;
  if (only_zeros(data)) {
    return "begins with zeros alone, as a download that never ended does" AGAIN;
  }
  if (is_page(data)) {
    return "is a web page, or a server's error in its place: download the file "
           "itself (on Hugging Face the address has /resolve/, not /blob/)";
  }
  for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
    if (data.len >= heads[i].len &&
        memcmp(data.ptr, heads[i].head, heads[i].len) == 0) {
      return heads[i].said;
    }
  }
  return NULL;
}

/* How many of the first bytes are plain characters on one line. */
static int shown(tinker__str_t s) {
  size_t n = 0;
  while (n < s.len && n < SHOWN && s.ptr[n] >= 0x20 && s.ptr[n] < 0x7f) n++;
  return (int)n;
}

int tinker__impostor_json(tinker__str_t text, const char *file, char *why,
                          size_t why_len) {
  const char *said = tinker__impostor(text);
  tinker__str_t s = without_space(text);
  if (!said && s.len == 0) said = "is empty" AGAIN;
  if (!said && tinker__str_starts(s, "\xef\xbb\xbf")) {
    said = "begins with a byte-order mark: save it as UTF-8 without one";
  }
  if (said) {
    return tinker__why(why, why_len, TINKER_EFORMAT, "%s %s", file, said);
  }
  if (*s.ptr == '{') return 0;
  return tinker__why(why, why_len, TINKER_EFORMAT,
                     "%s is no JSON object, it begins with \"%.*s\": is it the "
                     "right file?",
                     file, shown(s), s.ptr);
}
