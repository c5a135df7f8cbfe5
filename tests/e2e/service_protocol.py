"""What the local service answers, call by call: order, idempotence, refusals
that name the field, long polls, results after the end, exit codes.

  service_protocol.py LOCALD MODEL"""
import json
import math
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
import locald
from locald import create, datum, forward_backward, optim_step

DATA = [datum([1, 2, 3, 4, 5, 6])]
SESSION = {"tags": [], "user_metadata": {}, "sdk_version": "0.38.0"}


def new_session(service, **more):
    status, reply = service.call("create_session", {**SESSION, **more})
    assert status == 200, reply
    return reply["session_id"]


def expect(service, status, words, path, body=None, **more):
    got, reply = service.call(path, body, **more)
    text = str(reply)
    assert got == status and words in text, (path, body, got, text)


def submit(service, path, body):
    status, reply = service.call(path, body)
    assert status == 200, (path, status, reply)
    return reply["request_id"]


# --- Sessions ---------------------------------------------------------------

def check_sessions(service):
    key = {"X-Idempotency-Key": "k1"}
    a = service.call("create_session", SESSION, key)
    assert a == service.call("create_session", SESSION, key)
    expect(service, 409, "other", "create_session", {"tags": ["x"]},
           headers=key)
    session = a[1]["session_id"]
    assert session != new_session(service)
    beat = {"session_id": session, "type": "session_heartbeat"}
    assert service.call("session_heartbeat", beat) == (
        200, {"type": "session_heartbeat"})
    expect(service, 404, "not found", "session_heartbeat",
           {"session_id": "none"})
    done = {"reason": {"type": "success"}, "detail": None}
    assert service.call(f"sessions/{session}/finish", done)[0] == 200
    assert service.call(f"sessions/{session}/finish", done)[0] == 200
    expect(service, 410, "success", "session_heartbeat", beat)
    expect(service, 410, "ended", "create_model", {
        "session_id": session, "model_seq_id": 0, "base_model": "m",
        "lora_config": {"rank": 4}})
    expect(service, 404, "not found", "sessions/none/finish", done)
    for wrong in ([], "x", 1):
        expect(service, 422, "user_metadata", "create_session",
               {**SESSION, "user_metadata": wrong})
    # Any JSON goes in; replies have strings.
    name = {"user_metadata": {"a": "b", "n": 1, "l": [None, {"x": "é"}]},
            "display_name": "d"}
    status, reply = service.call(f"sessions/{new_session(service, **name)}")
    shown = json.loads(reply["user_metadata"].pop("l"))
    assert shown == [None, {"x": "é"}], shown
    assert (status, reply) == (200, {
        "training_run_ids": [], "sampler_ids": [], "display_name": "d",
        "user_metadata": {"a": "b", "n": "1"}}), reply
    expect(service, 404, "not found", "sessions/none")


# --- Numbers ----------------------------------------------------------------

def check_order(service):
    """Any order of arrival gives the results of the order of numbers."""
    session = new_session(service)
    results = []
    for number, order in enumerate([[1, 2, 3, 4, 5], [5, 3, 4, 2, 1],
                                    [2, 1, 4, 3, 5]]):
        model = create(service, session, number)
        bodies = {
            1: ("forward_backward", forward_backward(model, 1, DATA)),
            2: ("forward_backward", forward_backward(model, 2, DATA * 2)),
            3: ("optim_step", optim_step(model, 3)),
            4: ("forward_backward", forward_backward(model, 4, DATA)),
            5: ("optim_step", optim_step(model, 5))}
        ids = {n: submit(service, *bodies[n]) for n in order}
        assert ids[3] == f"{model}:3"
        results.append([service.result(ids[n]) for n in sorted(ids)])
    assert results[0] == results[1] == results[2]
    assert all(status == 200 for status, _ in results[0])


def check_gap(service):
    """A gap parks what follows, says why, and fails it at the end."""
    session = new_session(service)
    model = create(service, session)
    late = submit(service, "forward_backward",
                  forward_backward(model, 3, DATA))
    status, reply = service.call("retrieve_future", {"request_id": late})
    assert status == 200 and reply["type"] == "try_again", reply
    assert reply["request_id"] == late
    assert reply["queue_state_reason"] == "waiting for seq_id 1", reply
    done = {"reason": {"type": "interrupted"}, "detail": None}
    assert service.call(f"sessions/{session}/finish", done)[0] == 200
    status, reply = service.result(late)
    assert reply["category"] == "user"
    assert "waiting for seq_id 1" in reply["error"], reply


def check_again(service):
    """The same number: equal content, another spelling, another content."""
    session = new_session(service)
    model = create(service, session)
    body = optim_step(model, 1)
    first = submit(service, "optim_step", body)
    assert submit(service, "optim_step", body) == first
    turned = dict(reversed(list(body.items())))
    assert submit(service, "optim_step", turned) == first
    expect(service, 409, "another content", "optim_step",
           optim_step(model, 1, beta1=0.5))
    expect(service, 409, "another content", "forward_backward",
           forward_backward(model, 1, DATA))
    service.result(first)
    assert submit(service, "optim_step", body) == first
    again = {"session_id": session, "model_seq_id": 0, "base_model": "m",
             "lora_config": {"rank": 4, "seed": 7}, "type": "create_model"}
    assert submit(service, "create_model", again) == f"{model}:0"
    expect(service, 409, "another content", "create_model",
           {**again, "lora_config": {"rank": 8, "seed": 7}})

    # An ephemeral save keeps its future though a new try draws a new number.
    save = {"model_id": model, "seq_id": 2, "sampling_session_seq_id": 5}
    one = service.do("save_weights_for_sampler", save)
    two = service.do("save_weights_for_sampler",
                     {**save, "sampling_session_seq_id": 6})
    assert one == two and one["sampling_session_id"].endswith(":sample:5")


