/* Messages whose bytes stay where they are: the same as protobuf-c unpacks,
 * from every body that it takes, and from no other. */
#include "wire_test.h"

#include "wire/proto.h"

TestSuite(proto_scan, .init = wire_setup, .fini = wire_teardown);

/* What a reader does not know is not kept by a scan. */
static void forget_unknown(ProtobufCMessage *m) {
  const ProtobufCMessageDescriptor *d = m->descriptor;
  m->n_unknown_fields = 0;
  for (unsigned i = 0; i < d->n_fields; i++) {
    const ProtobufCFieldDescriptor *f = &d->fields[i];
    char *member = (char *)m + f->offset;
    size_t n;
    if (f->type != PROTOBUF_C_TYPE_MESSAGE) continue;
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
      uint32_t set;
      memcpy(&set, (char *)m + f->quantifier_offset, sizeof set);
      if (set != f->id) continue;
    }
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
      if (*(void **)member) forget_unknown(*(void **)member);
      continue;
    }
    memcpy(&n, (char *)m + f->quantifier_offset, sizeof n);
    for (size_t k = 0; k < n; k++) {
      forget_unknown((*(ProtobufCMessage ***)member)[k]);
    }
  }
}

/* True when both take the body. */
static bool same(const ProtobufCMessageDescriptor *type, tinker__str_t body) {
  int rc = 0, scan_rc = 0;
  tinker__buf_t a, b;
  void *m = tinker__proto_unpack(type, &arena, body, &rc, why, sizeof(why));
  void *s = tinker__proto_scan(type, &arena, body, &scan_rc, why, sizeof(why));
  cr_assert_eq(rc, scan_rc, "%d and %d", rc, scan_rc);
  cr_assert_eq(!m, !s);
  if (!m) return false;
  forget_unknown(m);
  tinker__buf_init(&a, &mem, 1 << 20);
  tinker__buf_init(&b, &mem, 1 << 20);
  cr_assert_eq(tinker__proto_pack(&a, m), 0);
  cr_assert_eq(tinker__proto_pack(&b, s), 0);
  cr_assert(tinker__str_eq(tinker__buf_str(&a), tinker__buf_str(&b)));
  tinker__buf_free(&a);
  tinker__buf_free(&b);
  return true;
}

/* Fields of every kind, lists packed and not, unknown fields, a tensor that
 * arrives in two parts, a text that comes twice. */
#define OUTPUT                                                                 \
  "0a0154123d0a0374616712310a016c12250a080000803f0000803f1210000000000000"     \
  "000008000000000000001801220302ac0220071205180422010518019806051a0c0a01"     \
  "6d1100000000000004407d0000803f120218020a0155"
#define SAMPLE                                                                 \
  "0a30080112080000803f0000803f1a080000803f0000803f22180a080000803f000080"     \
  "3f12080000803f0000803f180220010a02080012040000803f1a180a080000803f0000"     \
  "803f12080000803f0000803f1802200120fdffffffffffffffff012a2a12220a040000"     \
  "803f1210000000000000000000000000000000001a0800000000000000001801200120"     \
  "01321f0a0b0a040000803f180122010112100a040000803f12060a040000803f1801ea"     \
  "04027879"

typedef struct sample_s {
  const ProtobufCMessageDescriptor *type;
  const char *hex;
} sample_t;

static const sample_t samples[] = {
    {&tinker_public__forward_backward_output__descriptor, OUTPUT},
    {&tinker_public__sample_response__descriptor, SAMPLE}};

Test(proto_scan, the_same_as_protobuf_c) {
  for (int i = 0; i < 2; i++) {
    bytes_t b = unhex(samples[i].hex);
    cr_assert(same(samples[i].type, bytes_str(&b)), "%d", i);
    cr_assert(same(samples[i].type, TINKER__STR("")));
    for (size_t len = 0; len < b.len; len++) {
      same(samples[i].type, (tinker__str_t){b.data, len});
    }
  }
}

/* One to three bytes changed anywhere: lengths, tags, types and contents. */
Test(proto_scan, the_same_of_broken_bodies) {
  uint64_t x = 88172645463325252u;
  size_t taken = 0, refused = 0;
  for (int round = 0; round < 100000; round++) {
    bytes_t b = unhex(samples[round % 2].hex);
    for (int k = 0; k <= round % 3; k++) {
      x ^= x << 13;
      x ^= x >> 7;
      x ^= x << 17;
      b.data[(x >> 8) % b.len] = (char)(x >> 40);
    }
    *(same(samples[round % 2].type, bytes_str(&b)) ? &taken : &refused) += 1;
    if (round % 512 == 0) tinker__arena_free(&arena);
  }
  cr_assert_gt(taken, 1000);
  cr_assert_gt(refused, 1000);
}

/* Wherever the bytes lie, the values are the same, aligned, and nothing around
 * them has changed. */
Test(proto_scan, aligned_in_place) {
  enum { N = 40 };
  for (size_t size = 4; size <= 8; size += 4) {
    for (size_t at = 0; at < 8; at++) {
      _Alignas(16) unsigned char body[16 + N * 8];
      unsigned char *data = body + 4 + at;
      memset(body, 0xee, sizeof body);
      for (size_t i = 0; i < N * size; i++) data[i] = (unsigned char)i;
      const unsigned char *p = tinker__proto_align(
          &arena, (ProtobufCBinaryData){N * size, data}, size);
      cr_assert_eq((uintptr_t)p % size, 0);
      for (size_t i = 0; i < N * size; i++) {
        cr_assert_eq(p[i], (unsigned char)i);
      }
      /* Tag and length are 2 bytes for up to 127, and 3 for more. */
      size_t head = N * size < 128 ? 2 : 3;
      size_t first = 4 + at - head;
      for (size_t i = 0; i < first; i++) cr_assert_eq(body[i], 0xee);
      cr_assert_eq(body[4 + at + N * size], 0xee);
    }
  }
}

static int scan_all(tinker__mem_t *m, void *user) {
  const sample_t *s = user;
  tinker__arena_t a;
  int rc;
  bytes_t b = unhex(s->hex);
  tinker__arena_init(&a, m);
  tinker__proto_scan(s->type, &a, bytes_str(&b), &rc, NULL, 0);
  tinker__arena_free(&a);
  return rc;
}

Test(proto_scan, allocation_failures) {
  for (int i = 0; i < 2; i++) {
    sample_t s = samples[i];
    cr_assert_gt(tinker__fail_sweep(scan_all, &s, TINKER_ENOMEM), 0);
  }
}
