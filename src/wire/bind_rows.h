/* bind_rows: rows of the tables of messages, for the files that define some. */
#ifndef TINKER_WIRE_BIND_ROWS_H
#define TINKER_WIRE_BIND_ROWS_H

#include "wire/messages.h"

/* A field: present when its pointer or length says so, or always. */
#define ROW(s, kind_, member, flags_)                                          \
  {                                                                            \
    .name = #member, .kind = TINKER__BIND_##kind_, .flags = flags_,            \
    .offset = offsetof(s, member)                                              \
  }
/* A field that is present when has_<member> says so. */
#define ROW_HAS(s, kind_, member)                                              \
  {                                                                            \
    .name = #member, .kind = TINKER__BIND_##kind_,                             \
    .offset = offsetof(s, member), .has = offsetof(s, has_##member) + 1        \
  }
/* A nested object (or list of them). */
#define ROW_OBJ(s, kind_, member, flags_, table)                               \
  {                                                                            \
    .name = #member, .kind = TINKER__BIND_##kind_, .flags = flags_,            \
    .offset = offsetof(s, member), .nested = &(table)                          \
  }
/* The number that a stamp writes; readers take it when it is there. */
#define ROW_SEQ(s)                                                             \
  {                                                                            \
    .name = "seq_id", .kind = TINKER__BIND_I64,                                \
    .flags = TINKER__BIND_STAMPED | TINKER__BIND_HEAD,                         \
    .offset = offsetof(s, seq_id), .has = offsetof(s, has_seq_id) + 1          \
  }

/* The number of a call that is not stamped. */
#define ROW_HEAD_SEQ(s)                                                        \
  {                                                                            \
    .name = "seq_id", .kind = TINKER__BIND_I64, .flags = TINKER__BIND_HEAD,    \
    .offset = offsetof(s, seq_id), .has = offsetof(s, has_seq_id) + 1          \
  }

#define REQ TINKER__BIND_REQUIRED
#define HEAD TINKER__BIND_HEAD
/* Texts of requests: an id that is too long is one that is not found. */
#define LONG TINKER__BIND_LONG

#define TABLE(rows, s, type_, defaults_)                                       \
  { rows, sizeof(rows) / sizeof((rows)[0]), sizeof(s), type_, defaults_ }

#endif