def check_zstd(service):
    """A compressed body is the body: same future, same result, whatever its
    spelling."""
    session = new_session(service)
    model = create(service, session)
    zstd = {"Content-Encoding": "zstd"}

    def send(body, headers):
        status, reply = service.call("forward_backward", body, headers)
        assert status == 200, reply
        return reply["request_id"]

    bodies = [(1, DATA, None), (2, DATA * 2, 1000)]  # the second: many blanks
    for seq, data, indent in bodies:
        plain = json.dumps(forward_backward(model, seq, data),
                           indent=indent).encode()
        packed = locald.zstd_frame(plain)
        assert len(packed) > 1 << 17 or not indent
        first = send(packed, zstd)
        assert first == send(plain, {}) == send(packed, {
            "Content-Encoding": "ZSTD"})
    other = forward_backward(model, 1, DATA * 2)
    expect(service, 409, "another content", "forward_backward",
           locald.zstd_frame(json.dumps(other).encode()), headers=zstd)
    result = service.result(first)
    again = create(service, session, 1)
    for seq, data, _ in bodies:
        alone = service.do("forward_backward",
                           forward_backward(again, seq, data))
    assert result == (200, alone)


def check_consumed(service):
    """A refused number is spent; what follows goes on."""
    session = new_session(service)
    model = create(service, session)
    bad = forward_backward(model, 1, [datum([1, 99, 3])])
    expect(service, 400, "data[0]", "forward_backward", bad)
    expect(service, 400, "data[0]", "forward_backward", bad)
    expect(service, 409, "rejected", "optim_step", optim_step(model, 1))
    service.do("optim_step", optim_step(model, 2))
    expect(service, 400, "LoadWeights is not permitted with seq_id 3",
           "load_weights", {"model_id": model, "seq_id": 3, "path":
                            f"tinker://{model}/weights/x",
                            "optimizer": False})
    for number, (status, words, name) in enumerate([
            (404, "not found", "weights/x"), (400, "Invalid", "other/x"),
            (400, "not a training", "sampler_weights/s")], 1):
        if number == 3:
            service.do("save_weights_for_sampler", {
                "model_id": model, "seq_id": 4, "path": "s"})
        fresh = create(service, session, number)
        expect(service, status, words, "load_weights", {
            "model_id": fresh, "seq_id": 1, "optimizer": True,
            "path": f"tinker://{model}/{name}"})
        service.do("optim_step", optim_step(fresh, 2))
    service.do("optim_step", optim_step(model, 5))
    expect(service, 400, "seq_id", "optim_step", optim_step(model, 0))
    external = {"model_id": model, "seq_id": 6, "path": "x"}
    for _ in range(2):
        expect(service, 404, "save_weights_external is not offered",
               "save_weights_external", external)
    expect(service, 409, "rejected", "save_weights_external",
           {**external, "path": "y"})
    service.do("optim_step", optim_step(model, 7))
    save = {**external, "seq_id": 8}
    service.do("save_weights", save)
    expect(service, 409, "used before", "save_weights_external", save)


def check_forward(service):
    """The retired call: the pass of forward_backward without gradients."""
    model = create(service, new_session(service))
    inner = {"loss_fn": "cross_entropy", "data": DATA}
    one = service.do("forward", {"model_id": model, "seq_id": 1,
                                 "forward_input": inner})
    step = service.do("optim_step", optim_step(model, 2, grad_clip_norm=1.0))
    assert step["metrics"]["unclipped_grad_l2:mean"] == 0
    assert one == service.do("forward_backward",
                             forward_backward(model, 3, DATA))
    step = service.do("optim_step", optim_step(model, 4, grad_clip_norm=1.0))
    assert step["metrics"]["unclipped_grad_l2:mean"] > 0
    wrong = forward_backward(model, 5, DATA)
    expect(service, 422, "forward_input is required", "forward", wrong)
    expect(service, 422, "forward_backward_input", "forward",
           {**wrong, "seq_id": 6, "forward_input": inner})
    expect(service, 422, "forward_input is required", "forward",
           {"model_id": model, "seq_id": 7})
    for used in (5, 6, 7):
        expect(service, 409, "rejected", "optim_step",
               optim_step(model, used))
    expect(service, 415, "protobuf", "forward", b"x",
           headers={"Content-Type": "application/x-protobuf"})
    service.do("optim_step", optim_step(model, 8))


# --- Refusals ---------------------------------------------------------------

