"""The requests of the recorded scenarios, sent to the local service with its
own ids: it answers with the fields, types and statuses of the protocol.

  service_golden.py LOCALD EXCHANGES MODEL [SCENARIO...]

EXCHANGES is tests/golden/exchanges. What a recorded server does that the
protocol does not ask for is in the table DIFFERS, with the reason; calls that
this service does not offer are counted by name."""
import base64
import collections
import glob
import gzip
import json
import math
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
import wire

PROTO = "application/x-protobuf"
END = 319  # the model's end-of-sequence token
NUMBER = (int, float)
OPTIONAL = lambda *kinds: (*kinds, type(None), "absent")

# --- What a reply must look like ---------------------------------------------

FUTURE = {"request_id": str, "model_id": OPTIONAL(str)}
CHECKPOINT = {"checkpoint_id": str, "checkpoint_type": str, "time": str,
              "tinker_path": str, "size_bytes": OPTIONAL(int),
              "public": (bool, "absent"), "user_metadata": OPTIONAL(dict),
              "expires_at": OPTIONAL(str)}
RUN = {"training_run_id": str, "base_model": str, "model_owner": str,
       "is_lora": bool, "corrupted": (bool, "absent"),
       "lora_rank": OPTIONAL(int), "last_request_time": str,
       "last_checkpoint": OPTIONAL(dict),
       "last_sampler_checkpoint": OPTIONAL(dict),
       "user_metadata": OPTIONAL(dict)}
CURSOR = {"offset": int, "limit": int, "total_count": int}
REPLIES = {
    "client/config": {"pjwt_auth_enabled": bool},
    "client/dynamic_config": {},
    "healthz": {"status": str},
    "get_server_capabilities": {"supported_models": list},
    "create_session": {"session_id": str, "info_message": OPTIONAL(str),
                       "warning_message": OPTIONAL(str),
                       "error_message": OPTIONAL(str)},
    "session_heartbeat": {},
    "create_sampling_session": {"sampling_session_id": str},
    "create_model": FUTURE, "forward": FUTURE, "forward_backward": FUTURE,
    "optim_step": FUTURE, "save_weights": FUTURE, "load_weights": FUTURE,
    "save_weights_for_sampler": FUTURE,
    "asample": {**FUTURE, "sample_sequence_ids": list},
    "get_info": {"model_id": str, "model_data": dict, "is_lora":
                 OPTIONAL(bool), "lora_rank": OPTIONAL(int), "model_name":
                 OPTIONAL(str), "optimizer_config": (dict, "absent")},
    "weights_info": {"base_model": str, "is_lora": bool, "lora_rank":
                     OPTIONAL(int), "train_unembed": OPTIONAL(bool),
                     "train_mlp": OPTIONAL(bool), "train_attn":
                     OPTIONAL(bool), "optimizer_config": (dict, "absent")},
    "training_runs": {"training_runs": list, "cursor": dict},
    "training_runs/*": RUN,
    "training_runs/*/checkpoints": {"checkpoints": list},
    "checkpoints": {"checkpoints": list, "cursor": dict},
    "sessions": {"sessions": list},
    "sessions/*": {"training_run_ids": list, "sampler_ids": list,
                   "user_metadata": OPTIONAL(dict),
                   "display_name": OPTIONAL(str)},
    "samplers/*": {"sampler_id": str, "base_model": str, "model_path":
                   OPTIONAL(str)}}
EMPTY = {"sessions/*/finish", "training_runs/*/checkpoints/*/*",
         "training_runs/*/checkpoints/*/*/publish",
         "training_runs/*/checkpoints/*/*/ttl"}
RESULTS = {
    "create_model": {"model_id": str}, "optim_step": {
        "metrics": OPTIONAL(dict)},
    "save_weights": {"path": str}, "load_weights": {
        "path": OPTIONAL(str), "model_id": OPTIONAL(str)},
    "save_weights_for_sampler": {"path": OPTIONAL(str),
                                 "sampling_session_id": OPTIONAL(str)}}
METRIC = re.compile(r"[^:]+:(sum|mean|min|max|slack|unique|hash2)")

# --- Calls that this service does not offer ------------------------------------

LACKING = {
    "auth/token", "cancel_future", "copy_weights", "create_custom_loss",
    "join_sampling_session", "retrieve_futures", "save_weights_external",
    "unload_model", "sessions/search", "sessions/*/project",
    "sessions/*/trace_export", "audit", "billing/usage/events",
    "billing/usage/checkpoints/current",
    "training_runs/*/checkpoints/*/archive",
    "training_runs/*/checkpoints/*/*/archive",
    "training_runs/*/checkpoints/*/*/external_weights_urls",
    "training_runs/*/checkpoints/*", "models/*/checkpoints", "", "nothing/here"}

