"""What is wrong with a request is said by a 4xx that names the field, and the
service goes on: a table of malformed requests, one row each, and after them a
training step that comes out as it did before.

  service_malformed.py LOCALD MODEL"""
import http.client
import itertools
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, datum, forward_backward, optim_step, zstd_frame

VOCAB, CONTEXT, MAX_BODY = 64, 128, 1 << 20
BAD = (400, 422)  # a value out of range, a body of another shape
JSON = {"Content-Type": "application/json"}
PROTO = {"Content-Type": "application/x-protobuf"}
GONE = object()  # a field that is left out


class Raw(str):
    """JSON text to be put into a body as it is."""


def dump(value):
    """json.dumps that keeps Raw parts."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dump(v)}"
                              for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


def put(body, path, value):
    """A copy of body with the field at path (a.b.0.c) set or left out."""
    key, _, rest = path.partition(".")
    key = int(key) if isinstance(body, list) else key
    copy = list(body) if isinstance(body, list) else dict(body)
    if rest:
        copy[key] = put(copy[key], rest, value)
    elif value is GONE:
        del copy[key]
    else:
        copy[key] = value
    return copy


class Table:
    """The rows: (status or statuses, words of the detail, method, path, body,
    headers)."""

    def __init__(self):
        self.rows = []

    def add(self, status, words, path, body=b"", headers=None, method="POST"):
        data = body if isinstance(body, bytes) else dump(body).encode()
        self.rows.append((status if isinstance(status, tuple) else (status,),
                          words, method, "/api/v1/" + path, data,
                          JSON if headers is None else headers))

    def post(self, words, path, body, status=BAD):
        self.add(status, words, path, body)

    def fields(self, path, good, rules):
        """rules: field: its wrong values. good: makes a fresh body."""
        for field, values in rules.items():
            name = field.rpartition(".")[2]
            for value in values:
                self.post(name, path, put(good(), field, value))


# --- Bodies -----------------------------------------------------------------

class Bodies:
    """Right bodies of every call, each with a number of its own."""

    def __init__(self, service):
        self.service = service
        self.session = service.call("create_session", {})[1]["session_id"]
        self.model = create(service, self.session)
        service.do("save_weights", {"model_id": self.model, "seq_id": 1,
                                    "path": "there"})
        service.do("save_weights_for_sampler", {
            "model_id": self.model, "seq_id": 2, "path": "there"})
        self.sampler = service.call("create_sampling_session", {
            "session_id": self.session, "sampling_session_seq_id": 0,
            "base_model": "m"})[1]["sampling_session_id"]
        self.number = itertools.count(10)

    def next(self):
        return next(self.number)

    def create_session(self):
        return {"tags": ["a"], "user_metadata": {"a": 1},
                "sdk_version": "0.38.0", "project_id": "p",
                "display_name": "d", "type": "create_session"}

    def config(self):
        return {"sdk_version": "0.38.0"}

    def heartbeat(self):
        return {"session_id": self.session, "type": "session_heartbeat"}

    def finish(self):
        return {"reason": {"type": "success"}, "detail": None}

    def create_model(self):
        return {"session_id": self.session, "model_seq_id": self.next(),
                "base_model": "m", "lora_config": {"rank": 4, "seed": 7},
                "optimizer_config": {"type": "adamw"}, "user_metadata": {},
                "type": "create_model"}

    def get_info(self):
        return {"model_id": self.model, "type": "get_info"}

    def forward_backward(self):
        return forward_backward(self.model, self.next(),
                                [datum([1, 2, 3, 4, 5, 6])])

    def policy(self):
        n = [0.5] * 5
        body = self.forward_backward()
        inputs = body["forward_backward_input"]["data"][0]["loss_fn_inputs"]
        del inputs["weights"]
        for name in ("logprobs", "advantages"):
            inputs[name] = {"data": n, "dtype": "float32", "shape": [5]}
        body["forward_backward_input"]["loss_fn"] = "ppo"
        body["forward_backward_input"]["loss_fn_config"] = {}
        return body

    def optim_step(self):
        return optim_step(self.model, self.next(), beta1=0.9, beta2=0.95,
                          eps=1e-12, weight_decay=0.0, grad_clip_norm=0.0)

    def save_weights(self):
        return {"model_id": self.model, "seq_id": self.next(), "path": "x",
                "ttl_seconds": 3600, "overwrite": False,
                "user_metadata": {"a": "b"}, "type": "save_weights"}

    def save_sampler(self):
        return {"model_id": self.model, "seq_id": self.next(), "path": "x",
                "ttl_seconds": 3600, "user_metadata": {"a": "b"},
                "kind": "snapshot", "type": "save_weights_for_sampler"}

    def load_new(self):
        return {"session_id": self.session, "model_seq_id": self.next(),
                "path": f"tinker://{self.model}/weights/there",
                "optimizer": True, "type": "load_weights"}

    def load_into(self):
        return {"model_id": self.model, "seq_id": self.next(),
                "path": f"tinker://{self.model}/weights/there",
                "optimizer": True, "type": "load_weights"}

    def create_sampling(self):
        return {"session_id": self.session,
                "sampling_session_seq_id": self.next(), "base_model": "m"}

    def asample(self):
        return {"sampling_session_id": self.sampler, "seq_id": self.next(),
                "num_samples": 1, "prompt": {"chunks": [
                    {"type": "encoded_text", "tokens": [1, 2, 3]}]},
                "sampling_params": {"max_tokens": 2, "seed": 1, "stop": [],
                                    "temperature": 0.0, "top_k": -1,
                                    "top_p": 1.0},
                "prompt_logprobs": False, "topk_prompt_logprobs": 0,
                "topk_sample_logprobs": 0, "type": "sample"}

    def retrieve(self):
        return {"request_id": f"{self.model}:0", "allow_metadata_only": False}

    def weights_info(self):
        return {"tinker_path": f"tinker://{self.model}/weights/there"}

    def all(self):
        """(path, a right body, one of its required fields)."""
        return [("client/config", self.config, "sdk_version"),
                ("client/dynamic_config", self.config, "sdk_version"),
                ("create_session", self.create_session, None),
                ("session_heartbeat", self.heartbeat, "session_id"),
                (f"sessions/{self.session}/finish", self.finish, None),
                ("create_model", self.create_model, "session_id"),
                ("get_info", self.get_info, "model_id"),
                ("forward_backward", self.forward_backward, "model_id"),
                ("optim_step", self.optim_step, "model_id"),
                ("save_weights", self.save_weights, "path"),
                ("save_weights_for_sampler", self.save_sampler, "model_id"),
                ("load_weights", self.load_new, "path"),
                ("load_weights", self.load_into, "seq_id"),
                ("create_sampling_session", self.create_sampling,
                 "session_id"),
                ("asample", self.asample, "sampling_session_id"),
                ("retrieve_future", self.retrieve, "request_id"),
                ("weights_info", self.weights_info, "tinker_path")]


# --- The body as a whole ----------------------------------------------------

def whole_bodies(t, b):
    for path, good, field in b.all():
        text = dump(good()).encode()
        t.add(422, "JSON", path, b"")
        t.add(422, "JSON", path, b"null")
        t.add(422, "JSON", path, b"[" + text + b"]")
        t.add(422, "JSON", path, text[:-1])
        t.add(422, "JSON", path, text + b"x")
        t.add(422, "UTF-8", path, text[:-1] + b',"k":"\xff\xfe"}')
        t.add(422, "deep", path, text[:-1] + b',"k":' + b"[" * 5000)
        t.add(415, "Content-Type", path, text, {"Content-Type": "text/plain"})
        if path != "forward_backward":
            t.add(415, "Content-Type", path, text, PROTO)
        if field:
            value = json.dumps(json.loads(text)[field]).encode()
            key = json.dumps(field).encode()
            for again in (value, b"null"):
                text = dump(good()).encode()
                t.add(BAD, field + ": given twice", path,
                      text[:-1] + b"," + key + b":" + again + b"}")
    text = dump(b.get_info()).encode()
    t.add(422, "JSON", "get_info", b"\xef\xbb\xbf" + text)
    t.add(422, "JSON", "get_info", text.decode().encode("utf-16"))
    t.add(422, "JSON", "get_info", b"{" * 100)
    t.add(422, "JSON", "get_info", text[:-1] + b',"k":NaN}')
    t.add(422, "JSON", "get_info", text[:-1] + b',"k":01}')
    t.add(422, "JSON", "get_info", text[:-1] + b',"k":"\\ud800"}')
    t.add(422, "JSON", "get_info", text[:-1] + b',"k":"a\nb"}')
    t.add(422, "JSON", "get_info", text[:-1] + b",}")
    encodings(t, b)


def encodings(t, b):
    zstd = {**JSON, "Content-Encoding": "zstd"}
    path = "forward_backward"
    text = dump(b.get_info()).encode()
    t.add(415, "Content-Encoding", "get_info", zstd_frame(text), zstd)
    text = dump(b.forward_backward()).encode()
    for other in ("gzip", "br", "identity", "zstd, zstd", "x" * 500):
        t.add(415, "Content-Encoding", path, text,
              {**JSON, "Content-Encoding": other})
    whole = zstd_frame(text)
    for body in (b"", text, whole[:3], whole[:8]):
        t.add(400, "no zstd frame", path, body, zstd)
    for n in (9, 12, 20, len(whole) - 1):
        t.add(400, "cut off", path, whole[:n], zstd)
    for more in (b"x", whole, zstd_frame(b"")):
        t.add(400, "behind the zstd frame", path, whole + more, zstd)
    t.add(400, "without a content size", path, zstd_frame(text, False), zstd)
    for size in (len(text) - 1, len(text) + 1, 0):
        t.add(400, "damaged", path, zstd_frame(text, size), zstd)
    for size in (MAX_BODY + 1, (1 << 32) - 1):
        t.add(413, "decompressed", path, zstd_frame(text, size), zstd)
    t.add(413, "decompressed", path, zstd_frame(b" " * (MAX_BODY + 1))[:1000],
          zstd)
    t.add(422, "JSON", path, zstd_frame(text[:-1]), zstd)
    t.add(422, "JSON", path, zstd_frame(b""), zstd)


# --- Fields -----------------------------------------------------------------

NO_TEXT = [GONE, None, 5, [], {}, True, "a\0b"]
NO_NUMBER = ["1", [], {}, True, 1.5, Raw("1e3"), Raw("1e999"), Raw("NaN"),
             Raw("-Infinity"), Raw("9223372036854775808"), Raw("0x10")]
NO_REAL = ["1", [], {}, True, Raw("NaN"), Raw("Infinity"), Raw("1e999"),
           Raw("-1e999"), Raw(".5"), Raw("+1")]
NO_BOOL = ["true", 1, 0, [], {}]


def session_fields(t, b):
    t.fields("client/config", b.config, {"sdk_version": NO_TEXT})
    t.fields("create_session", b.create_session, {
        "tags": ["a", {}, 1, [1], [None]], "user_metadata": ["a", [], 1],
        "sdk_version": [1, []], "project_id": [1], "display_name": [1, {}]})
    t.fields("session_heartbeat", b.heartbeat, {"session_id": NO_TEXT})
    t.post("session", "session_heartbeat", {"session_id": "x" * 100000}, 404)
    t.post("session", "session_heartbeat", {"session_id": ""}, 404)
    path = f"sessions/{b.session}/finish"
    t.fields(path, b.finish, {"reason": ["a", [], 1], "detail": [1, {}],
                              "reason.type": [GONE, 1, "", "no", "Success"]})
    t.post("session", "sessions/%00/finish", b.finish(), 404)
    t.fields("get_info", b.get_info, {"model_id": NO_TEXT})
    t.post("model", "get_info", {"model_id": "x" * 100000}, 404)
    t.fields("retrieve_future", b.retrieve, {
        "request_id": NO_TEXT, "allow_metadata_only": NO_BOOL})
    for i in ("", ":", "x", f"{b.model}:", f"{b.model}:99", "9" * 5000,
              f"{b.model}:-1", f"{b.model}:0 "):
        t.post("request_id", "retrieve_future", {"request_id": i}, 404)
    for query, name in [("limit=0", "limit"), ("limit=x", "limit"),
                        ("limit=1001", "limit"), ("limit=1e2", "limit"),
                        ("offset=-1", "offset"), ("offset=", "offset"),
                        ("offset=99999999999999999999", "offset"),
                        ("access_scope=all", "access_scope")]:
        t.add(422, name, "training_runs?" + query, method="GET")


def create_fields(t, b):
    t.fields("create_model", b.create_model, {
        "session_id": NO_TEXT, "model_seq_id": [GONE, None, -1, *NO_NUMBER],
        "base_model": [GONE, None, "", 5], "user_metadata": [[], "a", 1],
        "lora_config": [GONE, None, "a", 1, []],
        "lora_config.rank": [GONE, None, 0, -1, 3, 256, 1 << 32, *NO_NUMBER],
        "lora_config.seed": NO_NUMBER, "lora_config.train_attn": NO_BOOL,
        "lora_config.train_mlp": NO_BOOL,
        "lora_config.train_unembed": NO_BOOL,
        "optimizer_config": ["adamw", 1, []],
        "optimizer_config.type": [GONE, None, "dimuon", 1, ""]})
    t.post("train_unembed", "create_model", put(
        b.create_model(), "lora_config",
        {"rank": 4, "train_attn": False, "train_mlp": False,
         "train_unembed": False}))
    t.post("rank: given twice", "create_model", put(
        b.create_model(), "lora_config", Raw('{"rank":4,"rank":8}')))
    t.post("base_model", "create_model",
           put(b.create_model(), "base_model", "../m"), 404)
    t.post("session", "create_model",
           put(b.create_model(), "session_id", "none"), 404)


def train_fields(t, b):
    fb, data = "forward_backward", "forward_backward_input.data"
    inputs = data + ".0.loss_fn_inputs"
    tokens = data + ".0.model_input.chunks.0.tokens"
    target = inputs + ".target_tokens"
    t.fields(fb, b.forward_backward, {
        "model_id": [*NO_TEXT, ""], "seq_id": [GONE, None, 0, -1, 1 << 31,
                                               *NO_NUMBER],
        data: [GONE, None, {}, "a", [], [1], [None], [[]]],
        "forward_backward_input.loss_fn": [GONE, None, "", 1, "dro", "a\0b",
                                           "x" * 300],
        target: [GONE, None]})
    t.post("loss_fn", fb, put(b.forward_backward(), "forward_backward_input",
                              GONE))
    t.post("forward_backward_input", fb,
           put(b.forward_backward(), "forward_backward_input", []))
    for config in ["a", [], {"beta": 1.0}, {"": 1}, {"a": None}, {"a": [1]},
                   {"a": True}]:
        t.post("loss_fn_config", fb, put(
            b.forward_backward(), "forward_backward_input.loss_fn_config",
            config))
    for name in ("loss_fn", "data"):
        body = b.forward_backward()
        inner = dump(body["forward_backward_input"])
        again = json.dumps(body["forward_backward_input"][name])
        body["forward_backward_input"] = Raw(
            f'{inner[:-1]},"{name}":{again}}}')
        t.post(f"{name}: given twice", fb, body)
    for words, path, values in [
            ("data[0].model_input", data + ".0.model_input",
             [GONE, None, [], 1, {}, {"chunks": []}, {"chunks": [
                 {"type": "image", "data": "", "format": "png"}]},
              {"chunks": [{"type": "encoded_text"}]}, {"chunks": [[]]},
              {"chunks": [{"type": "encoded_text", "tokens": []}]}]),
            ("data[0].model_input", tokens,
             [GONE, None, "a", [1.5] * 5, [None] * 5, [-1] * 5,
              [VOCAB] * 5, [1 << 31] * 5, [1 << 63] * 5, [1, [2]],
              ["1"] * 5, [True] * 5, [1] * (CONTEXT + 1)]),
            ("data[0].loss_fn_inputs", inputs,
             [None, [], 1, {}]),
            ("data.loss_fn_inputs", inputs, [{"x" * 300: {}}]),
            ("'data'", inputs + ".weights.data", [[Raw("NaN")] * 5]),
            ("target_tokens", target,
             [[1] * 5, {}, "a", {"data": [1] * 5}]),
            ("target_tokens", target + ".data",
             [GONE, None, "a", [1] * 4, [1] * 6, [1.5] * 5, [VOCAB] * 5,
              [-1] * 5, [1 << 63] * 5, []]),
            ("target_tokens", target + ".dtype",
             [GONE, None, "", "int32", "float32", 1]),
            ("target_tokens", target + ".shape",
             ["a", [4], [5, 2], [-5], [1 << 62, 4], [5, 0], [1] * 9, [1.5],
              [0], [5, 1, 1]]),
            ("target_tokens", target + ".sparse_crow_indices",
             [[0, 5], "a", []]),
            ("target_tokens", target, [
                {"data": [1], "dtype": "int64", "shape": [5, 9],
                 "sparse_crow_indices": crow, "sparse_col_indices": col}
                for crow, col in [([0, 1], [0]), ([0] * 5 + [2], [0]),
                                  ([1] * 6, [0]), ([0] * 5 + [1], [9]),
                                  ([0] * 5 + [1], [-1]),
                                  ([0, 1, 0, 1, 1, 1], [0]),
                                  ([0] * 5 + [1], [0, 1])]]),
            ("weights", inputs + ".weights",
             [GONE, {"data": [Raw("1e999")] * 5, "dtype": "float32"},
              {"data": [Raw("1e39")] * 5, "dtype": "float32"},
              {"data": [1] * 5, "dtype": "int64"},
              {"data": [1.0] * 5, "dtype": "float32", "shape": [5, 1, 1]},
              {"data": [1.0] * 4, "dtype": "float32", "shape": [4]}]),
            ("mask", inputs + ".mask", [{"data": [1.0] * 5,
                                         "dtype": "float32"}])]:
        for value in values:
            t.post(words, fb, put(b.forward_backward(), path, value))
    t.post("model_input: given twice", fb, put(
        b.forward_backward(), data + ".0",
        Raw('{"model_input":{"chunks":[]},"model_input":{"chunks":[]}}')))
    t.post("data given twice", fb, put(
        b.forward_backward(), target,
        Raw('{"data":[1],"data":[2],"dtype":"int64"}')))
    policy = "forward_backward_input."
    t.fields(fb, b.policy, {
        inputs + ".logprobs": [GONE], inputs + ".advantages": [GONE],
        policy + "loss_fn_config.clip_low_threshold": [-1.0, "a", 5.0],
        policy + "loss_fn_config.clip_high_threshold": [-1.0, "a"],
        policy + "loss_fn_config.clip": [1.0]})
    t.post("model", fb, put(b.forward_backward(), "model_id", "none"), 404)
    t.post("model_id", fb, put(b.forward_backward(), "model_id", "x" * 9999))


def optim_fields(t, b):
    real = [None, -1.0, -1e-9, 1e30, *NO_REAL]
    t.fields("optim_step", b.optim_step, {
        "model_id": NO_TEXT, "seq_id": [GONE, 0, -5, 1 << 31, *NO_NUMBER],
        "adam_params": [GONE, None, [], 1, "a"],
        "adam_params.learning_rate": real, "adam_params.weight_decay": real,
        "adam_params.beta1": [1.0, 1e300, *real],
        "adam_params.beta2": [1.0, 2, *real],
        "adam_params.eps": [0, 1e-60, *real],
        "adam_params.grad_clip_norm": [None, *NO_REAL]})
    t.post("beta1: given twice", "optim_step", put(
        b.optim_step(), "adam_params", Raw('{"beta1":0.9,"beta1":0.8}')))
    t.post("optimizer_params", "optim_step", put(
        b.optim_step(), "optimizer_params", {"type": "adamw"}))
    for family in ("dimuon", "", 5, None):
        t.post("optimizer_params", "optim_step", put(put(
            b.optim_step(), "adam_params", GONE), "optimizer_params",
            {"type": family}))
    t.post("model", "optim_step", put(b.optim_step(), "model_id", ""), 404)


def save_fields(t, b):
    for path, good in [("save_weights", b.save_weights),
                       ("save_weights_for_sampler", b.save_sampler)]:
        t.fields(path, good, {
            "model_id": NO_TEXT, "seq_id": [GONE, 0, -1, *NO_NUMBER],
            "ttl_seconds": [0, -1, 3599, 10 * 366 * 86400 + 1, 1 << 62,
                            *NO_NUMBER],
            "user_metadata": ["a", [], {"a": 1}, {"a": {}}, {"a": None}],
            "path": [GONE, None, "", 5, [], "x" * 201, "a/b", "a\\b", "a b",
                     "a?b", "a#b", "a\0b", "a\nb", "a\x7f", ".", "..", "/",
                     "../x", "/etc/passwd", "../../x"]})
    t.fields("save_weights", b.save_weights, {"overwrite": NO_BOOL})
    t.fields("save_weights_for_sampler", b.save_sampler, {
        "kind": ["", "other", 1], "sampling_session_seq_id": [0, *NO_NUMBER]})
    for words, more in [
            ("sampling_session_seq_id", {}),
            ("sampling_session_seq_id", {"sampling_session_seq_id": -1}),
            ("kind", {"kind": "inflight", "path": "x"}),
            ("kind", {"kind": "inflight", "sampling_session_seq_id": 1,
                      "ttl_seconds": 3600})]:
        t.post(words, "save_weights_for_sampler", {
            "model_id": b.model, "seq_id": b.next(), **more})


def load_fields(t, b):
    t.fields("load_weights", b.load_new, {
        "session_id": [GONE, 5, "a\0b"],
        "model_seq_id": [GONE, -1, *NO_NUMBER], "path": NO_TEXT,
        "optimizer": [GONE, None, *NO_BOOL], "user_metadata": [[], 1],
        "base_model": [1, "other"], "optimizer_config": ["a", 1]})
    t.fields("load_weights", b.load_into, {
        "seq_id": [GONE, -1, 0, *NO_NUMBER], "path": [GONE, 5],
        "optimizer": [GONE, *NO_BOOL], "model_id": [5, []],
        "session_id": [b.session]})
    t.post("dimuon", "load_weights", {**b.load_new(), "optimizer_config":
                                      {"type": "dimuon"}})
    t.post("LoadWeights", "load_weights", b.load_into())
    t.post("training", "load_weights", {
        **b.load_new(), "path": f"tinker://{b.model}/sampler_weights/there"})
    m = b.model
    for path in ["", "tinker://", "tinker:///weights/there", "/etc/passwd",
                 "file:///etc/passwd", "tinker://../weights/there",
                 f"tinker://{m}/weights/../there", f"tinker://{m}/weights/",
                 f"tinker://{m}/weights/..", f"tinker://{m}/weights/.",
                 f"tinker://{m}/other/there", f"tinker://{m}/there",
                 f"tinker://{m}/weights/there/", f"tinker://{m}//there",
                 f"tinker://{m}/weights/there%2f", f"tinker://{m}/weights/x",
                 f"TINKER://{m}/weights/there", f" tinker://{m}/weights/there",
                 f"tinker://{m}/weights/%2e%2e", f"tinker://x/weights/there",
                 f"tinker://{m}/../checkpoints/1", "tinker://" + "x" * 9999,
                 f"tinker://{m}\\weights\\there", "tinker://./././",
                 f"tinker://{m}/WEIGHTS/there", "tinker://\u202e/weights/a"]:
        bad = (400, 404)
        t.post("tinker path" if "weights/" not in path else "", "load_weights",
               {**b.load_new(), "path": path}, bad)
        t.post("", "weights_info", {"tinker_path": path}, bad)
        t.post("", "create_sampling_session",
               {**b.create_sampling(), "model_path": path}, bad)
    t.fields("weights_info", b.weights_info, {"tinker_path": NO_TEXT})


def wrong_targets():
    """For a prompt of three tokens: two rows."""
    good = {"data": [1, 2], "dtype": "int64", "shape": [2, 1]}
    csr = {**good, "sparse_crow_indices": [0, 1, 2],
           "sparse_col_indices": [0, 0]}
    changes = [
        (good, "data", [[], [1], [1, 2, 3], [-1, -1], [1, VOCAB], [-2, 1],
                        [1.5, 1], None, "a"]),
        (good, "dtype", ["float32", "int32", 1, None]),
        (good, "shape", [[], [2], [1, 2], [3, 1], [2, 0], [-2, -1], [2, 1, 1],
                         [1 << 40, 1 << 40], [1 << 62, 4], "a", None]),
        (csr, "data", [[-1, -1], [1], [VOCAB, 1]]),
        (csr, "shape", [None, [2], [1, 1], [3, 1], [-1, 1], [2, 0],
                        [2, 1 << 40]]),
        (csr, "sparse_crow_indices", [[], [0, 2], [0, 1, 3], [1, 1, 2],
                                      [0, 2, 1], [0, -1, 2], None, 1]),
        (csr, "sparse_col_indices", [[], [0], [0, 1], [0, -1], [0, 0, 0],
                                     [1 << 62, 0], None, 1])]
    return [{**start, key: value} for start, key, values in changes
            for value in values]


def sample_fields(t, b):
    t.fields("create_sampling_session", b.create_sampling, {
        "session_id": NO_TEXT,
        "sampling_session_seq_id": [GONE, -1, *NO_NUMBER],
        "base_model": [GONE, 5], "model_path": [5]})
    t.post("base_model", "create_sampling_session",
           {**b.create_sampling(), "base_model": "x"}, 404)
    t.post("model_path", "create_sampling_session", {
        **b.create_sampling(), "model_path":
        f"tinker://{b.model}/weights/there"})
    p = "sampling_params."
    chunks = "prompt.chunks"
    t.fields("asample", b.asample, {
        "sampling_session_id": [GONE, None, 5], "seq_id": [GONE, -1,
                                                           *NO_NUMBER],
        "num_samples": [0, -1, 1025, 1 << 40, *NO_NUMBER],
        "prompt": [GONE, None, [], 1, {}, {"chunks": []}, {"chunks": 1}],
        "sampling_params": [GONE, None, [], 1],
        p + "max_tokens": [0, -1, 1 << 40, CONTEXT, *NO_NUMBER],
        p + "seed": ["1", [], 1.5, Raw("18446744073709551616"), True],
        p + "temperature": [-1.0, -1e-9, 1e31, 1e300, *NO_REAL],
        p + "top_k": [0, -2, 1 << 31, *NO_NUMBER],
        p + "top_p": [0, -0.1, 1.01, 1e300, *NO_REAL],
        p + "stop": [1, {}, True, [1, "a"], ["a", 1], [""], "", [-1],
                     [1 << 31], [1.5], [None], [[]], list(range(300)), ["x"]],
        "prompt_logprobs": NO_BOOL,
        "topk_prompt_logprobs": [-1, 1025, 65, *NO_NUMBER],
        "topk_sample_logprobs": [-1, 1025, 65, *NO_NUMBER],
        "prompt_alt_tokens_k": [-1, 4097, 1 << 40, *NO_NUMBER],
        "prompt_logprobs_last_n": [0, 1, -1, *NO_NUMBER],
        "target_prompt_logprobs": [1, [], {}, *wrong_targets()],
        "record_stability_info": [True, 1],
        "base_model": ["m", 1], "model_path": ["tinker://x", 1]})
    text = {"type": "encoded_text"}
    for tokens in ["a", [1.5], [-1], [VOCAB], [1 << 31], [None], [[1]], {},
                   [True], ["1"], [], [1] * CONTEXT, [1] * 5000, None]:
        t.post("rompt", "asample", put(
            b.asample(), chunks, [{**text, "tokens": tokens}]))
    for chunk in [1, [], text, {"type": "image", "data": "", "format": "png"},
                  {"type": "dmel", "dmel": ""}, {"type": 5, "tokens": [1]}]:
        t.post("prompt", "asample", put(b.asample(), chunks, [chunk]))
    t.post("prompt", "asample", put(b.asample(), chunks, [
        {**text, "tokens": [1]}] * 5000))
    for name in ("prompt", "sampling_params", "num_samples"):
        inner = dump(b.asample())
        value = json.dumps(b.asample()[name])
        t.post(f"{name}: given twice", "asample",
               f'{inner[:-1]},"{name}":{value}}}'.encode())
    t.post("top_p: given twice", "asample", put(
        b.asample(), "sampling_params", Raw('{"top_p":1,"top_p":0.5}')))
    t.post("sampling session", "asample",
           {**b.asample(), "sampling_session_id": "../x"}, 404)


# --- Protobuf ---------------------------------------------------------------

def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def field(number, value):
    """A varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(data, dtype, shape=None, csr=None):
    out = b"" if data is None else field(1, data)
    if csr:
        out += field(2, b"".join(field(i + 1, c) for i, c in enumerate(csr)))
    out += field(3, dtype)
    return out + field(4, b"".join(varint(s & (1 << 64) - 1)
                                   for s in shape)) if shape else out


