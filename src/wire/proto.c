/* proto: see proto.h. */
#include "wire/proto.h"

#include <tinker/error.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are copied as they lie in memory: little-endian only"
#endif

static void *arena_alloc(void *data, size_t size) {
  return tinker__arena_alloc(data, size);
}

static void arena_free(void *data, void *ptr) {
  (void)data; /* goes with the arena */
  (void)ptr;
}

ProtobufCAllocator tinker__proto_allocator(tinker__arena_t *arena) {
  return (ProtobufCAllocator){arena_alloc, arena_free, arena};
}

void tinker__decode_budget(tinker__arena_t *arena, size_t body_len) {
  size_t times8 = body_len < SIZE_MAX / 16 ? body_len * 8 : SIZE_MAX / 2;
  tinker__arena_allow(arena, times8 + (16u << 20));
}

int tinker__proto_refused(const ProtobufCMessageDescriptor *type,
                          const tinker__arena_t *arena, size_t failed_before,
                          char *why, size_t why_len) {
  if (arena->failed != failed_before) {
    return tinker__why(why, why_len, tinker__arena_error(arena), "%s: %s",
                       type->short_name, tinker__arena_trouble(arena));
  }
  return tinker__why(why, why_len, TINKER_EPROTO,
                     "%s: the body is not such a message", type->short_name);
}

void *tinker__proto_unpack(const ProtobufCMessageDescriptor *type,
                           tinker__arena_t *arena, tinker__str_t body, int *rc,
                           char *why, size_t why_len) {
  ProtobufCAllocator alloc = tinker__proto_allocator(arena);
  size_t failed_before = arena->failed;
  void *m = protobuf_c_message_unpack(type, &alloc, body.len,
                                      (const uint8_t *)body.ptr);
  *rc = m ? 0 : tinker__proto_refused(type, arena, failed_before, why, why_len);
  return m;
}

int tinker__proto_pack(tinker__buf_t *out, const void *message) {
  size_t len = protobuf_c_message_get_packed_size(message);
  if (len > INT32_MAX) { /* no reader takes more */
    return tinker__buf_fail(out, TINKER_EOVERFLOW);
  }
  int rc = tinker__buf_reserve(out, len);
  if (rc || !len) return rc;
  out->len += protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
  return 0;
}

ProtobufCBinaryData tinker__proto_bytes(const void *data, size_t len) {
  return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)data};
}

tinker__str_t tinker__proto_text(ProtobufCBinaryData bytes) {
  return bytes.len ? (tinker__str_t){(const char *)bytes.data, bytes.len}
                   : TINKER__STR("");
}

ProtobufCBinaryData tinker__proto_str(tinker__str_t s) {
  return tinker__proto_bytes(s.ptr, s.len);
}
