"""Decoding and prefill of the CPU engine against llama.cpp's.

usage: engine_llama.py BENCH_ENGINE LLAMA_BENCH [THREADS [TURNS]]
(PyPI: gguf; bench/compare builds llama-bench and calls this)

A random model of Qwen3-0.6B's shape in bf16 is written once, as a Hugging Face
folder and as a GGUF file of the same weights. Each side in turn reads a prompt
of 128 tokens and generates 32; a line for each has tokens/s of both and the
ratio, ours over llama.cpp's.
"""
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy

import turns

SHAPE, PROMPT, TOKENS = "qwen3-0.6b", 128, 32
NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
         "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
         "post_attention_layernorm": "ffn_norm"}


def gguf_name(name):
    name = name.removeprefix("model.").removesuffix(".weight")
    if name.startswith("layers."):
        _, layer, rest = name.split(".", 2)
        return f"blk.{layer}.{NAMES[rest]}.weight"
    return {"embed_tokens": "token_embd.weight",
            "norm": "output_norm.weight"}[name]


def read_tensors(path):
    """(name, shape, bf16 values as integers) of a safetensors file."""
    data = numpy.memmap(path, numpy.uint8, "r")
    head = 8 + int.from_bytes(data[:8].tobytes(), "little")
    for name, entry in json.loads(data[8:head].tobytes()).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            yield (name, entry["shape"],
                   data[head + start:head + end].view(numpy.uint16))


def write_gguf(folder, path):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        c = json.load(f)
    w = gguf.GGUFWriter(path, "qwen3")
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_key_length(c["head_dim"])
    w.add_value_length(c["head_dim"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("none")
    for name, shape, bits in read_tensors(
            os.path.join(folder, "model.safetensors")):
        if len(shape) == 1:
            wide = bits.astype(numpy.uint32) << 16
            w.add_tensor(gguf_name(name), wide.view(numpy.float32))
        else:
            w.add_tensor(gguf_name(name),
                         bits.reshape(shape).view(numpy.uint8),
                         raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama_seconds(program, model, threads):
    """{"prefill": s, "decode": s} of one run of each."""
    done = subprocess.run(
        [program, "-m", model, "-t", str(threads), "-p", str(PROMPT), "-n",
         str(TOKENS), "-r", "1", "-o", "json"],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return {"prefill" if t["n_prompt"] else "decode":
            t["samples_ns"][0] * 1e-9 for t in json.loads(done.stdout)}


def race(program, llama, model, threads, count):
    commands = {"prefill": f"prefill {PROMPT}", "decode": f"decode 1 {TOKENS}"}
    work = {"prefill": PROMPT, "decode": TOKENS}
    ours = turns.Engine(program, SHAPE, "bf16", threads)
    times = {op: ([], []) for op in commands}
    for command in commands.values():
        ours.seconds(command)
    for _ in range(count):
        for op, command in commands.items():
            times[op][0].append(ours.seconds(command))
        for op, seconds in llama_seconds(llama, model, threads).items():
            times[op][1].append(seconds)
    for op in commands:
        turns.compare({"bench": "engine_llama", "op": op, "model": SHAPE,
                       "dtype": "bf16", "set": ours.facts["set"],
                       "threads": threads, "tokens": work[op]},
                      "tokens_per_s", work[op], *times[op], "llama_cpp")
    ours.close()


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    with tempfile.TemporaryDirectory(prefix="tinker-bench-") as folder:
        model = os.path.join(folder, "model.gguf")
        subprocess.run([sys.argv[1], "write", SHAPE, "bf16", folder],
                       check=True)
        write_gguf(folder, model)
        os.unlink(os.path.join(folder, "model.safetensors"))
        race(sys.argv[1], sys.argv[2], model, threads, count)


if __name__ == "__main__":
    main()