def i32(*v):
    return struct.pack(f"<{len(v)}i", *v)


def i64(*v):
    return struct.pack(f"<{len(v)}q", *v)


def f32(*v):
    return struct.pack(f"<{len(v)}f", *v)


TARGETS = tensor(i64(2, 3, 4), 2, [3])
WEIGHTS = tensor(f32(1, 1, 1), 1, [3])


def request(b, tokens=i32(1, 2, 3), inputs=None, loss=b"cross_entropy",
            model=None, seq=None, tail=b"", config=b""):
    if inputs is None:
        inputs = [(b"target_tokens", TARGETS), (b"weights", WEIGHTS)]
    one = field(1, field(1, field(1, tokens))) if tokens is not None else b""
    for name, value in inputs:
        one += field(2, field(1, name) + field(2, value))
    return (field(1, model if model is not None else b.model.encode()) +
            field(2, b.next() if seq is None else seq) + field(3, one) +
            field(4, loss) + config + tail)


def protobuf_bodies(t, b):
    def add(words, body, status=BAD):
        t.add(status, words, "forward_backward", body, PROTO)

    good = request(b)
    for cut in range(1, len(good), 3):  # the loss, its last field, is missed
        add("", request(b)[:cut])
    add("model_id", b"")
    add("malformed", b"\xff" * 20)
    add("malformed", b"\x0a\xff\xff\xff\xff\x0f" + good)
    add("malformed", good + b"\x0b")
    add("malformed", b"\x0a" + b"\xff" * 9 + b"\x7f")
    add("malformed", dump(b.forward_backward()).encode())
    add("ForwardBackwardRequest", request(b, tail=field(3, b"\xff")))
    add("ForwardBackwardRequest", request(b, tail=b"\x1a\x02\x0a\x7f"))
    add("model_id", request(b, model=b""))
    add("model_id", request(b, model=b"a\0b"))
    add("model_id", request(b, model=b"\xff"))
    add("model_id", request(b, model=b"x" * 5000))
    add("model", request(b, model=b"none"), 404)
    add("model_id", field(1, 5) + good[good.index(b"\x10"):])
    for seq in (0, -1, 1 << 31):
        add("seq_id", request(b, seq=seq))
    for loss in (b"", b"dro", b"\xff", b"a\0", b"x" * 300):
        add("loss_fn", request(b, loss=loss))
    one = field(1, b"beta") + b"\x11" + struct.pack("<d", 1)
    add("loss_fn_config.beta", request(b, config=field(5, one)))
    add("loss_fn_config", request(b, config=field(5, one) * 2))
    add("loss_fn_config", request(b, config=field(5, one) * 100))
    add("loss_fn_config", request(b, config=field(7, field(1, b"beta"))))
    add("loss_fn_config", request(b, config=field(7, field(1, b"\xff") +
                                                  field(2, field(2, b"x")))))
    add("ForwardBackwardRequest", request(b, config=field(7, field(
        1, b"beta") + field(2, field(1, b"x")))))
    where = "data[0].model_input"
    for tokens in (None, b"", i32(1, 2, 3)[:-1], i32(1, 2, VOCAB),
                   i32(-1, 1, 1), i32(*[1] * (CONTEXT + 1)),
                   i32(1 << 30, 1, 1)):
        add(where, request(b, tokens=tokens))
    image = field(1, field(2, field(1, b"x") + field(2, b"png")))
    add(where, request(b, tokens=None, tail=b"").replace(
        field(3, field(2, field(1, b"target_tokens") + field(2, TARGETS)) +
              field(2, field(1, b"weights") + field(2, WEIGHTS))),
        field(3, image)))
    for value in (tensor(i64(1, 2, 3), 0), tensor(i64(1, 2, 3), 1, [3]),
                  tensor(i64(1, 2, 3), 4, [3]), tensor(i64(1, 2, 3), 99, [3]),
                  tensor(i64(1, 2, 3)[:-1], 2, [3]), tensor(None, 2, [3]),
                  tensor(i64(1, 2), 2, [2]), tensor(i64(1, 2, 3), 2, [4]),
                  tensor(i64(1, 2, 3), 2, [-3]),
                  tensor(i64(1, 2, 3), 2, [1 << 62, 1 << 62]),
                  tensor(i64(1, 2, 3), 2, [1] * 70),
                  tensor(i64(1, 2, 3), 2, [3, 1, 1]),
                  tensor(i64(1, 2, VOCAB), 2, [3]),
                  tensor(i64(1, 2, -1), 2, [3]),
                  tensor(i64(1, 2, 1 << 62), 2, [3]), b"",
                  tensor(f32(1, 2, 3), 1, [3]),
                  tensor(i32(1, 2, -3), 3, [3]),
                  tensor(None, 2, [3, 2], (i64(1), i64(0, 0, 0, 1), i64(2))),
                  tensor(None, 2, [3, 2], (i64(1), i64(0, 0, 0, 1), i64(-1))),
                  tensor(None, 2, [3, 2], (i64(1), i64(0, 0, 1), i64(0))),
                  tensor(None, 2, [3, 2], (i64(1), i64(0, 9, 0, 1), i64(0))),
                  tensor(None, 2, [3, 2], (i64(1), i64(0, -1, 0, 1), i64(0))),
                  tensor(None, 2, [3, 2], (i64(1), b"1234567", i64(0))),
                  tensor(None, 2, [3, 2], (b"", b"", b"")),
                  tensor(None, 2, [-1, 2], (b"", b"", b"")),
                  tensor(None, 2, [1 << 26, 1 << 26],
                         (i64(1), i64(0, 1), i64(0))),
                  tensor(None, 2, [3], (i64(1), i64(0, 0, 0, 1), i64(0)))):
        add("target_tokens", request(b, inputs=[(b"target_tokens", value),
                                                (b"weights", WEIGHTS)]))
    for value in (tensor(f32(1, 1, float("nan")), 1, [3]),
                  tensor(f32(1, 1, float("inf")), 1, [3]),
                  tensor(f32(1, 1), 1, [2]), tensor(f32(1, 1, 1), 1, [3, 1, 1]),
                  tensor(i64(1, 1, 1), 2, [3]), tensor(b"123", 1, [3])):
        add("weights", request(b, inputs=[(b"target_tokens", TARGETS),
                                          (b"weights", value)]))
    both = [(b"target_tokens", TARGETS), (b"weights", WEIGHTS)]
    add("target_tokens", request(b, inputs=both[1:]))
    add("weights", request(b, inputs=both[:1]))
    add("twice", request(b, inputs=both + both[:1]))
    add("mask", request(b, inputs=both + [(b"mask", WEIGHTS)]))
    add("loss_fn_inputs", request(b, inputs=both + [(b"\xff", WEIGHTS)]))
    add("loss_fn_inputs", request(b, inputs=both + [(b"", WEIGHTS)]))
    add("loss_fn_inputs", request(b, inputs=[
        (f"n{i}".encode(), WEIGHTS) for i in range(70)]))


