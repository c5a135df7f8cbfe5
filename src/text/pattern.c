/* pattern: see pattern.h. One pass, no recursion: a stack of open groups.
 * Pure, any thread. */
#include "text/pattern.h"

#include <string.h>
#include <tinker/error.h>

#include "text/utf8.h"

#define MAX_DEPTH 32
#define MAX_REPEAT 1000

/* White_Space, as Oniguruma has it. PCRE2's own \s adds U+180E. */
#define SPACE                                                                  \
  "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}"        \
  "\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NOT_SPACE                                                              \
  "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}"        \
  "\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}"                  \
  "\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

typedef struct group_s {
  bool caseless;
  bool look; /* a lookaround: can't be repeated */
} group_t;

typedef struct scan_s {
  tinker__buf_t *out;
  const char *start, *at, *end;
  group_t groups[MAX_DEPTH];
  int depth;
  bool caseless;
  bool atom; /* what came last can be repeated */
  /* Last literal of a caseless run, 'C' = a class, 0 = none. */
  char fold;
  char *why;
  size_t why_len;
} scan_t;

/* One thing read from a pattern or class: a code point, or a set. */
typedef struct item_s {
  bool set;
  uint32_t cp;
  char text[280]; /* of a set, for the inside of a class */
} item_t;

static int refuse(scan_t *s, const char *from, const char *what) {
  size_t left = (size_t)(s->end - from);
  size_t n = left < 8 ? left : 8;
  while (n > 0 && n < left && ((unsigned char)from[n] & 0xc0) == 0x80) n--;
  return tinker__why(s->why, s->why_len, TINKER_ENOTSUP,
                     "pattern: \"%.*s\" at byte %zu: %s", (int)n, from,
                     (size_t)(from - s->start), what);
}

static const char *const categories[] = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd",
    "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm",
    "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};
static const char *const scripts[] = {
    "Arabic", "Armenian", "Bengali", "Cyrillic",  "Devanagari", "Georgian",
    "Greek",  "Han",      "Hangul",  "Hebrew",    "Hiragana",   "Katakana",
    "Khmer",  "Lao",      "Latin",   "Mongolian", "Myanmar",    "Sinhala",
    "Tamil",  "Telugu",   "Thai",    "Tibetan"};

static bool listed(tinker__str_t name, const char *const *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (tinker__str_eqs(name, list[i])) return true;
  }
  return false;
}

