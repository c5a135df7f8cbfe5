"""The official SDK as a contender (see contender.h).

usage: client_sdk.py URL  (PyPI: tinker)

Passes, each "NAME N LENGTH":
  forward_lists     forward_backward, examples made from lists of numbers
  forward_numpy     the same from numpy arrays
  forward_prebuilt  the same, with examples that were made before the pass
  sample            N samples at once, with prompts of LENGTH tokens
  small             N forward_backwards of one example, one after another
  idle              N seconds without a call
The log-probabilities of a result are read as numpy arrays.
"""
import json
import os
import resource
import sys
import time

import numpy
import tinker
from tinker import types

IDS = 150000
MAX_TOKENS = 64


class Meter:
    """As the one of contender.c."""

    def __init__(self):
        self.base = self.kib("VmRSS:")

    @staticmethod
    def kib(name):
        with open("/proc/self/status") as f:
            return next(int(line.split()[1]) for line in f
                        if line.startswith(name))

    @staticmethod
    def now():
        use = resource.getrusage(resource.RUSAGE_SELF)
        return (use.ru_utime + use.ru_stime, time.monotonic(), use.ru_nvcsw)

    def __enter__(self):
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        self.start = self.now()

    def __exit__(self, kind, *_):
        if kind:
            return
        cpu, wall, sleeps = (b - a for a, b in zip(self.start, self.now()))
        peak = self.kib("VmHWM:") - self.base
        print(json.dumps({
            "cpu_ms": round(cpu * 1e3, 3), "wall_ms": round(wall * 1e3, 3),
            "peak_mib": round(peak / 1024, 2), "sleeps": sleeps}), flush=True)


class Arrays:
    def __init__(self, n, length):
        draw = numpy.random.default_rng(1)
        shape = (n, length)
        self.n, self.length = n, length
        self.tokens = draw.integers(0, IDS, shape, dtype=numpy.int64)
        self.targets = numpy.roll(self.tokens, -1)
        self.weights = numpy.ones(shape, dtype=numpy.float32)
        self.lists = [(self.tokens[i].tolist(), self.targets[i].tolist(),
                       self.weights[i].tolist()) for i in range(n)]
        self.numpys = [(self.tokens[i], self.targets[i], self.weights[i])
                       for i in range(n)]


def datum(tokens, targets, weights):
    if not isinstance(tokens, list):
        tokens = tokens.tolist()
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens),
        loss_fn_inputs={"target_tokens": targets, "weights": weights})


class Passes:
    def __init__(self, url):
        self.service = tinker.ServiceClient(base_url=url, api_key="tml-bench")
        self.trainer = self.sampler = None

    def need_trainer(self):
        if not self.trainer:
            self.trainer = self.service.create_lora_training_client(
                "m").result()

    def train(self, data, length):
        result = self.trainer.forward_backward(data, "cross_entropy").result()
        assert len(result.loss_fn_outputs) == len(data)
        for output in result.loss_fn_outputs:
            values = output["logprobs"].to_numpy()
            assert len(values) == length
            assert values[-1] == numpy.float32(-((length - 1) % 997)) / 997

    def forward(self, arrays, meter, examples):
        with meter:
            self.train([datum(*e) for e in examples], arrays.length)

    def forward_lists(self, arrays, meter):
        self.need_trainer()
        self.forward(arrays, meter, arrays.lists)

    def forward_numpy(self, arrays, meter):
        self.need_trainer()
        self.forward(arrays, meter, arrays.numpys)

    def forward_prebuilt(self, arrays, meter):
        self.need_trainer()
        data = [datum(*e) for e in arrays.numpys]
        with meter:
            self.train(data, arrays.length)

    def small(self, arrays, meter):
        self.need_trainer()
        with meter:
            for _ in range(arrays.n):
                self.train([datum(*arrays.lists[0])], arrays.length)

    def sample(self, arrays, meter):
        if not self.sampler:
            self.sampler = self.service.create_sampling_client(
                base_model="m").result()
        params = types.SamplingParams(max_tokens=MAX_TOKENS)
        with meter:
            futures = [self.sampler.sample(types.ModelInput.from_ints(tokens),
                                           1, params)
                       for tokens, _, _ in arrays.lists]
            for f in futures:
                sequence, = f.result().sequences
                assert len(sequence.tokens) == MAX_TOKENS

    def idle(self, arrays, meter):
        self.need_trainer()
        with meter:
            time.sleep(arrays.n)


def main():
    passes = Passes(sys.argv[1])
    arrays = None
    for line in sys.stdin:
        name, n, length = line.split()
        n, length = int(n), int(length)
        if not arrays or (arrays.n, arrays.length) != (n, length):
            arrays = Arrays(n, length)
            meter = Meter()
        getattr(passes, name)(arrays, meter)
    # Its threads would keep the process for seconds.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
