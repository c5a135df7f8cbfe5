/* disk_in: the log of changes, between disk.c, which plays it back, and
 * disk_calls.c, which writes it. */
#ifndef TESTS_SIM_DISK_IN_H
#define TESTS_SIM_DISK_IN_H

#include "sim/disk.h"

enum {
  SIM_DISK_FILES = 8192,
  SIM_DISK_NAMES = 160,
  SIM_DISK_ENTRIES = 1 << 16,
  SIM_DISK_BYTES = 64 << 20
};

typedef enum {
  SIM_CHANGE_NONE,  /* it was synced */
  SIM_CHANGE_BYTES, /* a write or a cut: old bytes and the old length */
  SIM_CHANGE_MADE,  /* the name was made */
  SIM_CHANGE_GONE,  /* the name was removed; `kept` has the file */
  SIM_CHANGE_MOVED  /* from `other`; `kept` has what stood there before */
} sim_change_t;

typedef struct {
  sim_change_t what;
  int32_t file; /* of BYTES */
  int64_t from, old_length;
  size_t at, len; /* of the old bytes */
  char name[SIM_DISK_NAMES], other[SIM_DISK_NAMES];
  int32_t kept; /* number of the file in the bin; 0 = none */
} sim_entry_of_disk_t;

struct sim_disk_s {
  char folder[SIM_DISK_NAMES];
  sim_disk_fault_t fault;
  struct {
    ino_t inode;
    char name[SIM_DISK_NAMES]; /* where it is; "" = it has no name any more */
  } files[SIM_DISK_FILES];
  int32_t file_count;
  int32_t kept; /* numbers of the bin so far */
  size_t n, live, used;
  sim_entry_of_disk_t entries[SIM_DISK_ENTRIES];
  char bytes[SIM_DISK_BYTES];
};

#endif
