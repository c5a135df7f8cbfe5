/* Criterion's runner puts a shared arena at an address that it takes from
 * rand_r, and ThreadSanitizer allows only a few ranges: answer with an
 * address inside one of them, below the program's own base. Exported, or the
 * library would not see it. TSan builds only. */
__attribute__((visibility("default"))) int rand_r(unsigned *seed);

int rand_r(unsigned *seed) {
  static int calls;
  *seed += 1;
  return 0x350000 + 0x100 * (++calls % 0x50);
}
