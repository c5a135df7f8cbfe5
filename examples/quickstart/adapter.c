/* adapter: the weights and the optimizer of a checkpoint, as the service has
 * them on disk. The API gives no digest of a checkpoint, so the proof looks
 * into the state folder of its own service. Parent only. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "quick.h"

/* FNV-1a over a file's bytes; 0 if it can't be read. */
static uint64_t digest_of(const char *path, long *size) {
  unsigned char block[4096];
  uint64_t hash = 14695981039346656037u;
  size_t n;
  FILE *file = fopen(path, "rb");
  if (file == NULL) return 0;
  for (*size = 0; (n = fread(block, 1, sizeof block, file)) > 0;
       *size += (long)n) {
    for (size_t i = 0; i < n; i++) hash = (hash ^ block[i]) * 1099511628211u;
  }
  fclose(file);
  return hash;
}

/* The number of the newest checkpoint: folders are numbered as they are
 * made. */
static long newest(const char *folder) {
  long best = -1;
  struct dirent *entry;
  DIR *dir = opendir(folder);
  if (dir == NULL) quick_die("%s can't be read", folder);
  while ((entry = readdir(dir)) != NULL) {
    char *end;
    long number = strtol(entry->d_name, &end, 10);
    if (end != entry->d_name && *end == '\0' && number > best) best = number;
  }
  closedir(dir);
  return best;
}

void quick_adapter_newest(quick_adapter_t *adapter,
                          const quick_paths_t *paths) {
  char folder[1024], path[1100];
  snprintf(folder, sizeof folder, "%s/service/checkpoints", paths->out);
  snprintf(path, sizeof path, "%s/%ld/state.safetensors", folder,
           newest(folder));
  adapter->digest = digest_of(path, &adapter->size);
  if (adapter->digest == 0) quick_die("%s can't be read", path);
}
