"""A dense Qwen3 in plain PyTorch, with Hugging Face's parameter names."""
import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "eos_token_id": 2045,
    "head_dim": 32,
    "hidden_act": "silu",
    "hidden_size": 192,
    "initializer_range": 0.02,
    "intermediate_size": 576,
    "max_position_embeddings": 1024,
    "model_type": "qwen3",
    "num_attention_heads": 6,
    "num_hidden_layers": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 2048,
}


class Norm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.d = c["head_dim"]
        q, kv = c["num_attention_heads"], c["num_key_value_heads"]
        h, eps = c["hidden_size"], c["rms_norm_eps"]
        self.q_proj, self.o_proj = linear(h, q * self.d), linear(q * self.d, h)
        self.k_proj, self.v_proj = linear(h, kv * self.d), linear(h, kv * self.d)
        self.q_norm, self.k_norm = Norm(self.d, eps), Norm(self.d, eps)
        self.repeat = q // kv

    def forward(self, x, cos, sin):
        b, t, _ = x.shape

        def heads(y):
            return y.view(b, t, -1, self.d).transpose(1, 2)

        def rotate(y):
            half = self.d // 2
            turned = torch.cat((-y[..., half:], y[..., :half]), -1)
            return y * cos[:t] + turned * sin[:t]

        q = rotate(self.q_norm(heads(self.q_proj(x))))
        k = rotate(self.k_norm(heads(self.k_proj(x))))
        k = k.repeat_interleave(self.repeat, 1)
        v = heads(self.v_proj(x)).repeat_interleave(self.repeat, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        h, m = c["hidden_size"], c["intermediate_size"]
        self.gate_proj, self.up_proj = linear(h, m), linear(h, m)
        self.down_proj = linear(m, h)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        h, eps = c["hidden_size"], c["rms_norm_eps"]
        self.self_attn, self.mlp = Attention(c), Mlp(c)
        self.input_layernorm = Norm(h, eps)
        self.post_attention_layernorm = Norm(h, eps)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(
            Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])


class Qwen3(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = Body(c)
        half = torch.arange(0, c["head_dim"], 2, dtype=torch.float32)
        freq = c["rope_theta"] ** (-half / c["head_dim"])
        angle = torch.arange(c["max_position_embeddings"])[:, None] * freq
        angle = torch.cat((angle, angle), -1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                std = 0.02 if "embed" in name else p.shape[1] ** -0.5 * 0.5
                nn.init.normal_(p, 0.0, std)

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, self.cos, self.sin)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)
