#!/usr/bin/env python3
"""The examples 02, 03 and 04 against SkyRL's own server with its JAX backend on
the CPU.

  skyrl.py PYTHON MODEL 02_train 03_resume 04_sample

PYTHON has what tests/interop/requirements-skyrl.in names. Exits with 77, and
a line that says so, where it has no skyrl."""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

GUARD_S = 900  # a hang guard: the first pass of each shape is compiled
SKIPPED = 77

# The server's main starts its engine by `uv run`; the packages are here
# already, so that this Python runs it.
SERVER = """
import argparse, sys
import skyrl.backends.jax, uvicorn
from skyrl.tinker import api
from skyrl.tinker.config import EngineConfig, add_model, config_to_argv
api._build_uv_run_cmd_engine = lambda parent, config: [
    sys.executable, "-m", "skyrl.tinker.engine", *config_to_argv(config)]
parser = argparse.ArgumentParser()
add_model(parser, EngineConfig)
fd = int(sys.argv.pop(1))
api.app.state.engine_config = EngineConfig.model_validate(
    vars(parser.parse_args()))
uvicorn.run(api.app, fd=fd)
"""


class Server:
    def __init__(self, python, model):
        self.dir = tempfile.mkdtemp(prefix="tk")
        self.log = open(os.path.join(self.dir, "log"), "w+b")
        listener = socket.create_server(("127.0.0.1", 0))
        fd = listener.fileno()
        self.url = "http://127.0.0.1:%d" % listener.getsockname()[1]
        self.process = subprocess.Popen(
            [python, "-c", SERVER, str(fd), "--base-model", model,
             "--backend", "jax",
             "--checkpoints-base", os.path.join(self.dir, "checkpoints"),
             "--database-url", "sqlite:///" + os.path.join(self.dir, "db"),
             "--backend-config",
             '{"max_lora_adapters": 4, "max_lora_rank": 8}'],
            stdout=self.log, stderr=self.log, pass_fds=[fd],
            start_new_session=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1"})
        listener.close()

    def ready(self):
        end = time.monotonic() + GUARD_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url + "/api/v1/healthz", timeout=60)
                return True
            except OSError:
                time.sleep(0.2)
        return False

    def tail(self):
        self.log.seek(0)
        return self.log.read()[-4000:].decode(errors="replace")

    def end(self):
        try:
            os.killpg(self.process.pid, 9)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    python, model, *programs = sys.argv[1:]
    model = os.path.abspath(model)
    tokenizer = os.path.join(model, "tokenizer.json")
    has = subprocess.run(
        [python, "-c", "import importlib.util, sys\n"
         "sys.exit(not importlib.util.find_spec('skyrl'))"], check=False)
    if has.returncode:
        print("skipped:", python, "has no package skyrl")
        return SKIPPED
    server = Server(python, model)
    try:
        assert server.ready(), server.tail()
        env = {**os.environ, "TINKER_BASE_URL": server.url,
               "TINKER_API_KEY": "tml-dummy", "TINKER_MODEL": model}
        for program in programs:
            needs = [] if program.endswith("03_resume") else [tokenizer]
            done = subprocess.run([program, *needs], env=env, text=True,
                                  timeout=GUARD_S, check=False)
            assert done.returncode == 0, (program, done.returncode,
                                          server.tail())
            print(os.path.basename(program) + ": ok", flush=True)
    finally:
        server.end()
    return 0


sys.exit(main())
