/* proto_scan: unpacks a message without copying its bytes (proto.h). Takes what
 * protobuf_c_message_unpack takes and refuses what it refuses. No message
 * contains itself, so the recursion is as deep as the schema. */
#include <string.h>

#include "wire/proto.h"

/* What is left of a message. */
typedef struct tinker__scan_s {
  const unsigned char *at, *end;
  tinker__arena_t *arena;
} tinker__scan_t;

enum { VARINT = 0, BITS64 = 1, LENGTH = 2, BITS32 = 5 };

typedef struct tinker__scanned_s {
  uint32_t number;
  unsigned type;
  uint64_t value;        /* of a number */
  tinker__str_t content; /* of LENGTH */
} tinker__scanned_t;

/* At most `most` bytes; false when there is no end within them. */
static bool take_varint(tinker__scan_t *s, size_t most, uint64_t *out) {
  uint64_t v = 0;
  for (size_t i = 0; i < most && s->at < s->end; i++) {
    unsigned char c = *s->at++;
    v |= (uint64_t)(c & 0x7f) << (7 * i);
    if (c < 0x80) {
      *out = v;
      return true;
    }
  }
  return false;
}

static bool take_content(tinker__scan_t *s, tinker__str_t *out) {
  uint64_t len = 0;
  if (!take_varint(s, 5, &len) || len > INT32_MAX ||
      len > (size_t)(s->end - s->at)) {
    return false;
  }
  *out = (tinker__str_t){(const char *)s->at, (size_t)len};
  s->at += len;
  return true;
}

static bool take_bits(tinker__scan_t *s, size_t bytes, uint64_t *out) {
  if ((size_t)(s->end - s->at) < bytes) return false;
  *out = 0;
  memcpy(out, s->at, bytes);
  s->at += bytes;
  return true;
}

/* The next field, known or not. */
static bool take_field(tinker__scan_t *s, tinker__scanned_t *f) {
  uint64_t tag = 0;
  if (!take_varint(s, 5, &tag)) return false;
  f->number = (uint32_t)(tag >> 3);
  f->type = tag & 7;
  if (!f->number) return false;
  switch (f->type) {
  case VARINT: return take_varint(s, 10, &f->value);
  case BITS64: return take_bits(s, 8, &f->value);
  case BITS32: return take_bits(s, 4, &f->value);
  case LENGTH: return take_content(s, &f->content);
  default: return false; /* groups too */
  }
}

static bool scan_into(ProtobufCMessage *m, tinker__arena_t *arena,
                      tinker__str_t body);

static unsigned wire_type(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_BYTES:
  case PROTOBUF_C_TYPE_MESSAGE: return LENGTH;
  case PROTOBUF_C_TYPE_DOUBLE: return BITS64;
  default: return VARINT; /* the schema has no other numbers */
  }
}

static size_t size_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
  case PROTOBUF_C_TYPE_STRING:
  case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
  case PROTOBUF_C_TYPE_BOOL: return sizeof(protobuf_c_boolean);
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
  case PROTOBUF_C_TYPE_DOUBLE: return 8;
  default: return 4;
  }
}

static void put_number(ProtobufCType type, void *member, uint64_t value) {
  const uint32_t low = (uint32_t)value;
  if (type == PROTOBUF_C_TYPE_BOOL) {
    *(protobuf_c_boolean *)member = value != 0;
  } else if (size_of(type) == 8) {
    memcpy(member, &value, 8);
  } else {
    memcpy(member, &low, 4);
  }
}

/* A message that is there already is continued: fields that come again count,
 * repeated ones are added. */
static bool put_message(tinker__arena_t *arena,
                        const ProtobufCFieldDescriptor *field, void *member,
                        tinker__str_t content) {
  const ProtobufCMessageDescriptor *type = field->descriptor;
  ProtobufCMessage *m = *(ProtobufCMessage **)member;
  if (!m) {
    m = tinker__arena_alloc(arena, type->sizeof_message);
    if (!m) return false;
    type->message_init(m);
    *(ProtobufCMessage **)member = m;
  }
  return scan_into(m, arena, content);
}

/* member is zero unless the field came before. */
static bool put_value(tinker__arena_t *arena,
                      const ProtobufCFieldDescriptor *field, void *member,
                      const tinker__scanned_t *f) {
  if (f->type != wire_type(field->type)) return false;
  switch (field->type) {
  case PROTOBUF_C_TYPE_BYTES:
    *(ProtobufCBinaryData *)member = tinker__proto_str(f->content);
    return true;
  case PROTOBUF_C_TYPE_STRING:
    *(char **)member = tinker__arena_str(arena, f->content);
    return *(char **)member != NULL;
  case PROTOBUF_C_TYPE_MESSAGE:
    return put_message(arena, field, member, f->content);
  default: put_number(field->type, member, f->value); return true;
  }
}