def losses_of(lp, q, a, mask):
    """What each loss sums to, by its formula, with its options."""
    def clamp(x, low, high):
        return max(low, min(high, x))

    r = [math.exp(x - y) for x, y in zip(lp, q)]
    mean = [x - y for x, y, m in zip(lp, q, mask) if m]
    s = math.exp(sum(mean) / len(mean))
    return {
        "importance_sampling": (sum(-x * y for x, y in zip(r, a)), {}),
        "ppo": (sum(-min(x * y, clamp(x, 0.8, 1.2) * y)
                    for x, y in zip(r, a)), {}),
        "cispo": (sum(-clamp(x, 0, 1.1) * y * z
                      for x, y, z in zip(r, a, lp)),
                  {"clip_high_threshold": 1.1}),
        "dro": (sum(-x * y + 0.1 * (x - z) ** 2
                    for x, y, z in zip(lp, a, q)), {"beta": 0.2}),
        "gspo": (sum(-min(s * y, clamp(s, 0.8, 1.2) * y) for y in a), {})}


def check_losses(service):
    model = create(service, new_session(service))
    seq = iter(range(1, 100))
    plain = service.do("forward_backward",
                       forward_backward(model, next(seq), DATA))
    lp = plain["loss_fn_outputs"][0]["logprobs"]["data"]
    assert "elementwise_loss" in plain["loss_fn_outputs"][0]
    inputs = {"logprobs": [x + d for x, d in
                           zip(lp, (-0.5, 0.1, 0.2, -0.05, 0.6))],
              "advantages": [1.0, -0.5, 0.0, 2.0, 0.25]}
    mask = [0.0, 0.0, 1.0, 1.0, 1.0]
    for loss, (want, options) in losses_of(
            lp, *inputs.values(), mask).items():
        more = {"sequence_ratio_mask": mask} if loss == "gspo" else {}
        d = {**DATA[0], "loss_fn_inputs": {
            "target_tokens": DATA[0]["loss_fn_inputs"]["target_tokens"],
            **{k: {"data": v, "dtype": "float32", "shape": [len(v)]}
               for k, v in {**inputs, **more}.items()}}}
        body = forward_backward(model, next(seq), [d], loss)
        body["forward_backward_input"]["loss_fn_config"] = options
        got = service.do("forward_backward", body)
        assert got["loss_fn_outputs"][0]["logprobs"]["data"] == lp, loss
        assert list(got["metrics"]) == ["loss:sum"]
        assert abs(got["metrics"]["loss:sum"] - want) < 1e-5, (loss, want, got)
    service.do("optim_step", optim_step(model, next(seq)))


def without(d, key):
    return {k: v for k, v in d.items() if k != key}


def check_fields(service):
    """Every refusal names its field."""
    session = new_session(service)
    model = create(service, session)
    n = 5
    seq = iter(range(1, 1000))

    def inputs(**more):
        d = datum([1, 2, 3, 4, 5, 6])
        for k, v in more.items():
            if v is None:
                del d["loss_fn_inputs"][k]
            else:
                d["loss_fn_inputs"][k] = v
        return d

    def f32(values, shape=None):
        return {"data": values, "dtype": "float32",
                "shape": shape or [len(values)]}

    def i64(values, shape=None):
        return {"data": values, "dtype": "int64",
                "shape": shape or [len(values)]}

    target, weights = "loss_fn_inputs.target_tokens", "loss_fn_inputs.weights"
    for words, data in [
            ("data", []),
            (f"data[0].{target}", [inputs(target_tokens=None)]),
            (f"data[1].{target}", [inputs(),
                                   inputs(target_tokens=i64([1] * (n - 1)))]),
            (f"data[0].{target}", [inputs(target_tokens=i64([1] * 4 + [64]))]),
            (f"data[0].{target}", [inputs(target_tokens=i64([1] * 4 + [-1]))]),
            (f"data[0].{target}", [inputs(target_tokens=f32([1.0] * n))]),
            (f"data[0].{weights}", [inputs(weights=None)]),
            (f"data[0].{weights}", [inputs(weights=f32([1.0] * (n + 1)))]),
            (f"data[0].{weights}", [inputs(weights=i64([1] * n))]),
            (f"data[0].{weights}", [inputs(weights=f32([1.0] * n, [n, 2]))]),
            ("data[0].loss_fn_inputs.mask", [inputs(mask=f32([1.0] * n))]),
            ("data[0].loss_fn_inputs.advantages",
             [inputs(advantages=f32([1.0] * n))]),
            ("data[0].model_input", [datum([1] * 200)])]:
        body = forward_backward(model, next(seq), data)
        status, reply = service.call("forward_backward", body)
        assert status in (400, 422) and words in str(reply), (words, reply)
    for words, loss, config in [
            ("loss_fn 'stable_reinforce'", "stable_reinforce", {}),
            ("loss_fn 'custom'", "custom", {}),
            ("loss_fn_config.beta: required", "dro", {}),
            ("loss_fn_config.beta", "cispo", {"beta": 1.0}),
            ("loss_fn_config.beta", "cross_entropy", {"beta": 1.0}),
            ("weights: not an input", "importance_sampling", {})]:
        body = forward_backward(model, next(seq), DATA, loss)
        body["forward_backward_input"]["loss_fn_config"] = config
        expect(service, 400, words, "forward_backward", body)
    for words, body in [
            ("adam_params.learning_rate", {"learning_rate": -1.0}),
            ("adam_params.beta1 is out of range: must be from 0 to below 1, "
             "not 1", {"beta1": 1.0}),
            ("adam_params.learning_rate: must be a finite number",
             {"learning_rate": None}),
            ("adam_params.eps", {"eps": "x"})]:
        got, reply = service.call("optim_step",
                                  optim_step(model, next(seq), **body))
        assert got in (400, 422) and words in str(reply), reply
    expect(service, 400, "dimuon", "optim_step", {
        "model_id": model, "seq_id": next(seq),
        "optimizer_params": {"type": "dimuon", "learning_rate": 0.1}})
    for words, more in [
            ("path", {}), ("path", {"path": "a/b"}), ("path", {"path": ""}),
            ("path", {"path": "x" * 300}), ("path", {"path": ".. "}),
            ("ttl_seconds", {"path": "x", "ttl_seconds": 5}),
            ("user_metadata", {"path": "x", "user_metadata": {"a": 1}}),
            ("overwrite", {"path": "x", "overwrite": "yes"})]:
        got, reply = service.call("save_weights", {
            "model_id": model, "seq_id": next(seq), **more})
        assert got in (400, 422) and words in str(reply), (more, reply)
    service.do("optim_step", optim_step(model, next(seq)))

    lora = {"session_id": session, "model_seq_id": 9, "base_model": "m",
            "lora_config": {"rank": 4}}
    for words, body in [
            ("base_model is required", without(lora, "base_model")),
            ("session_id", without(lora, "session_id")),
            ("model_seq_id", without(lora, "model_seq_id")),
            ("rank must be positive", {**lora, "lora_config": {"rank": 0}}),
            ("power of 2", {**lora, "lora_config": {"rank": 12}}),
            ("at most 128", {**lora, "lora_config": {"rank": 256}}),
            ("At least one", {**lora, "lora_config": {
                "rank": 4, "train_attn": False, "train_mlp": False,
                "train_unembed": False}}),
            ("dimuon", {**lora, "optimizer_config": {"type": "dimuon"}}),
            ("user_metadata", {**lora, "user_metadata": [1]})]:
        got, reply = service.call("create_model", body)
        assert got in (400, 422) and words in str(reply), (words, reply)
    expect(service, 404, "not served", "create_model",
           {**lora, "base_model": "other"})
    expect(service, 404, "model not found", "optim_step",
           optim_step("nobody", 1))
    expect(service, 422, "JSON", "optim_step", b"{\"a\":1")
    expect(service, 422, "must be a JSON object", "optim_step", b"[]")
    expect(service, 404, "no such endpoint", "nothing", {})
    expect(service, 405, "GET", "optim_step")
    expect(service, 404, "request_id", "retrieve_future",
           {"request_id": f"{model}:777"})
    got, text, headers = service.call("optim_step", b"{}", raw=True)
    assert got == 422 and int(headers["content-length"]) == len(text) > 0


