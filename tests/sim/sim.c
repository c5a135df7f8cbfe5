/* sim: the parent process. */
#include "sim/sim.h"

int main(void) {
  return 0;
}
