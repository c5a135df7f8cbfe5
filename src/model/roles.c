/* roles: see roles.h. Pure, any thread. */
#include "model/roles.h"

#include <stdio.h>

static const char *const names[TINKER__ROLE_COUNT] = {
    [TINKER__ROLE_EMBED] = "model.embed_tokens.weight",
    [TINKER__ROLE_FINAL_NORM] = "model.norm.weight",
    [TINKER__ROLE_LM_HEAD] = "lm_head.weight",
    [TINKER__ROLE_ATTN_NORM] = "input_layernorm.weight",
    [TINKER__ROLE_MLP_NORM] = "post_attention_layernorm.weight",
    [TINKER__ROLE_Q] = "self_attn.q_proj.weight",
    [TINKER__ROLE_K] = "self_attn.k_proj.weight",
    [TINKER__ROLE_V] = "self_attn.v_proj.weight",
    [TINKER__ROLE_O] = "self_attn.o_proj.weight",
    [TINKER__ROLE_GATE] = "mlp.gate_proj.weight",
    [TINKER__ROLE_UP] = "mlp.up_proj.weight",
    [TINKER__ROLE_DOWN] = "mlp.down_proj.weight",
    [TINKER__ROLE_Q_BIAS] = "self_attn.q_proj.bias",
    [TINKER__ROLE_K_BIAS] = "self_attn.k_proj.bias",
    [TINKER__ROLE_V_BIAS] = "self_attn.v_proj.bias",
    [TINKER__ROLE_O_BIAS] = "self_attn.o_proj.bias",
    [TINKER__ROLE_Q_NORM] = "self_attn.q_norm.weight",
    [TINKER__ROLE_K_NORM] = "self_attn.k_norm.weight",
};

bool tinker__role_present(const tinker__model_config_t *c,
                          tinker__role_t role) {
  switch (role) {
  case TINKER__ROLE_LM_HEAD: return !c->tied;
  case TINKER__ROLE_Q_BIAS:
  case TINKER__ROLE_K_BIAS:
  case TINKER__ROLE_V_BIAS: return c->qkv_bias;
  case TINKER__ROLE_O_BIAS: return c->o_bias;
  case TINKER__ROLE_Q_NORM:
  case TINKER__ROLE_K_NORM: return c->qk_norm;
  default: return true;
  }
}

void tinker__role_name(char out[TINKER__ROLE_NAME_MAX], tinker__role_t role,
                       uint32_t layer) {
  if (tinker__role_layered(role)) {
    snprintf(out, TINKER__ROLE_NAME_MAX, "model.layers.%u.%s", (unsigned)layer,
             names[role]);
  } else {
    snprintf(out, TINKER__ROLE_NAME_MAX, "%s", names[role]);
  }
}

static uint32_t matrix(uint64_t shape[2], uint64_t rows, uint64_t cols) {
  shape[0] = rows;
  shape[1] = cols;
  return 2;
}

static uint32_t vector(uint64_t shape[2], uint64_t n) {
  shape[0] = n;
  shape[1] = 0;
  return 1;
}

uint32_t tinker__role_shape(const tinker__model_config_t *c,
                            tinker__role_t role, uint64_t shape[2]) {
  uint64_t q = (uint64_t)c->num_heads * c->head_dim;
  uint64_t kv = (uint64_t)c->num_kv_heads * c->head_dim;
  switch (role) {
  case TINKER__ROLE_EMBED:
  case TINKER__ROLE_LM_HEAD:
    return matrix(shape, c->vocab_size, c->hidden_size);
  case TINKER__ROLE_Q: return matrix(shape, q, c->hidden_size);
  case TINKER__ROLE_K:
  case TINKER__ROLE_V: return matrix(shape, kv, c->hidden_size);
  case TINKER__ROLE_O: return matrix(shape, c->hidden_size, q);
  case TINKER__ROLE_GATE:
  case TINKER__ROLE_UP:
    return matrix(shape, c->intermediate_size, c->hidden_size);
  case TINKER__ROLE_DOWN:
    return matrix(shape, c->hidden_size, c->intermediate_size);
  case TINKER__ROLE_Q_BIAS: return vector(shape, q);
  case TINKER__ROLE_K_BIAS:
  case TINKER__ROLE_V_BIAS: return vector(shape, kv);
  case TINKER__ROLE_Q_NORM:
  case TINKER__ROLE_K_NORM: return vector(shape, c->head_dim);
  default: return vector(shape, c->hidden_size);
  }
}