# Where this service answers otherwise than the recorded server: (scenario,
# call, status there, status here, words of the reply, reason). Sections are
# those of the protocol.
DIFFERS = [
    # The recorded server failed on purpose, or lacks what is here.
    ("stub_(faults|futures|jwt)", "", "[45]..", "200", "",
     "the stub injects faults; here the call is a good one"),
    ("skyrl038_breaks", "load_weights", "422", "200", "",
     "19.2 row 2: the only form since 0.38"),
    ("skyrl038_breaks", "sessions/./finish", "404", "200", "", "19.2 row 5"),
    ("skyrl", "checkpoints|sessions", "404", "200", "", "2.6"),
    ("skyrl", ".*(publish|ttl)", "4..", "204", "", "2.6"),
    ("skyrl_rest", "weights_info", "400", "200", "",
     "2.6: of any checkpoint; that server knows training ones only"),
    ("skyrl_sampling", "asample", "422", "200", "", "8.5: stop may be a text"),
    ("skyrl_sampling", "asample", "400", "200", "",
     "8.5: max_tokens may be absent"),
    ("skyrl_raw", "create_session", "422", "200", "",
     "2.3: no field of it is required"),
    # What is not offered is refused by name.
    ("skyrl_errors", "create_model", "200", "404", "not served here", "2.7"),
    ("stub", "load_weights|create_model", "200", "400",
     "tiny-qwen3:short' differs|'dimuon' is not an optimizer", "6.7"),
    ("stub", "get_info|optim_step", "200", "404", "model not found",
     "of a model that was refused"),
    ("stub", "forward_backward", "200", "400",
     "loss_fn '(custom|stable_reinforce)' is not one of", "7.4"),
    ("skyrl_raw", "forward_backward", "422", "400", "no zstd frame", "2.7"),
    ("stub", "asample", "200", "400",
     "record_stability_info is not supported", "19.2 row 12"),
    ("stub", "asample|forward_backward", "200", "400",
     "only (encoded_text|text) chunks", "no images, no audio"),
    ("skyrl_raw", "asample", "200|422", "400",
     "sampling_session_id is required", "2.5: the SDK always sends it"),
    # What is wrong is refused, with 400 where it is the value.
    ("stub_losses", "forward_backward", "200", "400",
     "'no_such_loss'|clip_high_threshold: not an input", "7.1"),
    ("skyrl_errors", "create_model", "200", "400", "rank must be positive",
     "2.7"),
    ("skyrl_errors", "forward_backward", "200", "400",
     "target_tokens: must have one row|outside the vocabulary",
     "20 row 10: never accepted silently"),
    ("skyrl_errors", "forward_backward", "500", "400",
     "target_tokens: required", "16.1: unhandled there"),
    ("skyrl_errors", "forward_backward|save_weights|optim_step", "422", "400",
     "is not one of|not an (input|option)|checkpoint name|out of range",
     "2.7"),
    ("stub_datums", "forward_backward", "200", "400",
     "weights: required|no tokens", "7.1"),
    ("stub_save_load", "load_weights", "200", "400", "only as a model's first",
     "6.9"),
    ("skyrl_raw", "create_model", "422", "400", "lora_config is required",
     "2.7"),
    ("skyrl_raw", "asample", "400", "404", "sampling session not found",
     "5: ids have a ':' in them"),
    ("skyrl_raw", "save_weights", "200", "422", "seq_id is required", "6.2"),
    # When something turns out.
    ("skyrl_errors", "save_weights", "409", "200", "",
     "2.7: ResourceAlreadyExists in the future; the SDK repeats a 409 for "
     "five minutes"),
    ("skyrl_errors", "create_sampling_session", "200", "404", "not found",
     "2.7: at once, not with the first sample"),
    ("skyrl_sampler_ckpt", "asample", "404", "200", "",
     "the deleted checkpoint is told in the future"),
]


def shape(reply, spec, where):
    assert isinstance(reply, dict), (where, reply)
    for name, kinds in spec.items():
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        if name not in reply:
            assert "absent" in kinds, f"{where}: {name} is missing in {reply}"
            continue
        types = tuple(k for k in kinds if k != "absent")
        value = reply[name]
        good = isinstance(value, types) and (
            not isinstance(value, bool) or bool in types)
        assert good, f"{where}: {name} is {value!r}"


