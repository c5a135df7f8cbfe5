"""Model folders as they are found: vocabularies wider than the tokenizer, files
that can't be read, values that nobody needs, pointers in the place of files.

  service_folders.py LOCALD MODEL"""
import array
import copy
import json
import os
import pathlib
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald

BYTES = json.loads((pathlib.Path(__file__).parents[1] /
                    "golden/tokenizers/bytes.json").read_text("utf-8"))
LFS = (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 +
       b"\nsize 12345678\n")
PAGE = b"<!DOCTYPE html>\n<html><body>Sign in to continue</body></html>"
H = 8
TMP = tempfile.TemporaryDirectory(prefix="tk")


def tokenizer(**changes):
    made = copy.deepcopy(BYTES)
    for key, value in changes.items():
        (made["model"] if key in made["model"] else made)[key] = value
    return json.dumps(made).encode()


def weights(vocab, favoured):
    """A llama of one layer that gives the favoured ids alone, each as often."""
    head = [0.0] * (vocab * H)
    for i in favoured:
        head[i * H] = 30.0
    one, square = ([H], [1.0] * H), ([H, H], [0.0] * (H * H))
    p = "model.layers.0."
    tensors = {
        "model.embed_tokens.weight":
            ([vocab, H], ([1.0] + [0.0] * (H - 1)) * vocab),
        "model.norm.weight": one, "lm_head.weight": ([vocab, H], head),
        p + "input_layernorm.weight": one,
        p + "post_attention_layernorm.weight": one,
        **{f"{p}self_attn.{n}_proj.weight": square for n in "qkvo"},
        **{f"{p}mlp.{n}_proj.weight": square for n in ("gate", "up", "down")}}
    header, body = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape,
                        "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def folder(vocab=256, favoured=(68,), files=(), **config):
    """A model folder; files: (name, bytes) put in place of its own."""
    d = pathlib.Path(tempfile.mkdtemp(dir=TMP.name))
    made = {
        "config.json": json.dumps({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "vocab_size": vocab, "hidden_size": H, "intermediate_size": H,
            "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 2, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "hidden_act": "silu",
            "tie_word_embeddings": False, "eos_token_id": 1,
            **config}).encode(),
        "tokenizer.json": tokenizer(),
        "model.safetensors": weights(vocab, favoured), **dict(files)}
    for name, data in made.items():
        if data is not None:
            (d / name).write_bytes(data)
    return str(d)


class Sampling:
    """A service on a folder, and a sampling session."""

    def __init__(self, path):
        self.service = locald.Service(sys.argv[1], path)
        self.service.start()
        session = self.service.call("create_session", {})[1]["session_id"]
        status, reply = self.service.call("create_sampling_session", {
            "session_id": session, "sampling_session_seq_id": 0,
            "base_model": "m"})
        assert status == 200, reply
        self.id, self.seq = reply["sampling_session_id"], -1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        assert self.service.stop() == 0
        self.service.end()

    def sample(self, n=1, **params):
        """(status, reply), of the result if it is accepted."""
        self.seq += 1
        status, reply = self.service.call("asample", {
            "sampling_session_id": self.id, "seq_id": self.seq,
            "num_samples": n,
            "prompt": {"chunks": [{"type": "encoded_text", "tokens": [5]}]},
            "sampling_params": {"max_tokens": 8, "seed": 1, **params}})
        if status != 200:
            return status, reply
        return self.service.result(reply["request_id"])


def check_a_padded_vocabulary():
    """Ids that the tokenizer has no text for are in no stop string's way."""
    with Sampling(folder(vocab=320, favoured=(68, 300))) as s:
        status, free = s.sample()
        tokens = free["sequences"][0]["tokens"]
        assert status == 200 and set(tokens) == {68, 300}, free
        assert s.sample(stop=["zzz"]) == (200, free)
        # "DD" with ids without text between its letters
        status, reply = s.sample(stop=["DD"])
        second = [i for i, t in enumerate(tokens) if t == 68][1]
        assert reply["sequences"][0]["tokens"] == tokens[:second + 1], reply
        assert reply["sequences"][0]["stop_reason"] == "stop"
        status, reply = s.sample(stop=[68])
        assert status == 200 and reply["sequences"][0]["tokens"][-1] == 68
        assert s.sample(stop=[319])[0] == 200
        for stop in ([320], [68, 999999]):
            status, reply = s.sample(stop=stop)
            assert status == 400 and reply["detail"] == (
                f"sampling_params.stop[{len(stop) - 1}]: must be a token from "
                f"0 to 319, not {stop[-1]}"), reply