/* A zeroed place behind the *n values at *items. There is room for 4, then for
 * the next power of two. */
static void *grow(tinker__arena_t *arena, void **items, size_t *n,
                  size_t size) {
  size_t cap = *n && (*n < 4 || (*n & (*n - 1))) ? *n + 1 : *n;
  *items = tinker__arena_grow(arena, *items, *n, &cap, size);
  if (!*items) return NULL;
  return memset((char *)*items + (*n)++ * size, 0, size);
}

static bool put_packed(tinker__arena_t *arena,
                       const ProtobufCFieldDescriptor *field, void **items,
                       size_t *n, tinker__str_t content) {
  tinker__scan_t s = {(const unsigned char *)content.ptr,
                      (const unsigned char *)content.ptr + content.len, arena};
  while (s.at < s.end) {
    uint64_t value;
    if (!take_varint(&s, 10, &value)) return false;
    void *place = grow(arena, items, n, size_of(field->type));
    if (!place) return false;
    put_number(field->type, place, value);
  }
  return true;
}

static bool put_repeated(tinker__arena_t *arena,
                         const ProtobufCFieldDescriptor *field, char *message,
                         const tinker__scanned_t *f) {
  void **items = (void **)(void *)(message + field->offset);
  size_t *n = (size_t *)(void *)(message + field->quantifier_offset);
  if (f->type == LENGTH && wire_type(field->type) == VARINT) {
    return put_packed(arena, field, items, n, f->content);
  }
  void *place = grow(arena, items, n, size_of(field->type));
  return place && put_value(arena, field, place, f);
}

/* The member of a union takes the place of the one that came before. */
static bool put_one_of(tinker__arena_t *arena,
                       const ProtobufCFieldDescriptor *field, char *message,
                       const tinker__scanned_t *f) {
  void *member = message + field->offset;
  memset(member, 0, size_of(field->type));
  if (!put_value(arena, field, member, f)) return false;
  memcpy(message + field->quantifier_offset, &field->id, sizeof(field->id));
  return true;
}

static bool put_optional(tinker__arena_t *arena,
                         const ProtobufCFieldDescriptor *field, char *message,
                         const tinker__scanned_t *f) {
  const bool has = field->type != PROTOBUF_C_TYPE_MESSAGE &&
                   field->type != PROTOBUF_C_TYPE_STRING;
  if (!put_value(arena, field, message + field->offset, f)) return false;
  if (has) {
    *(protobuf_c_boolean *)(void *)(message + field->quantifier_offset) = 1;
  }
  return true;
}

static bool put_field(tinker__arena_t *arena, ProtobufCMessage *m,
                      const tinker__scanned_t *f) {
  const ProtobufCMessageDescriptor *type = m->descriptor;
  for (unsigned i = 0; i < type->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &type->fields[i];
    if (field->id != f->number) continue;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
      return put_repeated(arena, field, (char *)m, f);
    }
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF
               ? put_one_of(arena, field, (char *)m, f)
               : put_optional(arena, field, (char *)m, f);
  }
  return true; /* unknown: left out */
}

static bool scan_into(ProtobufCMessage *m, tinker__arena_t *arena,
                      tinker__str_t body) {
  tinker__scan_t s = {(const unsigned char *)body.ptr,
                      (const unsigned char *)body.ptr + body.len, arena};
  tinker__scanned_t f;
  while (s.at < s.end) {
    if (!take_field(&s, &f) || !put_field(arena, m, &f)) return false;
  }
  return true;
}

void *tinker__proto_scan(const ProtobufCMessageDescriptor *type,
                         tinker__arena_t *arena, tinker__str_t body, int *rc,
                         char *why, size_t why_len) {
  size_t failed_before = arena->failed;
  ProtobufCMessage *m = tinker__arena_alloc(arena, type->sizeof_message);
  if (m) type->message_init(m);
  if (!m || !scan_into(m, arena, body)) {
    *rc = tinker__proto_refused(type, arena, failed_before, why, why_len);
    return NULL;
  }
  *rc = 0;
  return m;
}

const void *tinker__proto_align(tinker__arena_t *arena,
                                ProtobufCBinaryData bytes, size_t size) {
  size_t off = (uintptr_t)bytes.data % size, head = 2;
  for (size_t len = bytes.len; len >= 0x80; len >>= 7) head++;
  if (!off || !bytes.len) return bytes.data;
  if (off <= head) return memmove(bytes.data - off, bytes.data, bytes.len);
  void *copy = tinker__arena_alloc(arena, bytes.len);
  return copy ? memcpy(copy, bytes.data, bytes.len) : NULL;
}
