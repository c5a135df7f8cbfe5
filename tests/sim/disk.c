/* disk: the log, and what a power failure does. The parent's thread. */
#include "sim/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/disk_in.h"

enum { BLOCK = 4096 };

sim_disk_t *sim_disk_new(void) {
  void *at = mmap(NULL, sizeof(sim_disk_t), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

sim_disk_fault_t *sim_disk_fault(sim_disk_t *d) {
  return &d->fault;
}

size_t sim_disk_unsynced(const sim_disk_t *d) {
  return d->live;
}

static void forget(sim_disk_t *d) {
  d->n = d->live = d->used = 0;
}

static void kept_name(const sim_disk_t *d, int32_t kept, char *out) {
  snprintf(out, SIM_DISK_NAMES + 32, "%s.bin/%d", d->folder, (int)kept);
}

void sim_disk_begin(sim_disk_t *d, const char *folder) {
  char bin[SIM_DISK_NAMES + 32];
  forget(d);
  d->kept = d->file_count = 0;
  memset(&d->fault, 0, sizeof d->fault);
  snprintf(d->folder, sizeof d->folder, "%s", folder);
  snprintf(bin, sizeof bin, "%s.bin", folder);
  mkdir(bin, 0700);
}

/* --- The power fails ------------------------------------------------------ */

typedef enum { ALL_STAYS, ALL_GOES, SOME_GOES } luck_t;

typedef struct {
  sim_disk_t *disk;
  uint64_t seed;
  size_t names_from; /* changes of names from this one on are lost */
} loss_t;

static luck_t luck_of(const loss_t *l, int32_t file) {
  sim_rng_t r = sim_rng(l->seed, (uint64_t)file);
  return (luck_t)sim_rng_below(&r, 3);
}

/* Is what the i-th change did to this block lost? block -1: the length. */
static bool is_lost(const loss_t *l, int32_t file, int64_t block, size_t i) {
  luck_t luck = luck_of(l, file);
  if (luck != SOME_GOES) return luck == ALL_GOES;
  sim_rng_t r =
      sim_rng(l->seed ^ (uint64_t)(file + 1) << 32, (uint64_t)(block + 2));
  return i >= sim_rng_below(&r, l->disk->n + 1);
}

static void put_back(const loss_t *l, const sim_entry_of_disk_t *e, size_t i,
                     int fd) {
  const char *old = l->disk->bytes + e->at;
  int64_t at = e->from, end = e->from + (int64_t)e->len;
  while (at < end) {
    int64_t next = (at / BLOCK + 1) * BLOCK;
    if (next > end) next = end;
    if (is_lost(l, e->file, at / BLOCK, i)) {
      ssize_t n = pwrite(fd, old + (at - e->from), (size_t)(next - at), at);
      if (n != next - at) abort();
    }
    at = next;
  }
}

/* What the file grew by is cut, or has no bytes where they are lost. */
static void put_length_back(const loss_t *l, const sim_entry_of_disk_t *e,
                            size_t i, int fd) {
  static const char zeros[BLOCK];
  struct stat st;
  if (fstat(fd, &st) != 0) abort();
  if (is_lost(l, e->file, -1, i)) {
    if (ftruncate(fd, e->old_length) != 0) abort();
    return;
  }
  for (int64_t at = e->old_length; at < st.st_size;) {
    int64_t next = (at / BLOCK + 1) * BLOCK;
    if (next > st.st_size) next = st.st_size;
    if (is_lost(l, e->file, at / BLOCK, i) &&
        pwrite(fd, zeros, (size_t)(next - at), at) != next - at) {
      abort();
    }
    at = next;
  }
}

static void undo_bytes(const loss_t *l, const sim_entry_of_disk_t *e,
                       size_t i) {
  const char *name = l->disk->files[e->file].name;
  int fd = name[0] ? open(name, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return; /* it has no name any more */
  put_back(l, e, i, fd);
  if (e->old_length >= 0) put_length_back(l, e, i, fd);
  close(fd);
}

static void rename_file(sim_disk_t *d, const char *from, const char *to) {
  for (int32_t i = 0; i < d->file_count; i++) {
    if (strcmp(d->files[i].name, from) == 0) {
      snprintf(d->files[i].name, SIM_DISK_NAMES, "%s", to);
    }
  }
}

/* The file in the bin has its name again. */
static void restore(sim_disk_t *d, const sim_entry_of_disk_t *e) {
  char kept[SIM_DISK_NAMES + 32];
  struct stat st;
  if (!e->kept) return;
  kept_name(d, e->kept, kept);
  if (stat(kept, &st) != 0 || rename(kept, e->name) != 0) return;
  for (int32_t i = 0; i < d->file_count; i++) {
    if (d->files[i].inode != st.st_ino) continue;
    snprintf(d->files[i].name, SIM_DISK_NAMES, "%s", e->name);
  }
}

static void undo_name(sim_disk_t *d, const sim_entry_of_disk_t *e) {
  if (e->what == SIM_CHANGE_MADE) {
    unlink(e->name);
    rename_file(d, e->name, "");
    return;
  }
  if (e->what == SIM_CHANGE_MOVED) {
    if (rename(e->name, e->other) == 0) rename_file(d, e->name, e->other);
  }
  restore(d, e);
}

/* What SQLite shares between processes is memory, though it has a name. */
static void drop_shared(sim_disk_t *d) {
  for (int32_t i = 0; i < d->file_count; i++) {
    const char *name = d->files[i].name;
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "-shm") == 0) unlink(name);
  }
}

void sim_disk_power_loss(sim_disk_t *d, sim_rng_t *rng) {
  loss_t l = {d, sim_rng_next(rng), 0};
  l.names_from = sim_rng_below(rng, d->n + 1);
  for (size_t i = d->n; i-- > 0;) {
    const sim_entry_of_disk_t *e = &d->entries[i];
    if (e->what == SIM_CHANGE_NONE) continue;
    if (e->what == SIM_CHANGE_BYTES) {
      undo_bytes(&l, e, i);
    } else if (i >= l.names_from) {
      undo_name(d, e);
    }
  }
  drop_shared(d);
  forget(d);
}
