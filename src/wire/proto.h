/* proto: what the protobuf encoders and decoders share. Inside wire only. */
#ifndef TINKER_WIRE_PROTO_H
#define TINKER_WIRE_PROTO_H

#include "wire/tinker_public.pb-c.h"
#include "wire/types.h"

/* Unpacked messages live in the arena and are freed with it. */
ProtobufCAllocator tinker__proto_allocator(tinker__arena_t *arena);
/* Unpacks a whole message into the arena; NULL and *rc set when it can't. */
void *tinker__proto_unpack(const ProtobufCMessageDescriptor *type,
                           tinker__arena_t *arena, tinker__str_t body, int *rc,
                           char *why, size_t why_len);
/* The same message, but its fields of bytes point into body, which has to live
 * as long as the arena. */
void *tinker__proto_scan(const ProtobufCMessageDescriptor *type,
                         tinker__arena_t *arena, tinker__str_t body, int *rc,
                         char *why, size_t why_len);
/* The bytes of a field of a scanned message at a multiple of `size` (a power of
 * two), moved there when they lie elsewhere: within the body, which has to be
 * writable, over their own length, or else to the arena. Once per field. NULL
 * without memory, or of no bytes. */
const void *tinker__proto_align(tinker__arena_t *arena,
                                ProtobufCBinaryData bytes, size_t size);
/* Says why a body did not become a message, and returns the code. failed_before
 * is arena->failed of before. */
int tinker__proto_refused(const ProtobufCMessageDescriptor *type,
                          const tinker__arena_t *arena, size_t failed_before,
                          char *why, size_t why_len);
/* Appends a packed message. */
int tinker__proto_pack(tinker__buf_t *out, const void *message);
/* A field of bytes as text, and borrowed text as such a field. */
tinker__str_t tinker__proto_text(ProtobufCBinaryData bytes);
ProtobufCBinaryData tinker__proto_str(tinker__str_t s);
/* Borrowed bytes as a field. */
ProtobufCBinaryData tinker__proto_bytes(const void *data, size_t len);

#endif