# --- Targets and methods ----------------------------------------------------

def targets(t, b):
    for path in ("", "nothing", "/optim_step", "../optim_step", "Optim_step",
                 "optim_step%00", "optim_step/x", "optim_step%",
                 "sessions//finish", "%2e%2e/healthz", "%ff%fe", "a" * 8000,
                 "healthz%00x"):
        t.add(404, "no such endpoint", path, b"{}")
    for path in ("../../../etc/passwd", "..", "%2e%2e", "a%2fb", "%00",
                 "..%2f..%2fetc%2fpasswd", "x" * 5000):
        t.add(404, "", "training_runs/" + path, method="GET")
        t.add(404, "", "training_runs/" + path + "/checkpoints", method="GET")
        t.add(404, "", "samplers/" + path, method="GET")
    for path, _, _ in b.all():
        for method in ("GET", "PUT", "DELETE"):
            t.add(405, method, path, method=method)
    for path in ("healthz", "training_runs", "checkpoints",
                 "get_server_capabilities", f"samplers/{b.sampler}"):
        t.add(405, "POST", path, b"{}")
        t.add(405, "PATCH", path, b"{}", method="PATCH")
    t.add(413, "larger than", "optim_step",
          b'{"a":"' + b"x" * MAX_BODY + b'"}')
    t.add(413, "larger than", "forward_backward", b"\x0a" * (MAX_BODY + 1),
          PROTO)