/* \p{Name}, \P{Name}, \p{^Name}; s->at is after the p. */
static int read_property(scan_t *s, const char *from, bool negated,
                         item_t *item) {
  const char *close = memchr(s->at, '}', (size_t)(s->end - s->at));
  if (s->at == s->end || *s->at != '{' || !close) {
    return refuse(s, from, "a property needs braces");
  }
  tinker__str_t name = {s->at + 1, (size_t)(close - s->at - 1)};
  if (name.len && name.ptr[0] == '^') {
    negated = !negated;
    name.ptr++;
    name.len--;
  }
  if (s->caseless) return refuse(s, from, "a property in a (?i: group");
  s->at = close + 1;
  item->set = true;
  const char *kind = "";
  if (listed(name, scripts, sizeof scripts / sizeof scripts[0])) {
    kind = "sc:"; /* plain \p{Han} would mean script extensions to PCRE2 */
  } else if (!listed(name, categories,
                     sizeof categories / sizeof categories[0])) {
    return refuse(s, from, "unknown property");
  }
  tinker__why(item->text, sizeof item->text, 0, "\\%c{%s%.*s}",
              negated ? 'P' : 'p', kind, (int)name.len, name.ptr);
  return 0;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Up to `max` hexadecimal digits; how many there were. */
static int read_hex(scan_t *s, int max, uint32_t *v) {
  int n = 0;
  *v = 0;
  while (n < max && s->at < s->end && hex_digit(*s->at) >= 0) {
    *v = *v << 4 | (uint32_t)hex_digit(*s->at++);
    n++;
  }
  return n;
}

/* \x41, \x{41}, \u0041; s->at is after the letter. */
static int read_code(scan_t *s, const char *from, char letter, item_t *item) {
  bool braces = letter == 'x' && s->at < s->end && *s->at == '{';
  if (braces) s->at++;
  int n = read_hex(s, braces ? 6 : letter == 'u' ? 4 : 2, &item->cp);
  if (braces && (s->at == s->end || *s->at++ != '}')) n = 0;
  if (n == 0 || (!braces && n != (letter == 'u' ? 4 : 2))) {
    return refuse(s, from, "malformed code point");
  }
  /* Oniguruma takes \x80 and up as a byte of UTF-8. */
  if ((letter == 'x' && !braces && item->cp >= 0x80) || item->cp > 0x10ffff ||
      (item->cp >= 0xd800 && item->cp < 0xe000)) {
    return refuse(s, from, "not the code of a character");
  }
  return 0;
}

static void make_set(item_t *item, const char *text) {
  item->set = true;
  tinker__why(item->text, sizeof item->text, 0, "%s", text);
}

/* s->at is after the backslash. */
static int read_escape(scan_t *s, item_t *item) {
  static const char simple[] = "r\rn\nt\tf\fv\va\ae\x1b";
  const char *from = s->at - 1;
  uint32_t cp = 0;
  if (s->at == s->end) return refuse(s, from, "nothing behind the backslash");
  unsigned char c = (unsigned char)*s->at;
  if (c >= 0x80) {
    s->at += tinker__utf8_next(s->at, (size_t)(s->end - s->at), &cp);
    item->cp = cp;
    return 0;
  }
  s->at++;
  for (const char *p = simple; *p; p += 2) {
    if (c == (unsigned char)p[0]) {
      item->cp = (unsigned char)p[1];
      return 0;
    }
  }
  switch (c) {
  case 's': make_set(item, SPACE); return 0;
  case 'S': make_set(item, NOT_SPACE); return 0;
  case 'd': make_set(item, "\\p{Nd}"); return 0;
  case 'D': make_set(item, "\\P{Nd}"); return 0;
  case 'p':
  case 'P': return read_property(s, from, c == 'P', item);
  case 'x':
  case 'u': return read_code(s, from, (char)c, item);
  default: break;
  }
  if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
      (c >= 'a' && c <= 'z')) {
    return refuse(s, from, "unknown escape");
  }
  item->cp = c;
  return 0;
}

static int read_item(scan_t *s, item_t *item) {
  item->set = false;
  if (*s->at == '\\') {
    s->at++;
    return read_escape(s, item);
  }
  s->at += tinker__utf8_next(s->at, (size_t)(s->end - s->at), &item->cp);
  return 0;
}

/* Case folding agrees for ASCII but for pairs that fold from one character
 * ("ss" from U+00DF, ligatures), which only Oniguruma knows. */
static int check_fold(scan_t *s, const char *from, uint32_t cp) {
  if (!s->caseless) return 0;
  if (cp >= 0x80) {
    return refuse(s, from, "a character beyond ASCII in a (?i: group");
  }
  char c = (char)(cp >= 'A' && cp <= 'Z' ? cp + 32 : cp);
  char last = s->fold;
  s->fold = c;
  if (((last == 's' || last == 'C') && (c == 's' || c == 't')) ||
      ((last == 'f' || last == 'C') && (c == 'f' || c == 'i' || c == 'l'))) {
    return refuse(s, from, "a pair of letters with a ligature in a (?i: group");
  }
  return 0;
}

static int class_range(scan_t *s, const item_t *low) {
  item_t high;
  const char *from = s->at;
  s->at++; /* the hyphen */
  if (*s->at == '[') return refuse(s, s->at, "a class inside a class");
  int rc = read_item(s, &high);
  if (rc) return rc;
  if (low->set || high.set || high.cp < low->cp) {
    return refuse(s, from, "malformed range");
  }
  if (s->caseless && high.cp >= 0x80) {
    return refuse(s, from, "a character beyond ASCII in a (?i: group");
  }
  return tinker__buf_addf(s->out, "\\x{%x}-\\x{%x}", low->cp, high.cp);
}

