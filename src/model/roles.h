/* roles: which tensors an architecture has, their names and shapes. Pure. */
#ifndef TINKER_MODEL_ROLES_H
#define TINKER_MODEL_ROLES_H

#include "model/folder.h"

#define TINKER__ROLE_NAME_MAX 96

bool tinker__role_present(const tinker__model_config_t *c, tinker__role_t role);
/* Name in the file: "model.layers.3.self_attn.q_proj.weight". */
void tinker__role_name(char out[TINKER__ROLE_NAME_MAX], tinker__role_t role,
                       uint32_t layer);
/* Returns the rank, 1 or 2. */
uint32_t tinker__role_shape(const tinker__model_config_t *c,
                            tinker__role_t role, uint64_t shape[2]);
/* True for the roles that exist once per layer. */
static inline bool tinker__role_layered(tinker__role_t role) {
  return role >= TINKER__ROLE_ATTN_NORM;
}

#endif