def shape_lists(path, reply, where):
    for run in reply.get("training_runs", []):
        shape(run, RUN, where)
    for c in reply.get("checkpoints", []) + [
            reply[k] for k in ("last_checkpoint", "last_sampler_checkpoint")
            if reply.get(k)]:
        shape(c, CHECKPOINT, where)
        assert c["checkpoint_type"] in ("training", "sampler"), where
        assert c["tinker_path"].endswith("/" + c["checkpoint_id"]), where
    if "cursor" in reply:
        shape(reply["cursor"], CURSOR, where)
    if path == "get_info":
        assert reply["model_data"]["model_name"], where
    for name in ("sessions", "training_run_ids", "sampler_ids"):
        assert all(isinstance(x, str) for x in reply.get(name, [])), where


def route_of(target):
    path = re.sub(r"\?.*", "", target)[len("/api/v1/"):]
    parts = path.split("/")
    if parts[0] in ("training_runs", "samplers", "models") or (
            parts[0] == "sessions" and parts[1:] != ["search"]):
        parts[1:2] = ["*"] * len(parts[1:2])
    if parts[:3] == ["training_runs", "*", "checkpoints"]:
        ends = parts[3:]
        known = ends[-1:] if ends[-1:] and ends[-1] in (
            "publish", "ttl", "archive", "external_weights_urls") else []
        parts[3:] = ["*"] * (len(ends) - len(known)) + known
    return "/".join(parts)