def check_one_limit_of_samples():
    with Sampling(folder()) as s:
        for n in (0, 1025, 2000, 5000):
            assert s.sample(n) == (400, {
                "detail": f"num_samples: must be 1 to 1024, not {n}"})
        assert s.sample(1024, max_tokens=1)[0] == 200


def check_a_tokenizer_that_cannot_be_read():
    """Everything works that needs no text; the rest says why it doesn't."""
    for data, said in ((tokenizer(byte_fallback=True), "byte_fallback is true"),
                       (tokenizer(pre_tokenizer={"type": "Metaspace"}),
                        "Metaspace"),
                       (tokenizer(type="Unigram"), "Unigram"),
                       (LFS, "is a git-lfs pointer"), (PAGE, "is a web page"),
                       (b"", "is empty"), (tokenizer()[:300], "is cut"),
                       (None, "need a tokenizer.json in the model's folder")):
        path = folder(files=[("tokenizer.json", data)])
        with Sampling(path) as s:
            status, reply = s.sample(stop=["zzz"])
            assert status == 400 and said in reply["detail"], reply
            assert reply["detail"].startswith("sampling_params.stop: ")
            assert s.sample(stop=[68])[0] == s.sample()[0] == 200
            logged = s.service.events("no_stop_strings")
            assert len(logged) == (data is not None), logged
            for line in logged:
                assert said in line["why"] and line["base_model"] == "m", line


def check_what_is_taken():
    none = (("tokenizer.json", None),)
    untyped = json.loads(tokenizer())
    del untyped["model"]["type"]
    files = {"padding": tokenizer(padding={
                 "strategy": "BatchLongest", "direction": "Right",
                 "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
                 "pad_token": "!"}),
             "truncation": tokenizer(truncation={
                 "direction": "Right", "max_length": 512,
                 "strategy": "LongestFirst", "stride": 0}),
             "untyped": json.dumps(untyped).encode()}
    for data in files.values():
        with Sampling(folder(files=[("tokenizer.json", data)])) as s:
            assert s.sample(stop=["zzz"])[0] == 200
            assert s.service.events("no_stop_strings") == []
    for config in ({"bos_token_id": 128000}, {"hidden_act": "swish"},
                   {"model_type": "mistral", "sliding_window": None,
                    "architectures": ["MistralForCausalLM"]}):
        with Sampling(folder(files=none, **config)) as s:
            assert s.sample()[0] == 200


def check_what_keeps_it_from_starting():
    """Exit code 5 and the reason, on the last line."""
    cut = weights(256, ())[:-100]
    mistral = {"model_type": "mistral", "sliding_window": 16,
               "architectures": ["MistralForCausalLM"]}
    for said, path in (
            ("is a git-lfs pointer", folder(files=[("model.safetensors", LFS)])),
            ("is a web page", folder(files=[("model.safetensors", PAGE)])),
            ("is empty", folder(files=[("model.safetensors", b"")])),
            ("the file is cut", folder(files=[("model.safetensors", cut)])),
            ("config.json is a git-lfs", folder(files=[("config.json", LFS)])),
            ("generation_config.json is a web page",
             folder(files=[("generation_config.json", PAGE)])),
            ("model.safetensors.index.json is a git-lfs pointer",
             folder(files=[("model.safetensors", None),
                           ("model.safetensors.index.json", LFS)])),
            ("config.json: rms_norm_eps is NaN",
             folder(rms_norm_eps=float("nan"))),
            ("sliding_window is 16", folder(**mistral))):
        s = locald.Service(sys.argv[1], path)
        try:
            s.start()
            raise AssertionError(said)
        except RuntimeError:
            assert s.process.wait() == 5
            last = s.log().splitlines()[-1]
            assert said in last and path in last, last
        s.end()


if __name__ == "__main__":
    locald.run_checks(globals())