def check_paths(service):
    """Names from outside never become a file's path."""
    session = new_session(service)
    model = create(service, session)
    service.do("save_weights", {"model_id": model, "seq_id": 1, "path": "a"})
    number = iter(range(10, 1000))
    for path in ["", "tinker://", "tinker:///weights/a", "/etc/passwd",
                 "tinker://../weights/a", f"tinker://{model}/weights/../a",
                 f"tinker://{model}/weights/", f"tinker://{model}/other/a",
                 f"tinker://{model}/weights/a/b", f"tinker://{model}/a",
                 f"TINKER://{model}/weights/a", f"tinker://{model}//a",
                 f"tinker://{model}/weights/a%2f", "tinker://x/weights/a"]:
        got, reply = service.call("load_weights", {
            "session_id": session, "model_seq_id": next(number),
            "path": path, "optimizer": True})
        assert got in (400, 404), (path, got, reply)
        got, reply = service.call("create_sampling_session", {
            "session_id": session, "sampling_session_seq_id": next(number),
            "model_path": path})
        assert got in (400, 404), (path, got, reply)


# --- Sampling ---------------------------------------------------------------

def sample_body(sampler, seq, **more):
    params = {"max_tokens": 5, "seed": 1, "stop": [], "temperature": 0.0}
    params.update(more.pop("params", {}))
    return {"sampling_session_id": sampler, "seq_id": seq, "num_samples": 1,
            "prompt": {"chunks": [{"type": "encoded_text",
                                   "tokens": [1, 2, 3]}]},
            "sampling_params": params, **more}