class Scenario:
    """One recording, sent in its order."""

    def __init__(self, service, name, lines, count):
        self.service, self.name, self.count = service, name, count
        self.ids = {}       # recorded session, model, sampler -> ours
        self.requests = {}  # recorded request -> (ours, path, what it asked)
        self.results = {}
        self.trained = set()  # models and samplers that left the base model
        self.lines = lines

    # --- ids ---

    def mapped(self, value):
        if isinstance(value, str):
            for old in sorted(self.ids, key=len, reverse=True):
                value = value.replace(old, self.ids[old])
            return value
        if isinstance(value, list):
            return [self.mapped(v) for v in value]
        if isinstance(value, dict):
            return {k: self.mapped(v) for k, v in value.items()}
        return value

    def learn(self, recorded, ours):
        for name in ("session_id", "model_id", "sampling_session_id"):
            old, new = recorded.get(name), ours.get(name)
            if old and new and self.mapped(old) != new:
                self.ids[old] = new

    # --- sending ---

    def body_of(self, line):
        """(bytes, decoded): with our ids."""
        body = line["body"]
        if "zstd" in body:
            data = base64.b64decode(body["zstd"])
            message = wire.fb_request(data)
            return wire.zstd(wire.fb_rewrite(
                data, self.mapped(message["model_id"]))), message
        if "b64" in body:
            data = base64.b64decode(body["b64"])
            if "content-encoding" in line["headers"] or \
                    line["headers"].get("content-type") != PROTO:
                return data, None
            try:
                message = wire.fb_request(data)
                data = wire.fb_rewrite(data, self.mapped(message["model_id"]))
            except (AssertionError, IndexError, KeyError):
                message = None
            return data, message
        if "json" not in body:
            return body.get("text", "").encode() or None, None
        try:
            decoded = json.loads(body["json"])
        except ValueError:
            return body["json"].encode(), None
        request = decoded.get("request_id")
        decoded = self.mapped(decoded)
        if request in self.requests:
            decoded["request_id"] = self.requests[request][0]
        data = json.dumps(decoded).encode()
        inner = decoded.get("forward_backward_input",
                            decoded.get("forward_input"))
        if inner:  # as of the protobuf form
            decoded["data"] = [{"inputs": {
                k: {"shape": v.get("shape") or [len(v["data"])]}
                for k, v in d["loss_fn_inputs"].items()}}
                for d in inner["data"]]
        return data, decoded

    def send(self, line, data):
        target = self.mapped(line["target"])[len("/api/v1/"):]
        status, text, headers = self.service.call(
            target, data, {k.title(): v for k, v in line["headers"].items()},
            method=line["method"], raw=True)
        kind = headers.get("Content-Type") or ""
        if status >= 400:
            assert "application/json" in kind and int(
                headers["Content-Length"]) > 0, (line, text)
        return status, kind, text

    # --- one exchange ---

    def run(self):
        for line in self.lines:
            self.where = f"{self.name} {line['i']}"
            path = route_of(line["target"])
            if path == "retrieve_future":
                self.poll(line)
            else:
                self.call(line, path)

    def call(self, line, path):
        data, asked = self.body_of(line)
        status, kind, text = self.send(line, data)
        where = f"{self.where} {line['method']} {path}: {status} {text[:300]}"
        if path in LACKING:
            assert status in (404, 405), where
            self.count["lacking"][path] += 1
            return
        if not self.as_wanted(line, path, status, text):
            self.bad(line, where, asked)
            return
        self.count["replies"][status // 100] += 1
        if status >= 300:
            reply = json.loads(text)
            assert reply["detail"] and isinstance(reply["detail"], str), where
            return
        if path in EMPTY:
            return
        reply = json.loads(text)
        shape(reply, REPLIES[path], where)
        shape_lists(path, reply, where)
        if line["status"] < 300 and "json" in line["reply"]:
            recorded = json.loads(line["reply"]["json"])
            self.learn(recorded, reply)
            if "request_id" in recorded:
                self.requests[recorded["request_id"]] = (
                    reply["request_id"], path, asked)
        if path in ("optim_step", "load_weights"):
            self.trained.add(asked.get("model_id"))
        if path == "create_sampling_session" and asked.get("model_path"):
            self.trained.add(reply["sampling_session_id"])
        if path == "asample":
            ids = reply["sample_sequence_ids"]
            assert len(set(ids)) == len(ids) == asked.get("num_samples", 1), \
                where

    def as_wanted(self, line, path, status, text):
        """Whether the status will do: like the recorded one, or as the table
        says."""
        if path == "client/dynamic_config":
            return status == 200
        if status in (200, 204) and line["status"] in (200, 204):
            return True
        if status == line["status"]:
            return True
        for at, row in enumerate(DIFFERS):
            parts = (self.name, path.replace("*", "."), str(line["status"]),
                     str(status), text.decode())
            if re.match(row[0], parts[0]) and re.search(
                    row[4], parts[4]) and all(
                    re.fullmatch(row[i] or ".*", parts[i]) for i in (1, 2, 3)):
                self.count["differs"][at] += 1
                return True
        return False

    # --- polls and results ---

    def bad(self, line, where, asked):
        self.count["bad"].append(f"{where}\n    recorded {line['status']} "
                                 f"{str(line['reply'])[:130]}\n    "
                                 f"{str(asked)[:200]}")

    def poll(self, line):
        body = json.loads(line["body"]["json"])
        known = self.requests.get(body["request_id"])
        if not known and line["status"] not in (404, 500):
            self.count["results"]["of a call refused here"] += 1
            return
        data, _ = self.body_of(line)
        recorded = json.loads(line["reply"].get("json", "{}"))
        pending = line["status"] >= 402 or recorded.get(
            "type") == "try_again" or "status" in recorded
        end = locald.time.monotonic() + locald.GUARD_S
        while True:
            assert locald.time.monotonic() < end, self.where
            status, kind, text = self.send(line, data)
            if not known:
                assert status == 404, (self.where, status, text)
                self.count["replies"][4] += 1
                return
            assert status == 200, (self.where, status, text)
            reply = None if kind == PROTO else json.loads(text)
            if not reply or reply.get("type") != "try_again":
                break
            shape(reply, {"request_id": str, "queue_state": str,
                          "queue_state_reason": OPTIONAL(str)}, self.where)
            if pending or "waiting for seq_id" in str(reply):
                self.count["results"]["not yet"] += 1
                return
        self.result(line, known, reply, text)

    def result(self, line, known, reply, text):
        ours, path, asked = known
        seen = self.results.setdefault((ours, reply is None), text)
        assert seen == text, self.where
        if reply and "error" in reply:
            shape(reply, {"error": str, "category": str}, self.where)
            self.count["results"]["failed"] += 1
            if line["status"] != 400 and "error" not in str(line["reply"]):
                self.bad(line, f"{self.where} {path}: {reply}", asked)
            return
        self.count["results"][path] += 1
        if reply and path in RESULTS:
            shape(reply, RESULTS[path], self.where)
            if asked.get("model_id") in self.trained:
                self.trained.add(reply.get("sampling_session_id"))
            if "json" in line["reply"]:
                self.learn_paths(json.loads(line["reply"]["json"]), reply)
        elif reply is None and path == "asample":
            self.check_sample(line, asked, wire.sample_response(text))
        elif reply is None:
            self.check_output(line, asked, wire.fb_output(text))

    def learn_paths(self, recorded, ours):
        self.learn(recorded, ours)
        if recorded.get("path") and ours.get("path"):
            self.ids[recorded["path"]] = ours["path"]

    def check_output(self, line, asked, out):
        where = self.where
        assert out["type"] and "loss:sum" in out["metrics"], where
        for key, value in out["metrics"].items():
            assert METRIC.fullmatch(key) and math.isfinite(value), where
        rows = asked["data"]
        assert len(out["data"]) == len(rows), where
        for row, fields, trailing in zip(rows, out["data"], out["shapes"]):
            target = row["inputs"]["target_tokens"]
            n = math.prod(target["shape"])
            assert len(fields["logprobs"]) == n, where
            assert trailing["logprobs"] == target["shape"][1:], where
            assert all(v <= 0 for v in fields["logprobs"]), where
        recorded = line["reply"].get("b64")
        if self.name.startswith("skyrl") and recorded and \
                self.mapped(asked["model_id"]) not in self.trained:
            other = wire.fb_output(base64.b64decode(recorded))
            for ours, theirs in zip(out["data"], other["data"]):
                for a, b in zip(ours["logprobs"], theirs["logprobs"]):
                    assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4), (
                        where, a, b)
            self.count["results"]["equal log-probs"] += 1

    def check_sample(self, line, asked, out):
        where, params = self.where, asked["sampling_params"]
        limit = params.get("max_tokens", math.inf)
        assert len(out["sequences"]) == asked.get("num_samples", 1), where
        for s in out["sequences"]:
            n = len(s["tokens"])
            assert 1 <= n <= limit and len(s["logprobs"]) == n, where
            assert s["stop"] == "stop" or n == limit or limit == math.inf, where
            assert all(v <= 0 for v in s["logprobs"]), where
            assert bool(s["topk"]) == bool(asked.get("topk_sample_logprobs"))
        prompt = [t for c in asked["prompt"]["chunks"] for t in c["tokens"]]
        wanted = asked.get("prompt_logprobs")
        assert (out["prompt"] is not None) == bool(wanted), where
        if wanted:
            assert len(out["prompt"]) == len(prompt), where
            assert math.isnan(out["prompt"][0]), where
        assert bool(out["prompt_topk"]) == bool(
            asked.get("topk_prompt_logprobs")), where
        recorded = line["reply"].get("b64")
        if not (self.name.startswith("skyrl") and recorded):
            return
        if asked["sampling_session_id"] in self.trained:
            return
        other = wire.sample_response(base64.b64decode(recorded))
        if wanted:  # that server leaves the first one out
            for a, b in zip(out["prompt"][1:], other["prompt"]):
                assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-4), where
            self.count["results"]["equal log-probs"] += 1
        if params.get("temperature") == 0:
            for ours, theirs in zip(out["sequences"], other["sequences"]):
                n = len(ours["tokens"])
                assert ours["tokens"] == theirs["tokens"][:n], where
                # That server does not know an end-of-sequence token.
                assert n == len(theirs["tokens"]) or (
                    "stop" not in params and ours["tokens"][-1] == END), where
            self.count["results"]["equal greedy samples"] += 1


