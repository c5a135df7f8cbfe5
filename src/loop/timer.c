/* timer: a pairing heap threaded through the timers. Invariants: a node's
 * children are linked by next; prev of the first child is the parent, of the
 * others the sibling before; the root has neither. */
#include "loop/timer.h"

static bool earlier(const tinker__timer_t *a, const tinker__timer_t *b) {
  if (a->due_ms != b->due_ms) return a->due_ms < b->due_ms;
  return a->order < b->order;
}

/* Joins two heaps; either may be NULL. */
static tinker__timer_t *meld(tinker__timer_t *a, tinker__timer_t *b) {
  if (!a) return b;
  if (!b) return a;
  if (earlier(b, a)) {
    tinker__timer_t *t = a;
    a = b;
    b = t;
  }
  b->next = a->child;
  if (b->next) b->next->prev = b;
  b->prev = a;
  a->child = b;
  return a;
}

/* Joins a list of siblings into one heap: in pairs, then from right to left.
 * A loop, not a recursion: the list may be long. */
static tinker__timer_t *meld_all(tinker__timer_t *first) {
  tinker__timer_t *pairs = NULL;
  while (first) {
    tinker__timer_t *a = first, *b = a->next;
    first = b ? b->next : NULL;
    a->next = a->prev = NULL;
    if (b) b->next = b->prev = NULL;
    a = meld(a, b);
    a->next = pairs;
    pairs = a;
  }
  tinker__timer_t *root = NULL;
  while (pairs) {
    tinker__timer_t *next = pairs->next;
    pairs->next = NULL;
    root = meld(root, pairs);
    pairs = next;
  }
  return root;
}

static void unlink_node(tinker__timer_t *t) {
  if (t->prev->child == t) {
    t->prev->child = t->next;
  } else {
    t->prev->next = t->next;
  }
  if (t->next) t->next->prev = t->prev;
  t->next = t->prev = NULL;
}

void tinker__timers_remove(tinker__timers_t *q, tinker__timer_t *timer) {
  if (!timer->queued) return;
  bool is_root = timer == q->root;
  if (!is_root) unlink_node(timer);
  tinker__timer_t *rest = meld_all(timer->child);
  timer->child = NULL;
  timer->queued = false;
  q->root = is_root ? rest : meld(q->root, rest);
}

void tinker__timers_put(tinker__timers_t *q, tinker__timer_t *timer,
                        int64_t due_ms) {
  tinker__timers_remove(q, timer);
  timer->due_ms = due_ms;
  timer->order = q->order++;
  timer->queued = true;
  q->root = meld(q->root, timer);
}

tinker__timer_t *tinker__timers_first(const tinker__timers_t *q) {
  return q->root;
}

tinker__timer_t *tinker__timers_pop(tinker__timers_t *q, int64_t now_ms,
                                    uint64_t turn) {
  tinker__timer_t *t = q->root;
  if (!t || t->due_ms > now_ms || t->order >= turn) return NULL;
  tinker__timers_remove(q, t);
  return t;
}