def check_sampling(service):
    session = new_session(service)
    status, reply = service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})
    sampler = reply["sampling_session_id"]
    assert sampler == f"{session}:sample:0"
    assert service.call("samplers/" + sampler) == (200, {
        "sampler_id": sampler, "base_model": "m", "model_path": None})
    body = sample_body(sampler, 0, num_samples=3,
                       params={"temperature": 1.0})
    status, first = service.call("asample", body)
    assert len(set(first["sample_sequence_ids"])) == 3
    assert service.call("asample", body) == (200, first)
    expect(service, 409, "another content", "asample",
           {**body, "num_samples": 2})
    many = service.result(first["request_id"])[1]
    # The same draws alone: a request of one sample is sample 0.
    alone = service.do("asample", {**body, "seq_id": 1, "num_samples": 1})
    assert alone["sequences"][0] == many["sequences"][0]
    for words, more in [
            ("num_samples", {"num_samples": 0}),
            ("prompt", {"prompt": {"chunks": []}}),
            ("prompt", {"prompt": {"chunks": [
                {"type": "encoded_text", "tokens": [64]}]}}),
            ("temperature", {"params": {"temperature": -1.0}}),
            ("top_p", {"params": {"top_p": 2.0}}),
            ("max_tokens", {"params": {"max_tokens": 0}}),
            ("context window", {"params": {"max_tokens": 10000}}),
            ("tokenizer.json", {"params": {"stop": ["x"]}}),
            ("stop", {"params": {"stop": [1, "x"]}}),
            ("prompt_alt_tokens_k", {"prompt_alt_tokens_k": -1}),
            ("prompt_logprobs_last_n", {"prompt_logprobs_last_n": 1}),
            ("from 1 to 2", {"prompt_logprobs": True,
                             "prompt_logprobs_last_n": 3}),
            ("2 rows", {"target_prompt_logprobs": ids([1, 2, 3], [3, 1])}),
            ("token 64", {"target_prompt_logprobs": ids([1, 64], [2, 1])}),
            ("names no id", {"target_prompt_logprobs": ids([-1, -1], [2, 1])}),
            ("record_stability_info", {"record_stability_info": True})]:
        got, reply = service.call("asample", sample_body(sampler, 50, **more))
        assert got in (400, 422) and words in str(reply), (words, got, reply)


def ids(values, shape, crow=None, col=None):
    sparse = {} if crow is None else {"sparse_crow_indices": crow,
                                      "sparse_col_indices": col}
    return {"data": values, "dtype": "int64", "shape": shape, **sparse}


def check_scores(service):
    """What is told about a prompt: all of it the bits of forward, in the
    layout that was asked in."""
    session = new_session(service)
    model = create(service, session)
    sampler = service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})[1]["sampling_session_id"]
    seq = iter(range(100))
    tokens = [5, 9, 5, 60, 3, 5, 17]
    last = len(tokens) - 1

    def score(**more):
        body = sample_body(sampler, next(seq), **more)
        body["prompt"]["chunks"][0]["tokens"] = tokens
        return service.do("asample", body)

    def forward(number, targets):
        """Log-probabilities of one id per position after the first."""
        d = datum(tokens)
        d["loss_fn_inputs"]["target_tokens"]["data"] = targets
        return service.do("forward_backward", forward_backward(
            model, number, [d]))["loss_fn_outputs"][0]["logprobs"]["data"]

    truth, of_7 = forward(1, tokens[1:]), forward(2, [7] * last)
    whole = score(prompt_logprobs=True, topk_prompt_logprobs=64)
    assert whole["prompt_logprobs"] == [None] + truth
    part = score(prompt_logprobs=True, prompt_logprobs_last_n=2,
                 topk_prompt_logprobs=2)
    assert part["prompt_logprobs"] == [None] * 5 + truth[-2:]
    assert part["topk_prompt_logprobs"] == [None] * 5 + [
        r[:2] for r in whole["topk_prompt_logprobs"][-2:]]
    assert part["sequences"] == whole["sequences"]

    dense = [[7, -1]] * 2 + [[tokens[3], 7]] + [[-1, -1]] * 3
    got = score(target_prompt_logprobs=ids(sum(dense, []), [last, 2]))
    assert got["target_prompt_logprobs"] == {
        "data": [of_7[0], 0, of_7[1], 0, truth[2], of_7[2]] + [0] * 6,
        "dtype": "float32", "shape": [last, 2]}, got
    crow, col = [0, 0, 2, 2, 2, 2, 3], [0, 62, 1]
    got = score(target_prompt_logprobs=ids([tokens[2], -1, 7], [last, 63],
                                           crow, col))
    assert got["target_prompt_logprobs"] == {
        "data": [truth[1], 0, of_7[5]], "dtype": "float32",
        "shape": [last, 63], "sparse_crow_indices": crow,
        "sparse_col_indices": col}, got

    warm = {"params": {"temperature": 2.0, "top_k": 1, "seed": 3}}
    one, two = (score(prompt_alt_tokens_k=9, **warm)["prompt_alt_tokens"]
                for _ in range(2))
    assert one == two and len(set(one["tokens"]["data"])) > 9
    assert one["tokens"]["shape"] == one["logprobs"]["shape"] == [last, 9]
    top = [dict(r) for r in whole["topk_prompt_logprobs"][1:]]
    for i, (t, lp) in enumerate(zip(one["tokens"]["data"],
                                    one["logprobs"]["data"])):
        assert top[i // 9][t] == lp
    warm["params"]["seed"] = 4
    assert score(prompt_alt_tokens_k=9, **warm)["prompt_alt_tokens"] != one
    greedy = score(prompt_alt_tokens_k=2)["prompt_alt_tokens"]["tokens"]
    assert greedy["data"][::2] == greedy["data"][1::2] == [
        r[0][0] for r in whole["topk_prompt_logprobs"][1:]]


def check_sample_overtakes(service):
    """A sample does not wait for the queue of training work."""
    session = new_session(service)
    model = create(service, session)
    reply = service.call("create_sampling_session", {
        "session_id": session, "sampling_session_seq_id": 0,
        "base_model": "m"})[1]
    data = [datum([(7 * i + j) % 64 for j in range(120)]) for i in range(64)]
    ids = [submit(service, "forward_backward",
                  forward_backward(model, 2 + i, data)) for i in range(6)]
    ids.insert(0, submit(service, "forward_backward",
                         forward_backward(model, 1, data)))
    order = []
    wait = threading.Thread(target=lambda: (service.result(ids[-1]),
                                            order.append("training")))
    wait.start()
    service.do("asample", sample_body(reply["sampling_session_id"], 0))
    order.append("sample")
    wait.join()
    assert order == ["sample", "training"], order
    for i in ids:
        assert service.result(i)[0] == 200


def check_parked(service):
    """Many polls at once, answered together."""
    session = new_session(service)
    model = create(service, session)
    late = submit(service, "optim_step", optim_step(model, 2))
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(
        service.result(late))) for _ in range(64)]
    for t in threads:
        t.start()
    submit(service, "optim_step", optim_step(model, 1))
    for t in threads:
        t.join()
    assert len(replies) == 64 and all(r == replies[0] for r in replies)