def load(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    program, exchanges, model = sys.argv[1:4]
    service = locald.Service(program, model, [
        "--poll-ms", "100", "--model", "tiny-org/tiny-qwen3=" + model])
    service.start()
    count = {"lacking": collections.Counter(), "replies":
             collections.Counter(), "results": collections.Counter(),
             "differs": collections.Counter(), "bad": []}
    names = sys.argv[4:]
    for path in sorted(glob.glob(os.path.join(exchanges, "*.jsonl*"))):
        name = os.path.basename(path).split(".")[0]
        if not names or name in names:
            Scenario(service, name, load(path), count).run()
    assert service.stop() == 0
    for line in count["bad"]:
        print(line)
    results = count["results"]
    late = results.pop("not yet"), results.pop("of a call refused here")
    print(f"replies as the protocol says: {count['replies'][2]} good, "
          f"{count['replies'][4]} refusals, "
          f"{sum(count['differs'].values())} of all by the table")
    print(f"results: {dict(results)}; {late[0]} polls before the result, "
          f"{late[1]} of calls refused here")
    print(f"calls not offered: {dict(count['lacking'])}")
    if not names:
        print("rows of the table that nothing needed:", [
            row[:5] for at, row in enumerate(DIFFERS)
            if at not in count["differs"]])
        assert count["replies"][2] >= 1000
        assert results["equal log-probs"] >= 28
        assert results["equal greedy samples"] >= 24
    return 1 if count["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