# --- Running the table ------------------------------------------------------

def run_table(service, rows):
    """Over one connection, which must stay usable."""
    c, wrong, dropped = service.connection(), [], 0
    for statuses, words, method, path, body, headers in rows:
        try:
            c.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                c.putheader(name, value)
            c.putheader("Content-Length", str(len(body)))
            c.endheaders(body)
            reply = c.getresponse()
            text, status = reply.read(), reply.status
            detail = json.loads(text).get("detail")
        except (OSError, ValueError, http.client.HTTPException) as e:
            status, detail = 0, repr(e)
            c.close()
            dropped += 1
        if status not in statuses or not isinstance(detail, str) or \
                not detail or words not in detail:
            wrong.append(f"{method} {path[:80]} {body[:300]!r}: {status} "
                         f"{detail!r}, expected {statuses} {words!r}")
    c.close()
    return wrong


def check_rows(service):
    t, b = Table(), Bodies(service)
    for part in (whole_bodies, session_fields, create_fields, train_fields,
                 optim_fields, save_fields, load_fields, sample_fields,
                 protobuf_bodies, targets):
        part(t, b)
    wrong = run_table(service, t.rows)
    for line in wrong:
        print(line)
    assert not wrong, f"{len(wrong)} of {len(t.rows)} rows"
    assert len(t.rows) >= 300
    return len(t.rows)