# --- The program ------------------------------------------------------------

def check_gone(program, model):
    """Results go some time after the session's end; a checkpoint keeps the rest
    of it."""
    service = locald.Service(program, model, ["--keep", "1"])
    service.start()
    session = new_session(service)
    m = create(service, session)
    service.do("save_weights", {"model_id": m, "seq_id": 1, "path": "kept"})
    request = submit(service, "optim_step", optim_step(m, 2))
    assert service.result(request)[0] == 200
    service.call(f"sessions/{session}/finish",
                 {"reason": {"type": "success"}, "detail": None})
    assert service.result(request)[0] == 200
    service.stop()
    service.start()
    end = locald.time.monotonic() + locald.GUARD_S
    while service.result(request)[0] != 410:
        assert locald.time.monotonic() < end
        locald.time.sleep(0.1)
    expect(service, 404, "request_id", "retrieve_future",
           {"request_id": session + ":train:5:1"})
    assert service.stop() == 0


def check_announced(program, model):
    """A large result is announced to who asks for that, parked or not, before
    and after a restart; an error and a small result are sent at once."""
    service = locald.Service(program, model, ["--inline-result", "300",
                                              "--poll-ms", "20000"])
    service.start()
    session = new_session(service)
    m = create(service, session)
    ids = [submit(service, "forward_backward", forward_backward(
        m, seq, [datum(list(range(1, n)))])) for seq, n in ((1, 60), (2, 6))]
    for seq in (3, 4):
        failing = submit(service, "save_weights", {
            "model_id": m, "seq_id": seq, "path": "once"})
    proto = {"Accept": "application/x-protobuf"}

    def ask(request, only, headers=proto):
        status, text, got = service.call("retrieve_future", {
            "request_id": request, "allow_metadata_only": only}, headers,
            raw=True)
        assert status == 200, text
        if got["content-type"] != "application/json":
            return text
        return json.loads(text)

    late = submit(service, "forward_backward", forward_backward(
        m, 6, [datum(list(range(1, 60)))]))
    parked = []
    threads = [threading.Thread(target=lambda only=only: parked.append(
        ask(late, only))) for only in (True, False)]
    for t in threads:
        t.start()
    submit(service, "optim_step", optim_step(m, 5))
    for t in threads:
        t.join()
    sizes = {r["response_payload_size"] for r in parked if isinstance(r, dict)}
    assert sizes == {len(r) for r in parked if isinstance(r, bytes)}, parked
    for _ in range(2):
        large = ask(ids[0], False)
        assert len(large) > 300
        assert ask(ids[0], True) == {"status": "complete_metadata",
                                     "response_payload_size": len(large)}
        assert ask(ids[0], True, {})["status"] == "complete_metadata"
        assert "loss_fn_outputs" in ask(ids[0], False, {})
        assert len(ask(ids[1], True)) <= 300
        assert "error" in ask(failing, True)
        assert service.stop() == 0
        service.start()
    assert service.stop() == 0


def check_scores_after_kill(program, model):
    """Scores and draws that a kill interrupted are those of a quiet run."""
    service = locald.Service(program, model)
    service.start()
    sampler = service.call("create_sampling_session", {
        "session_id": new_session(service), "sampling_session_seq_id": 0,
        "base_model": "m"})[1]["sampling_session_id"]

    def body(seq, seed):
        made = sample_body(sampler, seq, prompt_alt_tokens_k=8,
                           target_prompt_logprobs=ids([7], [59, 2], [0] * 30 +
                                                      [1] * 30, [1]),
                           params={"max_tokens": 60, "temperature": 1.0,
                                   "seed": seed})
        made["prompt"]["chunks"][0]["tokens"] = list(range(1, 61))
        return made

    futures = [submit(service, "asample", body(i, i)) for i in range(40)]
    service.kill()
    service.start()
    for i, request in enumerate(futures):
        status, got = service.result(request)
        assert status == 200 and "prompt_alt_tokens" in got
        if i % 10 == 9:
            assert got == service.do("asample", body(100 + i, i))
    assert service.stop() == 0