static int class_item(scan_t *s, bool first) {
  item_t item;
  const char *from = s->at;
  if (*s->at == '[') return refuse(s, from, "a class inside a class");
  if (*s->at == ']' && first) return refuse(s, from, "an empty class");
  if (*s->at == '&' && s->end - s->at > 1 && s->at[1] == '&') {
    return refuse(s, from, "an intersection of classes");
  }
  bool hyphen = *s->at == '-';
  int rc = read_item(s, &item);
  if (rc) return rc;
  if (hyphen && !first && (s->at == s->end || *s->at != ']')) {
    return refuse(s, from, "a hyphen that is neither first, last nor a range");
  }
  if (s->caseless && !item.set && item.cp >= 0x80) {
    return refuse(s, from, "a character beyond ASCII in a (?i: group");
  }
  if (s->end - s->at > 1 && *s->at == '-' && s->at[1] != ']') {
    return class_range(s, &item);
  }
  if (item.set) return tinker__buf_adds(s->out, item.text);
  return tinker__buf_addf(s->out, "\\x{%x}", item.cp);
}

static int read_class(scan_t *s) {
  const char *from = s->at++;
  bool first = true;
  if (s->caseless && s->fold) { /* "s[st]" might fold as "ss" does */
    if (s->fold == 's' || s->fold == 'f' || s->fold == 'C') {
      return refuse(s, from, "a class behind s, f or a class in (?i:");
    }
  }
  tinker__buf_addc(s->out, '[');
  if (s->at < s->end && *s->at == '^') {
    tinker__buf_addc(s->out, '^');
    s->at++;
  }
  while (s->at < s->end && (first || *s->at != ']')) {
    int rc = class_item(s, first);
    if (rc) return rc;
    first = false;
  }
  if (s->at == s->end) return refuse(s, from, "the class does not end");
  s->at++;
  s->atom = true;
  s->fold = s->caseless ? 'C' : 0;
  return tinker__buf_addc(s->out, ']');
}

static int open_group(scan_t *s) {
  static const struct {
    const char *in, *out;
    bool look, caseless;
  } kinds[] = {{"(?:", "(?:", false, false},
               {"(?>", "(?>", false, false},
               {"(?=", "(?=", true, false},
               {"(?!", "(?!", true, false},
               {"(?<=", "(?<=", true, false},
               {"(?<!", "(?<!", true, false},
               {"(?i:", "(?i:", false, true},
               {"(?", NULL, false, false},
               /* Nothing refers back, so a capture is only a group. */
               {"(", "(?:", false, false}};
  tinker__str_t rest = {s->at, (size_t)(s->end - s->at)};
  size_t k = 0;
  while (!tinker__str_starts(rest, kinds[k].in)) k++;
  if (!kinds[k].out) return refuse(s, s->at, "unknown kind of group");
  if (s->depth == MAX_DEPTH) return refuse(s, s->at, "groups nested too deep");
  s->groups[s->depth].caseless = s->caseless;
  s->groups[s->depth++].look = kinds[k].look;
  s->caseless = s->caseless || kinds[k].caseless;
  s->at += strlen(kinds[k].in);
  s->atom = false;
  /* Conservative: a group's edge might join letters. */
  return tinker__buf_adds(s->out, kinds[k].out);
}

static int close_group(scan_t *s) {
  if (s->depth == 0) return refuse(s, s->at, "no group is open");
  s->depth--;
  s->caseless = s->groups[s->depth].caseless;
  s->atom = !s->groups[s->depth].look;
  s->fold = s->caseless ? 'C' : 0;
  s->at++;
  return tinker__buf_addc(s->out, ')');
}

