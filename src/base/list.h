/* list: intrusive doubly linked list with a sentinel. Header only. */
#ifndef TINKER_BASE_LIST_H
#define TINKER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tinker__link_s {
  struct tinker__link_s *prev;
  struct tinker__link_s *next;
} tinker__link_t;

/* A list is a link that points at itself when empty. A link that is in no
 * list points at itself too. */
static inline void tinker__list_init(tinker__link_t *l) {
  l->prev = l->next = l;
}
static inline bool tinker__list_empty(const tinker__link_t *l) {
  return l->next == l;
}
static inline void tinker__list_insert_before(tinker__link_t *at,
                                              tinker__link_t *l) {
  l->prev = at->prev;
  l->next = at;
  at->prev->next = l;
  at->prev = l;
}
static inline void tinker__list_push_back(tinker__link_t *list,
                                          tinker__link_t *l) {
  tinker__list_insert_before(list, l);
}
static inline void tinker__list_push_front(tinker__link_t *list,
                                           tinker__link_t *l) {
  tinker__list_insert_before(list->next, l);
}
static inline void tinker__list_remove(tinker__link_t *l) {
  l->prev->next = l->next;
  l->next->prev = l->prev;
  tinker__list_init(l);
}
static inline tinker__link_t *tinker__list_first(const tinker__link_t *list) {
  return tinker__list_empty(list) ? NULL : list->next;
}
static inline tinker__link_t *tinker__list_pop_front(tinker__link_t *list) {
  tinker__link_t *l = tinker__list_first(list);
  if (l) tinker__list_remove(l);
  return l;
}

/* Moves all links of `from` to the list `to`, which need not be initialised. */
static inline void tinker__list_take(tinker__link_t *to, tinker__link_t *from) {
  tinker__list_init(to);
  if (tinker__list_empty(from)) return;
  tinker__list_insert_before(from, to);
  tinker__list_remove(from);
}

#define TINKER__CONTAINER(ptr, type, member)                                   \
  ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Safe against removal of `it` inside the loop. */
#define TINKER__LIST_EACH(it, tmp, list)                                       \
  for (tinker__link_t *it = (list)->next, *tmp = it->next; it != (list);       \
       it = tmp, tmp = it->next)

#endif
