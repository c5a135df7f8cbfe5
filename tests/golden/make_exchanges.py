#!/usr/bin/env python3
"""Packs recorded exchanges of the official SDK: one file a scenario, one line
of JSON an exchange.

  make_exchanges.py SCENARIOS OUT

A line has i (number in the recording), method, target, headers other than
"application/json", body and status, type and reply. The lines are in the order
in which a client could go on: a poll counts when its reply came, anything else
when it was sent. A body is "json" (as it was sent), "text", "b64" (anything
else), or "zstd": what was compressed, as b64 (needs the program zstd). "want"
says what a protobuf reply holds, from the recording's readable form. Telemetry,
downloads and exchanges that were cut off are left out. Scenarios over 100 kB
are packed with gzip."""
import base64
import gzip
import json
import math
import os
import re
import subprocess
import sys

# Their values are tested elsewhere (tests/golden/skyrl).
LEFT_OUT = {"skyrl_numeric-a", "skyrl_numeric-b", "skyrl_numeric-d"}
HEADERS = ("content-type", "content-encoding", "accept")


def read(path):
    with open(path, "rb") as f:
        return f.read()


def body(folder, entry):
    if not entry:
        return {}
    data = read(os.path.join(folder, entry["file"]))
    if entry["file"].endswith(".zstd"):
        plain = subprocess.run(["zstd", "-dcq"], input=data, check=False,
                               capture_output=True)
        if plain.returncode == 0:
            return {"zstd": base64.b64encode(plain.stdout).decode()}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}
    if "\0" in text:
        return {"b64": base64.b64encode(data).decode()}
    return {"json" if entry["file"].endswith(".json") else "text": text}


def total(packed):
    """Sum of the finite ones; null stands for NaN. None = cut in the
    recording's readable form."""
    values = packed["values"]
    if packed["count"] != len(values):
        return None
    return math.fsum(v for v in values if v is not None)


def want_output(n):
    """Of a ForwardBackwardOutput: datums, metrics, and of each field the count
    of values and their sum."""
    fields = {}
    for record in n.get("loss_fn_outputs", []):
        for name, tensor in record.get("fields", {}).items():
            data = tensor["data"]
            count, value = fields.get(name, (0, 0.0))
            add = total(data)
            fields[name] = (count + data["count"], None if None in (
                value, add) else value + add)
    return {"datums": sum(int(r.get("num_datums", 0))
                          for r in n.get("loss_fn_outputs", [])),
            "metrics": n.get("metrics", {}),
            "fields": {k: list(v) for k, v in fields.items()}}


def want_sample(n):
    """Of a SampleResponse: each sequence's length, sums of its tokens and
    log-probs, and those of the prompt."""
    rows = []
    for s in n.get("sequences", []):
        lp = s.get("logprobs")
        rows.append([s["tokens"]["count"], total(s["tokens"]),
                     total(lp) if lp else None,
                     s.get("stop_reason", "STOP_REASON_STOP")])
    prompt = n.get("prompt_logprobs")
    return {"sequences": rows, "prompt": None if prompt is None else [
        prompt["count"], total(prompt)]}


def want(folder, entry):
    if not entry or "decoded" not in entry:
        return {}
    n = json.loads(read(os.path.join(folder, entry["decoded"])))
    make = {"ForwardBackwardOutput": want_output,
            "SampleResponse": want_sample}.get(n.get("message"))
    return {"want": make(n)} if make else {}


def pack(folder):
    headers = json.loads(read(os.path.join(folder, "headers.json")))
    lines = []
    for line in read(os.path.join(folder, "index.jsonl")).splitlines():
        e = json.loads(line)
        sent = dict((headers[i][0].lower(), headers[i][1])
                    for i in e["req_headers"])
        path = re.sub(r"\?.*", "", e["target"])
        if path.endswith(("/telemetry", "/download")) or not e["status"]:
            continue
        got = dict((headers[i][0].lower(), headers[i][1])
                   for i in e["rsp_headers"])
        poll = path.endswith(("retrieve_future", "retrieve_futures"))
        lines.append({
            "i": e["i"], "at": e["t_end"] if poll else e["t_head"],
            "method": e["method"], "target": e["target"],
            "headers": {k: sent[k] for k in HEADERS if sent.get(
                k, "application/json") != "application/json"},
            "body": body(folder, e["req_body"]), "status": e["status"],
            "type": got.get("content-type", ""),
            "reply": body(folder, e["rsp_body"]), **want(folder, e["rsp_body"])})
    lines.sort(key=lambda l: (l["at"], l["i"]))
    for line in lines:
        del line["at"]
    return "".join(json.dumps(l, ensure_ascii=False, allow_nan=False,
                              separators=(",", ":")) + "\n"
                   for l in lines).encode()


def main():
    source, out = sys.argv[1:3]
    os.makedirs(out, exist_ok=True)
    for name in sorted(os.listdir(source)):
        if name in LEFT_OUT:
            continue
        data = pack(os.path.join(source, name))
        path = os.path.join(out, name + ".jsonl")
        if len(data) > 100000:
            path, data = path + ".gz", gzip.compress(data, mtime=0)
        with open(path, "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