static bool read_count(scan_t *s, uint32_t *v) {
  const char *from = s->at;
  *v = 0;
  while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && *v <= MAX_REPEAT) {
    *v = *v * 10 + (uint32_t)(*s->at++ - '0');
  }
  return s->at > from && *v <= MAX_REPEAT;
}

/* {n}, {n,}, {n,m}: s->at is at the brace. */
static int read_interval(scan_t *s, bool *exact) {
  const char *from = s->at++;
  uint32_t low, high = 0;
  bool ok = read_count(s, &low);
  *exact = true;
  if (ok && s->at < s->end && *s->at == ',') {
    *exact = false;
    s->at++;
    if (s->at < s->end && *s->at != '}') {
      ok = read_count(s, &high) && low <= high;
    }
  }
  if (!ok || s->at == s->end || *s->at != '}') {
    return refuse(s, from, "malformed repeat count");
  }
  s->at++;
  return tinker__buf_add(s->out, from, (size_t)(s->at - from));
}

static int read_repeat(scan_t *s) {
  const char *from = s->at;
  bool braces = *s->at == '{', exact = false;
  if (!s->atom) return refuse(s, from, "nothing to repeat");
  s->atom = false;
  if (braces) {
    int rc = read_interval(s, &exact);
    if (rc) return rc;
  } else {
    tinker__buf_addc(s->out, *s->at++);
  }
  if (s->fold) s->fold = 'C';
  if (s->at == s->end || (*s->at != '?' && *s->at != '+')) {
    return tinker__buf_error(s->out);
  }
  /* There, a + after {n} or {n,m} is a second repeat, and {n}? is optional. */
  if (braces && (*s->at == '+' || exact)) {
    return refuse(s, from, "a sign behind a repeat count");
  }
  return tinker__buf_addc(s->out, *s->at++);
}

static int read_literal(scan_t *s) {
  item_t item;
  const char *from = s->at;
  int rc = read_item(s, &item);
  if (rc) return rc;
  s->atom = true;
  if (item.set) {
    s->fold = s->caseless ? 'C' : 0;
    if (item.text[1] == 'p' || item.text[1] == 'P') {
      return tinker__buf_adds(s->out, item.text);
    }
    return tinker__buf_addf(s->out, "[%s]", item.text);
  }
  rc = check_fold(s, from, item.cp);
  return rc ? rc : tinker__buf_addf(s->out, "\\x{%x}", item.cp);
}

static int read_one(scan_t *s) {
  switch (*s->at) {
  case '[': return read_class(s);
  case '(': return open_group(s);
  case ')': return close_group(s);
  case '*':
  case '+':
  case '?':
  case '{': return read_repeat(s);
  case '^':
  case '$': return refuse(s, s->at, "a line anchor");
  case '|':
    s->atom = false;
    s->fold = 0;
    return tinker__buf_addc(s->out, *s->at++);
  case '.':
    s->atom = true;
    s->fold = s->caseless ? 'C' : 0;
    return tinker__buf_addc(s->out, *s->at++);
  default: return read_literal(s);
  }
}

int tinker__pattern_translate(tinker__buf_t *out, tinker__str_t pattern,
                              char *why, size_t why_len) {
  scan_t s;
  memset(&s, 0, sizeof s);
  s.out = out;
  s.start = s.at = pattern.ptr;
  s.end = pattern.ptr + pattern.len;
  s.why = why;
  s.why_len = why_len;
  if (pattern.len > TINKER__PATTERN_MAX_BYTES) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "pattern of %zu bytes, more than %d", pattern.len,
                       TINKER__PATTERN_MAX_BYTES);
  }
  if (pattern.len == 0 || !tinker__utf8_valid(pattern.ptr, pattern.len)) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "pattern: empty or not UTF-8");
  }
  while (s.at < s.end) {
    int rc = read_one(&s);
    if (rc == TINKER_ENOTSUP) return rc;
    if (rc) return tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
  }
  if (s.depth) return refuse(&s, s.end, "a group does not end");
  return tinker__buf_error(out);
}