# --- HTTP below the calls ---------------------------------------------------

def exchange(path, data, wait=True):
    """Sends bytes, returns all that comes back (b"" when it was hung up).
    wait false: hangs up itself, the message not being a whole one."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(locald.GUARD_S)
    s.connect(path)
    out = b""
    try:
        s.sendall(data)
        if wait:
            s.shutdown(socket.SHUT_WR)
        while wait:
            part = s.recv(65536)
            if not part:
                break
            out += part
    except OSError:
        pass
    s.close()
    return out


def check_http(service, model_id):
    body = dump({"model_id": model_id}).encode()
    post = b"POST /api/v1/get_info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    size = b"Content-Length: %d\r\n\r\n" % len(body)
    one = b"%x\r\n%b\r\n" % (len(body), body)
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    ten = post.replace(b"HTTP/1.1", b"HTTP/1.0")
    messages = [  # the statuses, None: hung up without an answer
            # Right requests in less usual clothes.
            (post + size + body, [200]), (ten + size + body, [200]),
            (post.replace(b": x", b": a b@c") + size + body, [200]),
            (chunked + one + b"0\r\n\r\n", [200]),
            (chunked + b"".join(b"1\r\n%c\r\n" % c for c in body) +
             b"0\r\n\r\n", [200]),
            (chunked + one + b"0\r\nX: y\r\n\r\n", [200]),
            # Wrong ones.
            (chunked + b"zz\r\n" + body + b"\r\n0\r\n\r\n", [400, None]),
            (chunked + b"-1\r\n\r\n0\r\n\r\n", [400, None]),
            (chunked + b"ffffffffffffffffff\r\n", [400, 413, None]),
            (chunked + b"%x\r\n" % (MAX_BODY + 1) + b" " * (MAX_BODY + 1) +
             b"\r\n0\r\n\r\n", [413]),
            # Two programs may read these in different ways.
            (post + size[:-2] + size + body, [400]),
            (post + size[:-2] + b"Transfer-Encoding: chunked\r\n\r\n" + one +
             b"0\r\n\r\n", [400]),
            (chunked.replace(b"chunked", b"gzip") + body, [400]),
            (post + size.replace(b":", b" :") + body, [400]),
            (post + b"Host: y\r\n" + size + body, [400]),
            (post.replace(b"Host: x\r\n", b"") + size + body, [400]),
            (post.replace(b": x", b": x\0y") + size + body, [400]),
            (post.replace(b"POST", b"PO\0ST") + size + body, [400]),
            (post + b"X: a\r\n b\r\n" + size + body, [400]),
            (chunked + one[:-5], []),
            (post + b"Content-Length: -1\r\n\r\n", [400, None]),
            (post + b"Content-Length: x\r\n\r\n", [400, None]),
            (post + b"Content-Length: 99999999999999999999\r\n\r\n",
             [400, 413, None]),
            (post + size[:-4] + b"9\r\n\r\n" + body, []),
            (post + b"X: " + b"a" * 100000 + b"\r\n" + size + body,
             [400, 413, 431, None]),
            (post + b"".join(b"X%d: a\r\n" % i for i in range(20000)) + size +
             body, [400, 413, 431, None]),
            (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
             [400, 404, 414, None]),
            (b"GET /api/v1/healthz HTTP/1.1\r\n\r\n", [400]),
            (b"GET /api/v1/healthz HTTP/9.9\r\nHost: x\r\n\r\n",
             [400, 505, None]),
            (b"GET /api/v1/healthz\r\n\r\n", [400, None]),
            (b"GET /api/v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
            (b"GET /api/v1/a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
             [400]),
            (b"GET\r\n\r\n", [400, None]), (b"\r\n\r\n", []),
            (b"\x00" * 500, []), (b"\xff" * 50000, [400, 414, 431,
                                                             None]),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", []),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [400, 404, 505, None]),
            (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [400, 404, 405]),
            (b"HEAD /api/v1/healthz HTTP/1.1\r\nHost: x\r\n\r\n", [405]),
            (b"GET http://x/api/v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n",
             [400, 404])]
    for raw, statuses in messages:
        reply = exchange(service.socket, raw, bool(statuses))
        status = int(reply[9:12]) if reply.startswith(b"HTTP/1.") else None
        assert status in statuses or not statuses, (raw[:200], reply[:300])
    # Hung up in the middle, many times.
    for cut in range(1, len(post + size + body), 12):
        exchange(service.socket, (post + size + body)[:cut], False)
    return len(messages)


# --- Names ------------------------------------------------------------------

NAMES = ["../x", "../../x", "/x", "/etc/passwd", "..", ".", "./x", "x/", "//",
         "a/../../b", "..\\x", "\\x", "C:\\x", "x\0", "\0", "x\0/../y", "%2f",
         "..%2fx", "%2e%2e%2fx", "%2e%2e", "%00", "%c0%ae%c0%ae", "..;", "...",
         ".hidden", "-rf", "--help", "~", "~root", "$HOME", "`id`", "$(id)",
         ";ls", "|ls", "a\nb", "a\rb", "\t", " ", "a b", "'; DROP TABLE x;--",
         '"', "*", "?", "a#b", "x" * 200, "x" * 201, "x" * 100000,
         "\u00e9" * 100, "\u00e9" * 101, "\u202egpj", "\u2025/x",
         "\uff0e\uff0e\uff0fx", "\U0001f600", "CON", "nul.txt", "x.tmp", "1",
         "1.tmp", "weights", "%s%s%n", "{}", "\x7f", "\x1b[2J", "a:b", "&x=1",
         "\x9b2J", "a\u2028", "\u2066x\u2069", "\u200f", "\u061c"]


def tree(folder):
    found = set()
    for root, folders, files in os.walk(folder):
        found.update(os.path.relpath(os.path.join(root, f), folder)
                     for f in folders + files)
    return found


def check_names(service):
    """A name is refused or kept as a name: no file's path comes of it."""
    for field in ("display_name", "project_id"):
        for name in ("\x1b[2J", "\u202egpj", "a\nb"):
            status, reply = service.call("create_session", {field: name})
            assert status == 422 and field in reply["detail"], (name, reply)
    session = service.call("create_session", {})[1]["session_id"]
    model = create(service, session)
    beside = tree(service.dir) - {
        f for f in tree(service.dir) if f.startswith("state/")}
    seq, kept = itertools.count(1), {"weights": set(),
                                     "sampler_weights": set()}
    for name in NAMES:
        for call, kind in [("save_weights", "weights"),
                           ("save_weights_for_sampler", "sampler_weights")]:
            status, reply = service.call(call, {
                "model_id": model, "seq_id": next(seq), "path": name})
            if status != 200:
                assert status in BAD and "path" in reply["detail"], (name,
                                                                     reply)
                continue
            _, done = service.result(reply["request_id"])
            assert done["path"] == f"tinker://{model}/{kind}/{name}", done
            kept[kind].add(name)
    hidden = {"\t", "a\nb", "\x7f", "\x1b[2J", "\u202egpj", "\x9b2J", "a\u2028",
              "\u2066x\u2069", "\u200f", "\u061c"}
    assert hidden < set(NAMES)
    for kind, names in kept.items():
        assert not names & hidden, names & hidden
        assert not names & {".", "..", "/x", "../x", "x\0"}
        # What was kept can be found again by its path, byte by byte.
        for name in names:
            assert service.call("weights_info", {
                "tinker_path": f"tinker://{model}/{kind}/{name}"})[0] == 200
    status, reply = service.call(f"training_runs/{model}/checkpoints")
    assert status == 200 and len(reply["checkpoints"]) == sum(
        map(len, kept.values()))
    now = tree(service.dir)
    assert {f for f in now if not f.startswith("state/")} == beside
    for f in now:
        top, _, rest = f.partition("state/checkpoints/")
        assert top or not rest or rest.split("/")[0].isdigit(), f
    assert not any(n in os.path.basename(f) for f in now for n in
                   ("passwd", "hidden", "gpj", "DROP"))
    return len(NAMES)


