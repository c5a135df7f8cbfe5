/* backend: see backend.h. */
#include "engine/backend.h"

int tinker__eng_backend_load(const tinker__engine_api_t *api,
                             tinker__engine_t *e, const char *model_dir,
                             tinker__eng_base_t **out, char *why,
                             size_t why_len) {
  tinker__eng_load_t *load;
  int rc = api->load_begin(e, model_dir, &load, why, why_len);
  if (rc) return rc;
  do {
    rc = api->load_step(load, NULL, why, why_len);
  } while (rc > 0);
  api->load_end(load, rc ? NULL : out);
  return rc;
}