def check_flags(program, model):
    """The operator's flags are what clients are told."""
    with tempfile.TemporaryDirectory(prefix="tk") as d:
        files = [os.path.join(d, name) for name in ("client", "dynamic")]
        told = [{"proto_compress_fwdbwd": True, "fwdbwd_max_chunk_len": 7,
                 "credential_default_source": "api_key",
                 "create_model_via_load_weights": False},
                {"refresh_interval_sec": 60}]
        for path, flags in zip(files, told):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(flags, f)
        service = locald.Service(program, model, [
            "--client-config", files[0], "--dynamic-config", files[1]])
        service.start()
        version = {"sdk_version": "0.38.0"}
        assert service.call("client/config", version) == (
            200, {"pjwt_auth_enabled": False, **told[0]})
        assert service.call("client/dynamic_config", version) == (200, told[1])
        assert service.stop() == 0


def run_program(program, *args):
    p = subprocess.run([program, *args], capture_output=True, text=True,
                       timeout=locald.GUARD_S, check=False)
    return p.returncode, p.stdout, p.stderr


def write_huge(folder):
    """A model of half a terabyte, but for its bytes: the file has a hole."""
    hidden, vocab, inter = 65536, 1 << 22, 64
    with open(os.path.join(folder, "config.json"), "w",
              encoding="utf-8") as f:
        json.dump({"architectures": ["LlamaForCausalLM"],
                   "model_type": "llama", "vocab_size": vocab,
                   "hidden_size": hidden, "num_hidden_layers": 1,
                   "num_attention_heads": 1024, "num_key_value_heads": 1,
                   "head_dim": 64, "intermediate_size": inter,
                   "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
                   "rope_theta": 10000.0, "hidden_act": "silu",
                   "tie_word_embeddings": True, "eos_token_id": 0}, f)
    layer = "model.layers.0."
    shapes = {"model.embed_tokens": [vocab, hidden], "model.norm": [hidden],
              layer + "self_attn.q_proj": [hidden, hidden],
              layer + "self_attn.k_proj": [64, hidden],
              layer + "self_attn.v_proj": [64, hidden],
              layer + "self_attn.o_proj": [hidden, hidden],
              layer + "mlp.gate_proj": [inter, hidden],
              layer + "mlp.up_proj": [inter, hidden],
              layer + "mlp.down_proj": [hidden, inter],
              layer + "input_layernorm": [hidden],
              layer + "post_attention_layernorm": [hidden]}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape,
                                    "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.truncate(8 + len(text) + end)
    return end


def check_memory(program, model, rest, folder):
    """A model that can't fit is refused before it is loaded, with what it
    needs and what there is; several models count together."""
    pattern = re.compile(r"model folder (\S+): needs (\d+) bytes of memory"
                         r"( with those before it)?, (\d+) are available\n")
    size = write_huge(folder)
    weights = os.path.getsize(os.path.join(model, "model.safetensors"))
    for models, limit in [([folder], []), ([model], ["--max-memory", "1000"]),
                          (["a=" + model, "b=" + model],
                           ["--max-memory", str(weights + (3 << 19))])]:
        low = size if models == [folder] else weights * len(models)
        high = low * 1.1 + (len(models) << 21)
        args = [x for m in models for x in ("--model", m)]
        code, out, err = run_program(program, *args, *rest, *limit)
        found = pattern.search(err)
        assert code == 5 and out == "" and found, (code, out, err)
        assert low <= int(found[2]) <= high, (err, low, high)
        assert int(found[4]) < int(found[2]), err
        assert not limit or found[4] == limit[1], err
        assert bool(found[3]) == (len(models) > 1), err
    code, _, err = run_program(program, "--model", model, *rest,
                               "--max-memory", "0")
    assert code == 2 and "--max-memory" in err, err


def check_caches(program, model):
    """Samples that grow in 3/8 of what a small limit leaves, many at once:
    what fits waits for its turn, what never will is told the numbers."""
    with tempfile.TemporaryDirectory() as d:
        _, _, err = run_program(program, "--model", model, "--state",
                                d + "/state", "--socket", d + "/socket",
                                "--max-memory", "1000")
    weights = int(re.search(r"needs (\d+) bytes", err)[1])
    service = locald.Service(program, model,
                             ["--max-memory", str(weights + (1 << 17))])
    service.start()
    _, reply = service.call("create_sampling_session", {
        "session_id": new_session(service), "sampling_session_seq_id": 0,
        "base_model": "m"})
    ids = [submit(service, "asample", sample_body(
        reply["sampling_session_id"], n, num_samples=2,
        prompt={"chunks": [{"type": "encoded_text",
                            "tokens": [1] * (1 + n)}]},
        params={"max_tokens": 1})) for n in range(100)]
    pattern = re.compile(r"num_samples, max_tokens: 2 times (\d+) bytes for "
                         r"caches of \d+ tokens are needed, (\d+) are "
                         r"available")
    good = 0
    for n, request in enumerate(ids):
        status, reply = service.result(request)
        assert status == 200, reply
        found = pattern.fullmatch(reply.get("error", ""))
        assert bool(found) != ("sequences" in reply), reply
        if found:
            assert reply["category"] == "user", reply
            assert 2 * int(found[1]) > int(found[2]) == 3 * (1 << 14) + 1, reply
        good += not found
    assert 0 < good < len(ids), good
    assert service.stop() == 0