# --- Access -----------------------------------------------------------------

def ask(url, key):
    c = http.client.HTTPConnection(url[7:], timeout=locald.GUARD_S)
    c.request("GET", "/api/v1/get_server_capabilities",
              headers={} if key is None else {"X-API-Key": key})
    reply = c.getresponse()
    text, status = reply.read(), reply.status
    c.close()
    return status, text


def check_web_pages(program, model):
    """A page's requests to the loopback port, rebound names included."""
    port = 0

    def page(host, **headers):
        c = http.client.HTTPConnection("127.0.0.1", port,
                                       timeout=locald.GUARD_S)
        c.request("POST", "/api/v1/create_session", "{}", {
            "Host": host.format(port), "X-API-Key": "tml-",
            "Content-Type": "application/json", **headers})
        reply = c.getresponse()
        text, status = reply.read(), reply.status
        c.close()
        assert status == 200 or b"detail" in text, text
        return status
    good = "http://good.example"
    s = locald.Service(program, model, ["--listen", "127.0.0.1:0",
                                        "--allow-origin=" + good])
    port = int(s.start()["http"].rsplit(":", 1)[1])
    evil = "http://evil.example"
    assert page("evil.example:{}", Origin=evil + f":{port}") == 421
    assert page("evil.example:{}") == 421
    assert page("localhost:{}", Origin=evil) == 403
    assert page("localhost:{}", Origin="null") == 403
    assert s.call("sessions")[1]["sessions"] == []
    assert page("localhost:{}", Origin=good) == 200
    assert page("127.0.0.1:{}") == page("[::1]:{}") == 200
    assert page("localhost.:1") == 200  # as through a tunnel
    assert len(s.call("sessions")[1]["sessions"]) == 4
    assert s.stop() == 0


