"""What the checks of the official SDK share: the list they register in, the
service they run against, data, and comparisons."""
import importlib.util
import math

import tinker
from tinker import types

VERSION = tuple(int(part) for part in tinker.__version__.split(".")[:3])
TOKENS = [5 + 3 * i % 50 for i in range(48)]
OTHER = [60 - 5 * i % 57 for i in range(32)]
CHECKS = []


def check(since="0.25.0", needs=None):
    """Registers a check. since: the first release whose interface has it;
    needs: a package beyond those of requirements*.txt."""
    def add(fn):
        wanted = tuple(int(part) for part in since.split("."))
        if VERSION < wanted:
            why = f"not in this release (since {since})"
        elif needs and not importlib.util.find_spec(needs):
            why = f"needs the package {needs}"
        else:
            why = None
        CHECKS.append((fn.__name__, fn, why))
        return fn
    return add


class Bed:
    """One service with the model 'm' (random, no tokenizer) and a folder with
    a tokenizer, whose path is its name; and clients. start(flags) makes
    another service, which its caller starts and stops."""

    def __init__(self, url, text_model, start):
        self.url = url
        self.text_model = text_model
        self.start = start
        self.client = self.connect()
        self.rest = self.client.create_rest_client()

    def connect(self, **more):
        return tinker.ServiceClient(base_url=self.url, api_key="tml-local",
                                    **more)

    def trainer(self, rank=4, seed=3, **more):
        return self.client.create_lora_training_client(
            base_model="m", rank=rank, seed=seed, **more)

    def resumed(self, path, **more):
        return self.client.create_training_client_from_state_with_optimizer(
            path, **more)

    def base_logprobs(self, tokens=TOKENS):
        sampler = self.client.create_sampling_client(base_model="m")
        return sampler.compute_logprobs(ints(tokens)).result()[1:]


def ints(tokens):
    return types.ModelInput.from_ints(list(tokens))


def tensor(data, dtype="float32", shape=None):
    return types.TensorData(data=list(data), dtype=dtype,
                            shape=shape or [len(data)])


def datum(tokens=TOKENS, weights=None, **inputs):
    """Cross-entropy's datum, or with inputs (logprobs, advantages) that of a
    policy loss."""
    fields = {"target_tokens": tensor(tokens[1:], "int64")}
    if inputs:
        fields.update({k: tensor(v) for k, v in inputs.items()})
    else:
        fields["weights"] = tensor([1.0] * (len(tokens) - 1)
                                   if weights is None else weights)
    return types.Datum(model_input=ints(tokens[:-1]), loss_fn_inputs=fields)


def adam(rate=2e-2, **more):
    return types.AdamParams(learning_rate=rate, **more)


def backward(trainer, *data, loss="cross_entropy", **config):
    return trainer.forward_backward(list(data) or [datum()], loss,
                                    config or None).result()


def logprobs(trainer, tokens=TOKENS):
    result = trainer.forward([datum(tokens)], "cross_entropy").result()
    return list(result.loss_fn_outputs[0]["logprobs"].data)


def steps(trainer, n, *data):
    losses = []
    for _ in range(n):
        losses.append(backward(trainer, *data).metrics["loss:sum"])
        trainer.optim_step(adam()).result()
    return losses


def grad_norm(trainer):
    """Of the gradients collected so far, in a step that changes nothing."""
    step = trainer.optim_step(adam(0.0, grad_clip_norm=1.0)).result()
    return step.metrics["unclipped_grad_l2:mean"]


def close(a, b, rel=1e-5, floor=1e-6):
    a, b = ([v] if isinstance(v, (int, float)) else list(v) for v in (a, b))
    assert len(a) == len(b), (len(a), len(b))
    for x, y in zip(a, b):
        assert math.isclose(x, y, rel_tol=rel, abs_tol=floor), (x, y)


def refused(error, words, fn):
    """fn is refused with this class of exception and these words."""
    try:
        fn()
    except error as e:
        assert words in str(e), (words, str(e))
        return e
    raise AssertionError(f"not refused: {words}")


def unique(prefix, taken=[0]):
    taken[0] += 1
    return f"{prefix}{taken[0]}"
