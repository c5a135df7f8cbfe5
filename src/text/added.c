/* added: see added.h. The sorted list serves as a trie: each byte of the text
 * narrows the range of tokens that start so. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "text/utf8.h"

int tinker__added_put(tinker__added_set_t *set, const tinker__added_t *token) {
  if (set->n == set->cap) {
    size_t cap = set->cap ? set->cap * 2 : 16;
    tinker__added_t *list =
        tinker__mem_realloc(set->mem, set->list, cap * sizeof *list);
    if (!list) return TINKER_ENOMEM;
    set->list = list;
    set->cap = cap;
  }
  char *text = tinker__mem_strndup(set->mem, token->text.ptr, token->text.len);
  if (!text) return TINKER_ENOMEM;
  set->list[set->n] = *token;
  set->list[set->n++].text.ptr = text;
  set->first[(unsigned char)text[0]] = true;
  return 0;
}

static int by_text(const void *a, const void *b) {
  tinker__str_t x = ((const tinker__added_t *)a)->text;
  tinker__str_t y = ((const tinker__added_t *)b)->text;
  int c = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
  return c != 0 ? c : (x.len > y.len) - (x.len < y.len);
}

static bool same_text(const tinker__added_t *a, const tinker__added_t *b) {
  return tinker__str_eq(a->text, b->text);
}

static bool same_rest(const tinker__added_t *a, const tinker__added_t *b) {
  return a->id == b->id && a->special == b->special && a->lstrip == b->lstrip &&
         a->rstrip == b->rstrip;
}

static void free_text(const tinker__added_set_t *set,
                      const tinker__added_t *token) {
  tinker__mem_free(set->mem, (void *)(uintptr_t)token->text.ptr);
}

/* Keeps one of each; the list is sorted. */
static void drop_repeats(tinker__added_set_t *set) {
  size_t kept = 1;
  for (size_t i = 1; i < set->n; i++) {
    if (same_text(&set->list[i], &set->list[kept - 1])) {
      free_text(set, &set->list[i]);
    } else {
      set->list[kept++] = set->list[i];
    }
  }
  set->n = kept;
}

int tinker__added_sort(tinker__added_set_t *set, tinker__str_t *twice) {
  if (set->n < 2) return 0;
  qsort(set->list, set->n, sizeof *set->list, by_text);
  for (size_t i = 1; i < set->n; i++) {
    if (same_text(&set->list[i], &set->list[i - 1]) &&
        !same_rest(&set->list[i], &set->list[i - 1])) {
      *twice = set->list[i].text;
      return TINKER_EEXIST;
    }
  }
  drop_repeats(set);
  return 0;
}

void tinker__added_free(tinker__added_set_t *set) {
  for (size_t i = 0; i < set->n; i++) free_text(set, &set->list[i]);
  if (set->mem) tinker__mem_free(set->mem, set->list);
  set->list = NULL;
  set->n = 0;
}

/* Byte of a token at a depth, -1 after its end. */
static int byte_at(const tinker__added_t *t, size_t depth) {
  return depth < t->text.len ? (unsigned char)t->text.ptr[depth] : -1;
}

/* First in [low, high) whose byte at `depth` is at least `byte`. */
static size_t bound(const tinker__added_set_t *set, size_t low, size_t high,
                    size_t depth, int byte) {
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (byte_at(&set->list[mid], depth) < byte) {
      low = mid + 1;
    } else {
      high = mid;
    }
  }
  return low;
}

/* The longest token that text starts with, NULL if none. */
static const tinker__added_t *longest(const tinker__added_set_t *set,
                                      const char *text, size_t len) {
  const tinker__added_t *best = NULL;
  size_t low = 0, high = set->n;
  for (size_t depth = 0; depth < len && low < high; depth++) {
    int byte = (unsigned char)text[depth];
    low = bound(set, low, high, depth, byte);
    high = bound(set, low, high, depth, byte + 1);
    if (low < high && set->list[low].text.len == depth + 1) {
      best = &set->list[low];
    }
  }
  return best;
}

/* White_Space of Unicode. */
static bool is_space(uint32_t cp) {
  return (cp >= 9 && cp <= 13) || cp == 0x20 || cp == 0x85 || cp == 0xa0 ||
         cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 ||
         cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

/* Where the white space that ends at `at` begins. */
static size_t space_before(tinker__str_t text, size_t at) {
  while (at > 0) {
    size_t i = at - 1;
    uint32_t cp = 0;
    while (i > 0 && ((unsigned char)text.ptr[i] & 0xc0) == 0x80) i--;
    tinker__utf8_next(text.ptr + i, at - i, &cp);
    if (!is_space(cp)) break;
    at = i;
  }
  return at;
}

static size_t space_behind(tinker__str_t text, size_t at) {
  while (at < text.len) {
    uint32_t cp = 0;
    int n = tinker__utf8_next(text.ptr + at, text.len - at, &cp);
    if (n <= 0 || !is_space(cp)) break;
    at += (size_t)n;
  }
  return at;
}

bool tinker__added_next(const tinker__added_set_t *set, tinker__str_t text,
                        bool special_as_text, size_t *scan, size_t *taken,
                        tinker__hit_t *hit) {
  if (set->n == 0) return false;
  for (size_t i = *scan; i < text.len; i++) {
    if (!set->first[(unsigned char)text.ptr[i]]) continue;
    const tinker__added_t *t = longest(set, text.ptr + i, text.len - i);
    if (!t) continue;
    size_t end = i + t->text.len;
    if (special_as_text && t->special) {
      i = end - 1; /* its text is not looked at again */
      continue;
    }
    hit->token = t;
    hit->start = i;
    hit->end = end;
    if (t->lstrip) {
      size_t start = space_before(text, i);
      hit->start = start > *taken ? start : *taken;
    }
    if (t->rstrip) hit->end = space_behind(text, end);
    /* White space that a hit took may hold the next hit; matching goes on after
     * the token itself, as the reference's does. A hit of which lstrip leaves
     * nothing, because the hit before has taken it all, does not count. */
    if (hit->start >= hit->end) {
      i = end - 1;
      continue;
    }
    *scan = end;
    *taken = hit->end;
    return true;
  }
  *scan = text.len;
  return false;
}