def check_access(service, program, model):
    assert stat.S_IMODE(os.stat(service.socket).st_mode) == 0o600
    for folder in ("", "checkpoints", "snapshots"):
        path = os.path.join(service.state, folder)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700, path
    for f in tree(service.state):
        mode = stat.S_IMODE(os.lstat(os.path.join(service.state, f)).st_mode)
        assert not mode & 0o077, (f, oct(mode))
    with tempfile.TemporaryDirectory(prefix="tk") as d:
        start = [program, "--model", model, "--state", d + "/state"]
        for address in ("0.0.0.0:0", "[::]:0", "198.51.100.1:0"):
            p = subprocess.run([*start, "--listen", address],
                               capture_output=True, text=True, check=False,
                               timeout=locald.GUARD_S)
            assert p.returncode == 6 and not p.stdout, p
            assert "is not a loopback address: that needs --key-file" in \
                p.stderr and p.stderr.count("\n") == 1, p
    key = "tml-0123456789"
    with tempfile.NamedTemporaryFile("w", prefix="tk") as f:
        f.write(key + "\n")
        f.flush()
        keyed = locald.Service(program, model, ["--listen", "127.0.0.1:0",
                                                "--key-file", f.name])
        url = keyed.start()["http"]
    for given in (None, "", "x", key[:-1], key + "0", key.upper(), " ",
                  "tml-" + "x" * 5000, key[:-1] + "8", "\xff" * 14):
        status, text = ask(url, given)
        assert status == 401 and b"X-API-Key" in text, (given, status, text)
    assert ask(url, key)[0] == 200
    # Without the key a body is not kept, whatever its size.
    c = http.client.HTTPConnection(url[7:], timeout=locald.GUARD_S)
    c.request("POST", "/api/v1/get_info", b" " * MAX_BODY, JSON)
    assert c.getresponse().status == 401
    c.close()
    assert keyed.stop() == 0
    open_one = locald.Service(program, model, ["--listen", "127.0.0.1:0"])
    url = open_one.start()["http"]
    assert [ask(url, k)[0] for k in (None, "x", "tml-any")] == [401, 401, 200]
    assert open_one.stop() == 0


