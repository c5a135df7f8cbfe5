/* Adapters: the generator that they start from, how many weights they have,
 * and which configurations there are. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/lora.h"
#include "cpu/train.h"
#include "support.h"

/* The known answers of Random123: every half of key and counter counts. */
Test(lora, philox_is_philox) {
  static const struct {
    uint64_t key, hi, lo;
    uint32_t want[4];
  } rows[] = {{0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
              {UINT64_MAX,
               UINT64_MAX,
               UINT64_MAX,
               {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
              {0x299f31d0a4093822,
               0x0370734413198a2e,
               0x85a308d3243f6a88,
               {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t got[4];
    tinker__cpu_philox(rows[i].key, rows[i].hi, rows[i].lo, got);
    cr_assert_eq(memcmp(got, rows[i].want, sizeof got), 0, "%zu", i);
  }
}

Test(lora, name_hash_is_fnv) {
  cr_assert_eq(tinker__cpu_name_hash(""), 0xcbf29ce484222325u);
  cr_assert_eq(tinker__cpu_name_hash("a"), 0xaf63dc4c8601ec8cu);
  cr_assert_eq(tinker__cpu_name_hash("foobar"), 0x85944171f73967e8u);
}

/* The count that prices a state is that of its layout, for every legal set. */
Test(lora, counts_its_weights) {
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  for (unsigned set = 1; set < 8; set++) {
    tinker__eng_lora_config_t c = {
        .rank = 4,
        .train_attn = set & 1,
        .train_mlp = set & 2,
        .train_unembed = set & 4,
    };
    tinker__eng_train_t *t = NULL;
    cr_assert_eq(b.r.api->train_new(b.r.base, &c, &t, NULL, 0), 0);
    cr_assert_eq(tinker__cpu_lora_floats(b.r.base, &c), t->lora->floats);
    b.r.api->train_free(t);
  }
  tiny_close(&b);
}

/* Powers of two to 128, and a configuration is given back as it was taken. */
Test(lora, every_rank_and_no_other) {
  tiny_t b;
  char why[256] = "";
  tiny_open(&b, &tiny_shape);
  for (uint32_t rank = 0; rank <= 1024; rank++) {
    bool legal = rank && rank <= 128 && (rank & (rank - 1)) == 0;
    tinker__eng_lora_config_t out, c = {
                                       .rank = rank,
                                       .seed = UINT64_MAX - rank,
                                       .train_attn = rank % 3 == 1,
                                       .train_mlp = rank % 3 == 2,
                                       .train_unembed = true,
                                   };
    tinker__eng_train_t *t = NULL;
    int rc = b.r.api->train_new(b.r.base, &c, &t, why, sizeof why);
    cr_assert_eq(rc, legal ? 0 : TINKER_EINVAL, "rank %u", rank);
    if (!legal) continue;
    b.r.api->train_config(t, &out);
    cr_assert(out.rank == c.rank && out.seed == c.seed);
    cr_assert(out.train_attn == c.train_attn && out.train_mlp == c.train_mlp &&
              out.train_unembed);
    b.r.api->train_free(t);
  }
  cr_assert_str_eq(why, "rank: 1024 is not a power of two from 1 to 128");
  tiny_close(&b);
}