def check_exits(service, program, model):
    """Each failure of a start: one sentence and an exit code of its own."""
    with tempfile.TemporaryDirectory(prefix="tk") as d:
        state, sock = os.path.join(d, "state"), os.path.join(d, "s")
        broken = os.path.join(d, "broken")
        os.mkdir(broken)
        plain = os.path.join(d, "file")
        with open(plain, "w", encoding="utf-8") as f:
            f.write("short\n")
        shared = os.path.join(d, "shared")
        os.mkdir(shared)
        os.chmod(shared, 0o755)
        wrong = os.path.join(d, "flags.json")
        with open(wrong, "w", encoding="utf-8") as f:
            f.write('{"sample_no_retries": 1}')
        unknown = os.path.join(d, "unknown.json")
        with open(unknown, "w", encoding="utf-8") as f:
            f.write('{"sample_cancel": true}')
        m, s, u = ["--model", model], ["--state", state], ["--socket", sock]
        for code, words, args in [
                (2, "--model is required", []),
                (2, "--state is required", m),
                (2, "--socket or --listen", m + s),
                (2, "unknown flag '--what'", ["--what", "x"]),
                (2, "wants a value", ["--model"]),
                (2, "--threads", m + s + u + ["--threads", "0"]),
                (2, "--key-file", m + s + u + ["--key-file", plain]),
                (2, "No such file",
                 m + s + u + ["--key-file", d + "/none"]),
                (2, "client config: sample_no_retries: must be true or false",
                 m + s + u + ["--client-config", wrong]),
                (2, "dynamic config: unknown flag 'sample_cancel'",
                 m + s + u + ["--dynamic-config", unknown]),
                (2, "No such file",
                 m + s + u + ["--client-config", d + "/none"]),
                (2, "--client-config",
                 m + s + u + ["--client-config", d]),
                (2, "longer than",
                 m + s + u + ["--dynamic-config", model +
                              "/model.safetensors"]),
                (2, "--inline-result", m + s + u + ["--inline-result", "0"]),
                (2, "not '='", s + u + ["--model", "="]),
                (3, "state folder", m + u + ["--state", plain]),
                (3, "open to others", m + u + ["--state", shared]),
                (4, "in use", m + u + ["--state", service.state]),
                (5, "model folder", s + u + ["--model", d + "/none"]),
                (5, "broken", s + u + ["--model", broken]),
                (6, "another process listens",
                 m + s + ["--socket", service.socket]),
                (6, "not a socket", m + s + ["--socket", plain]),
                (6, "loopback", m + s + ["--listen", "0.0.0.0:0"]),
                (6, "HOST:PORT", m + s + ["--listen", "nowhere"]),
                (6, "0 to 65535", m + s + ["--listen", "127.0.0.1:99999"]),
                (6, "longer than", m + s + ["--socket", "/" + "x" * 200])]:
            got, out, err = run_program(program, *args)
            assert got == code and words in err, (code, words, got, err)
            assert out == "" and err.count("\n") == 1, err
        huge = os.path.join(d, "huge")
        os.mkdir(huge)
        check_memory(program, model, s + u, huge)
    assert run_program(program, "--help")[0] == 0
    assert run_program(program, "--version")[1].startswith("tinker-locald ")


def check_access(service, program, model):
    """Modes, and the key of TCP."""
    assert stat.S_IMODE(os.stat(service.socket).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(service.state).st_mode) == 0o700
    with tempfile.NamedTemporaryFile("w", prefix="tk") as f:
        f.write("tml-secret-key\n")
        f.flush()
        keyed = locald.Service(program, model, [
            "--listen", "127.0.0.1:0", "--key-file", f.name])
        host, port = keyed.start()["http"][7:].split(":")
    for key, status in [("tml-secret-key", 200), ("tml-other", 401),
                        (None, 401)]:
        c = locald.http.client.HTTPConnection(host, int(port))
        c.request("GET", "/api/v1/get_server_capabilities",
                  headers={"X-API-Key": key} if key else {})
        assert c.getresponse().status == status, key
        c.close()
    assert keyed.stop() == 0


def check_bad_http(service):
    """What is no HTTP is answered or closed; the service goes on."""
    for raw in [b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 500,
                b"POST /api/v1/asample HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                b"POST /api/v1/asample HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 99\r\n\r\n{}",
                b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n"]:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(1)
        s.connect(service.socket)
        try:
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except OSError:
            pass
        s.close()
    assert service.call("healthz") == (200, {"status": "ok"})


def main():
    program, model = sys.argv[1:3]
    service = locald.Service(program, model, ["--poll-ms", "1500"])
    service.start()
    checks = [check_sessions, check_order, check_gap, check_again,
              check_consumed, check_forward, check_zstd, check_losses,
              check_fields, check_paths, check_sampling, check_scores,
              check_sample_overtakes, check_parked, check_bad_http]
    for check in checks:
        check(service)
    check_exits(service, program, model)
    check_access(service, program, model)
    check_announced(program, model)
    check_scores_after_kill(program, model)
    check_caches(program, model)
    check_flags(program, model)
    # The same again on what a restart brings back.
    named = new_session(service, user_metadata={"a": "b"}, display_name="d")
    before = [service.call("sessions?limit=1000"),
              service.call("sessions/" + named)]
    assert before[1][1]["display_name"] == "d"
    assert service.stop() == 0
    service.start()
    assert before == [service.call("sessions?limit=1000"),
                      service.call("sessions/" + named)]
    check_order(service)
    assert service.stop() == 0
    check_gone(program, model)
    print(f"{len(checks) + 7} groups of checks passed")


if __name__ == "__main__":
    main()