# --- Everything -------------------------------------------------------------

def train(service, model):
    """A step and what comes after it."""
    data = [datum([1, 2, 3, 4, 5, 6]), datum([6, 5, 4, 3])]
    return [service.do("forward_backward", forward_backward(model, 1, data)),
            service.do("optim_step", optim_step(model, 2, grad_clip_norm=0.1)),
            service.do("forward_backward", forward_backward(model, 3, data))]


def check_telemetry(service):
    """Old clients send again, for ever, what is refused."""
    c = service.connection()
    for text in (b"", b"[", b'{"events":["\\ud800"]}', b"\xff"):
        c.request("POST", "/api/v1/telemetry", text,
                  {"Content-Type": "application/json"})
        reply = c.getresponse()
        got = reply.status, json.loads(reply.read())
        assert got == (200, {"status": "accepted"}), (text, got)
    c.close()


def main():
    program, model = sys.argv[1:3]
    service = locald.Service(program, model, ["--max-body", str(MAX_BODY)])
    service.start()
    session = service.call("create_session", {})[1]["session_id"]
    first, second = create(service, session, 0), create(service, session, 1)
    expected = train(service, first)
    assert expected[0] != expected[2]
    rows = check_rows(service)
    check_telemetry(service)
    raw = check_http(service, first)
    names = check_names(service)
    check_access(service, program, model)
    check_web_pages(program, model)
    assert service.call("healthz") == (200, {"status": "ok"})
    assert train(service, second) == expected
    assert train(service, create(service, session, 2)) == expected
    assert service.stop() == 0
    assert not service.events("fatal") and not service.events("http_panic")
    print(f"{rows} malformed calls, {raw} malformed HTTP messages and {names} "
          "hostile names refused or harmless")


if __name__ == "__main__":
    main()
