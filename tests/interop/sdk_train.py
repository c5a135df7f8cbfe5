"""Checks of the training client: passes, losses, steps, what is refused."""
import asyncio
import concurrent.futures
import math

import tinker
from tinker import types

from sdk_checks import (OTHER, TOKENS, adam, backward, check, close, datum,
                        grad_norm, ints, logprobs, refused, steps, tensor)

N = len(TOKENS) - 1


@check()
def create_with_options(bed):
    for flags in ({"train_mlp": False}, {"train_attn": False},
                  {"train_unembed": False},
                  {"train_mlp": False, "train_attn": False}):
        trainer = bed.trainer(rank=2, **flags)
        first, last = steps(trainer, 2)
        assert last < first, flags


@check()
def create_refused(bed):
    for rank, words in ((12, "power of 2"), (0, "positive"),
                        (256, "at most 128")):
        refused(tinker.BadRequestError, words,
                lambda: bed.trainer(rank=rank).result())
    refused(tinker.NotFoundError, "not served here",
            lambda: bed.client.create_lora_training_client(
                base_model="x").result())


@check()
def model_info(bed):
    trainer = bed.trainer(rank=16)
    info = trainer.get_info()
    assert info.model_id == trainer.model_id
    assert info.is_lora is True and info.lora_rank == 16
    assert info.model_data.model_name == "m"
    assert info.model_data.arch


@check()
def fresh_adapter_is_the_base_model(bed):
    assert logprobs(bed.trainer()) == bed.base_logprobs()


@check()
def seed_decides(bed):
    one, two, three = (steps(bed.trainer(seed=s), 3) for s in (5, 5, 6))
    assert one == two and one != three
    assert steps(bed.trainer(seed=None), 3) != steps(bed.trainer(seed=None), 3)


@check()
def loss_falls(bed):
    losses = steps(bed.trainer(rank=8), 20)
    assert losses[-1] < 0.5 * losses[0], losses


@check()
def loss_is_a_weighted_sum(bed):
    trainer = bed.trainer()
    steps(trainer, 2)
    weights = [0.25 * (i % 5) for i in range(N)]
    result = backward(trainer, datum(weights=weights), datum(OTHER))
    rows = [list(o["logprobs"].data) for o in result.loss_fn_outputs]
    assert [len(r) for r in rows] == [N, len(OTHER) - 1]
    close(result.metrics["loss:sum"],
          -sum(w * lp for w, lp in zip(weights, rows[0])) - sum(rows[1]))
    losses = [list(o["elementwise_loss"].data)
              for o in result.loss_fn_outputs]
    close(losses[0], [-w * lp for w, lp in zip(weights, rows[0])])
    zero = backward(trainer, datum(weights=[0.0] * N))
    assert zero.metrics["loss:sum"] == 0


@check()
def forward_leaves_no_gradient(bed):
    trainer = bed.trainer()
    one = trainer.forward([datum()], "cross_entropy").result()
    two = trainer.forward([datum()], "cross_entropy").result()
    assert one.metrics == two.metrics
    assert grad_norm(trainer) == 0
    back = backward(trainer)
    assert back.metrics["loss:sum"] == one.metrics["loss:sum"]
    assert grad_norm(trainer) > 0
    assert grad_norm(trainer) == 0, "a step uses the gradients up"


@check()
def gradients_add_up(bed):
    apart, together, twice = (bed.trainer() for _ in range(3))
    backward(apart, datum())
    backward(apart, datum(OTHER))
    backward(together, datum(), datum(OTHER))
    for trainer in (apart, together):
        trainer.optim_step(adam()).result()
    assert logprobs(apart) == logprobs(together)
    backward(twice)
    once = grad_norm(twice)
    backward(twice)
    backward(twice)
    close(grad_norm(twice), 2 * once)
    backward(twice, datum(weights=[2.0] * N))
    close(grad_norm(twice), 2 * once)


@check()
def many_datums_in_chunks(bed):
    """One call of several requests, the first of which arrives last."""
    trainer = bed.trainer()
    whole = logprobs(trainer, OTHER)
    lengths = [1 + i % 31 for i in range(1500)]
    result = trainer.forward([datum(OTHER[:n + 1]) for n in lengths],
                             "cross_entropy").result()
    rows = [list(o["logprobs"].data) for o in result.loss_fn_outputs]
    assert rows == [whole[:n] for n in lengths]
    close(result.metrics["loss:sum"], -sum(sum(r) for r in rows))


@check()
def calls_without_waiting(bed):
    """Submitted at once they run in the order of the program."""
    waits, runs = bed.trainer(), bed.trainer()
    wanted = steps(waits, 4)
    passes = []
    for _ in range(4):
        passes.append(runs.forward_backward([datum()], "cross_entropy"))
        last = runs.optim_step(adam())
    last.result()
    assert [p.result().metrics["loss:sum"] for p in passes] == wanted


@check()
def threads_on_one_trainer(bed):
    """Whoever calls first is first; nothing is lost."""
    trainer = bed.trainer()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: backward(trainer), range(16)))
    assert all(r.metrics == results[0].metrics for r in results)
    norm = grad_norm(trainer)
    backward(trainer)
    close(norm, 16 * grad_norm(trainer), rel=1e-4)


@check()
def soft_targets(bed):
    trainer = bed.trainer()
    steps(trainer, 2)
    hard = logprobs(trainer)
    pairs = [t for token in TOKENS[1:] for t in (token, (token + 7) % 64)]
    weights = [w for i in range(N) for w in (0.75, 0.25 * (i % 2))]
    soft = types.Datum(model_input=ints(TOKENS[:-1]), loss_fn_inputs={
        "target_tokens": tensor(pairs, "int64", [N, 2]),
        "weights": tensor(weights, shape=[N, 2])})
    result = backward(trainer, soft)
    row = result.loss_fn_outputs[0]["logprobs"]
    assert list(row.shape) == [N, 2]
    assert list(row.data)[::2] == hard
    close(result.metrics["loss:sum"],
          -sum(w * lp for w, lp in zip(weights, row.data)))
    norm = grad_norm(trainer)
    column = backward(trainer, types.Datum(
        model_input=ints(TOKENS[:-1]), loss_fn_inputs={
            "target_tokens": tensor(TOKENS[1:], "int64", [N, 1]),
            "weights": tensor([1.0] * N, shape=[N, 1])}))
    assert list(column.loss_fn_outputs[0]["logprobs"].shape) == [N, 1]
    assert list(column.loss_fn_outputs[0]["logprobs"].data) == hard
    grad_norm(trainer)
    parts = [datum(weights=[0.75] * N), types.Datum(
        model_input=ints(TOKENS[:-1]), loss_fn_inputs={
            "target_tokens": tensor(pairs[1::2], "int64"),
            "weights": tensor(weights[1::2])})]
    backward(trainer, *parts)
    close(grad_norm(trainer), norm, rel=1e-4)


@check()
def sparse_targets(bed):
    """CSR weights and targets mean what the dense ones mean."""
    trainer = bed.trainer()
    pairs = [t for token in TOKENS[1:] for t in (token, (token + 7) % 64)]
    weights = [0.5, 0.25] * N
    rows, columns = list(range(0, 2 * N + 1, 2)), [0, 1] * N

    def made(**sparse):
        return types.Datum(model_input=ints(TOKENS[:-1]), loss_fn_inputs={
            "target_tokens": types.TensorData(
                data=pairs, dtype="int64", shape=[N, 2], **sparse),
            "weights": types.TensorData(
                data=weights, dtype="float32", shape=[N, 2], **sparse)})
    dense = backward(trainer, made())
    norm = grad_norm(trainer)
    sparse = backward(trainer, made(sparse_crow_indices=rows,
                                    sparse_col_indices=columns))
    assert sparse.metrics == dense.metrics
    assert grad_norm(trainer) == norm


@check()
def importance_sampling(bed):
    trainer = bed.trainer()
    steps(trainer, 3)
    lp = logprobs(trainer)
    gains = [0.5 - (i % 3) * 0.4 for i in range(N)]
    same = backward(trainer, datum(logprobs=lp, advantages=gains),
                    loss="importance_sampling")
    close(same.metrics["loss:sum"], -sum(gains), rel=1e-4)
    assert list(same.loss_fn_outputs[0]["logprobs"].data) == lp
    norm = grad_norm(trainer)
    backward(trainer, datum(weights=gains))
    close(grad_norm(trainer), norm, rel=1e-4)  # ratio 1: the same gradient
    q = [v - 0.3 + 0.1 * (i % 7) for i, v in enumerate(lp)]
    off = backward(trainer, datum(logprobs=q, advantages=gains),
                   loss="importance_sampling")
    close(off.metrics["loss:sum"],
          -sum(math.exp(p - o) * a for p, o, a in zip(lp, q, gains)), 1e-4)


def policy_case(bed):
    trainer = bed.trainer()
    lp = logprobs(trainer)
    gains = [0.5 - (i % 3) * 0.4 for i in range(N)]
    q = [v - 0.5 + 0.15 * (i % 7) for i, v in enumerate(lp)]
    return trainer, lp, gains, q, [math.exp(p - o) for p, o in zip(lp, q)]


@check()
def ppo_clips(bed):
    trainer, lp, gains, q, ratios = policy_case(bed)

    def want(low, high):
        return -sum(min(r * a, min(max(r, low), high) * a)
                    for r, a in zip(ratios, gains))
    for config, low, high in (({}, 0.8, 1.2), (
            {"clip_low_threshold": 0.5, "clip_high_threshold": 1.05},
            0.5, 1.05)):
        result = backward(trainer, datum(logprobs=q, advantages=gains),
                          loss="ppo", **config)
        close(result.metrics["loss:sum"], want(low, high), 1e-4)
    # Where everything is clipped there is no gradient.
    grad_norm(trainer)
    far = [v - 2.0 for v in lp]
    backward(trainer, datum(logprobs=far, advantages=[1.0] * N), loss="ppo")
    assert grad_norm(trainer) == 0


@check()
def cispo(bed):
    trainer, lp, gains, q, ratios = policy_case(bed)
    for config, low, high in (({}, 0.0, 4.0), (
            {"clip_low_threshold": 0.8, "clip_high_threshold": 1.2},
            0.8, 1.2)):
        result = backward(trainer, datum(logprobs=q, advantages=gains),
                          loss="cispo", **config)
        close(result.metrics["loss:sum"], -sum(
            min(max(r, low), high) * p * a
            for r, p, a in zip(ratios, lp, gains)), 1e-4)


@check()
def dro(bed):
    trainer, lp, gains, q, _ = policy_case(bed)
    result = backward(trainer, datum(logprobs=q, advantages=gains),
                      loss="dro", beta=0.05)
    close(result.metrics["loss:sum"], -sum(
        p * a - 0.025 * (p - o) ** 2 for p, o, a in zip(lp, q, gains)), 1e-4)
    refused(tinker.BadRequestError, "loss_fn_config.beta",
            lambda: backward(trainer, datum(logprobs=q, advantages=gains),
                             loss="dro"))


def same_gradient(bed, weights, loss, q, gains, more=None, **config):
    """That of the loss is cross-entropy's with these weights: a step in
    proportion to the gradient ends in the same model."""
    ends = []
    for data, name, options in (
            (datum(weights=weights), "cross_entropy", {}),
            (datum(logprobs=q, advantages=gains, **(more or {})), loss,
             config)):
        trainer = bed.trainer()
        backward(trainer, data, loss=name, **options)
        trainer.optim_step(adam(3e3, eps=1e6)).result()
        ends.append(logprobs(trainer))
    start = bed.base_logprobs()
    moved = [[b - a for a, b in zip(start, end)] for end in ends]
    assert sum(abs(m) for m in moved[0]) > 0.01, moved[0]
    close(*moved, rel=1e-2, floor=2e-5)


@check()
def policy_gradients(bed):
    _, lp, gains, q, ratios = policy_case(bed)
    same_gradient(bed, [r * a for r, a in zip(ratios, gains)],
                  "importance_sampling", q, gains)
    same_gradient(bed, [
        r * a if r * a <= min(max(r, 0.8), 1.2) * a else 0.0
        for r, a in zip(ratios, gains)], "ppo", q, gains)
    same_gradient(bed, [min(max(r, 0.8), 1.2) * a
                        for r, a in zip(ratios, gains)], "cispo", q, gains,
                  clip_low_threshold=0.8, clip_high_threshold=1.2)
    same_gradient(bed, [a - 0.5 * (p - o)
                        for p, o, a in zip(lp, q, gains)],
                  "dro", q, gains, beta=0.5)


@check("0.34.0")
def gspo(bed):
    trainer, lp, gains, q, _ = policy_case(bed)
    mask = [float(i % 2) for i in range(N)]
    result = backward(trainer, datum(
        logprobs=q, advantages=gains, sequence_ratio_mask=mask), loss="gspo")
    ratio = math.exp(sum(m * (p - o) for m, p, o in zip(mask, lp, q)) /
                     sum(mask))
    clipped = min(max(ratio, 0.8), 1.2)
    close(result.metrics["loss:sum"],
          -sum(min(ratio * a, clipped * a) for a in gains), 1e-4)
    same_gradient(bed, [ratio * a if ratio * a <= clipped * a else 0.0
                        for a in gains], "gspo", q, gains,
                  {"sequence_ratio_mask": mask})


@check("0.35.0")
def losses_refused_by_name(bed):
    refused(tinker.BadRequestError, "loss_fn 'stable_reinforce'",
            lambda: backward(bed.trainer(), loss="stable_reinforce"))


@check()
def unknown_losses_are_refused(bed):
    trainer = bed.trainer()
    refused(tinker.BadRequestError, "loss_fn 'none'",
            lambda: backward(trainer, loss="none"))
    assert grad_norm(trainer) == 0


@check("0.26.2")
def text_options_are_refused(bed):
    refused(tinker.BadRequestError, "loss_fn_config.mode",
            lambda: backward(bed.trainer(), mode="fast"))


@check()
def options_refused_by_name(bed):
    trainer = bed.trainer()
    refused(tinker.BadRequestError, "loss_fn_config.beta",
            lambda: backward(trainer, beta=0.1))
    refused(tinker.BadRequestError, "clip_low_threshold",
            lambda: backward(trainer, datum(
                logprobs=[0.0] * N, advantages=[0.0] * N), loss="ppo",
                clip_low_threshold=2.0))
    assert logprobs(trainer) == bed.base_logprobs(), "it goes on"


@check()
def wrong_data_is_refused(bed):
    """Each by its field, without harm to the gradients or to later calls."""
    trainer = bed.trainer()
    whole = [1.0] * N

    def made(targets=None, weights=None, tokens=None, **more):
        return types.Datum(
            model_input=ints(tokens or TOKENS[:-1]), loss_fn_inputs={
                "target_tokens": targets or tensor(TOKENS[1:], "int64"),
                "weights": weights or tensor(whole), **more})
    nan, inf = float("nan"), float("inf")
    cases = [
        ("target_tokens", made(tensor(TOKENS[2:], "int64"))),
        ("target_tokens: token 64 at position 0 is outside",
         made(tensor([64] * N, "int64"))),
        ("target_tokens", made(tensor([-1] * N, "int64"))),
        ("target_tokens", made(tensor([1.0] * N))),
        ("target_tokens", made(tensor([1] * 2 * N, "int64", [2, N]))),
        ("weights", made(weights=tensor(whole[1:]))),
        ("weights", made(weights=tensor(whole * 2, shape=[N, 2]))),
        ("weights", made(weights=tensor(whole, shape=[N, 1]))),
        ("weights", made(tensor(TOKENS[1:], "int64", [N, 1]))),
        ("weights", made(weights=tensor([1] * N, "int64"))),
        ("weights", made(weights=tensor([nan] * N))),
        ("weights", made(weights=tensor([inf] * N))),
        ("mask", made(mask=tensor(whole))),
        ("model_input: token 1000000 at position 0 is outside",
         made(tokens=[10 ** 6] * N)),
        ("model_input", made(tokens=[-1] * N)),
        ("129 tokens are longer than the model's context window of 128",
         made(tokens=[1] * 129))]
    for field, wrong in cases:
        refused(tinker.BadRequestError, "data[1].", lambda: backward(
            trainer, datum(), wrong))
        refused(tinker.BadRequestError, field, lambda: backward(
            trainer, datum(), wrong))
    no_weights = types.Datum(model_input=ints(TOKENS[:-1]), loss_fn_inputs={
        "target_tokens": tensor(TOKENS[1:], "int64")})
    refused(tinker.BadRequestError, "data[0].loss_fn_inputs.weights",
            lambda: backward(trainer, no_weights))
    for loss in ("importance_sampling", "ppo"):
        refused(tinker.BadRequestError, "advantages", lambda: backward(
            trainer, datum(logprobs=whole), loss=loss))
        refused(tinker.BadRequestError, "advantages", lambda: backward(
            trainer, datum(logprobs=whole, advantages=[nan] * N), loss=loss))
        refused(tinker.BadRequestError, "logprobs", lambda: backward(
            trainer, datum(logprobs=whole[1:], advantages=whole), loss=loss))
        for field in ("logprobs", "advantages", "target_tokens"):
            wrong = datum(logprobs=whole, advantages=whole)
            right = wrong.loss_fn_inputs[field]
            wrong.loss_fn_inputs[field] = tensor(right.data, right.dtype,
                                                 [N, 1])
            refused(tinker.BadRequestError, field,
                    lambda: backward(trainer, wrong, loss=loss))
    refused(ValueError, "No data provided",
            lambda: trainer.forward_backward([], "cross_entropy").result())
    assert grad_norm(trainer) == 0
    assert logprobs(trainer) == bed.base_logprobs()


@check()
def models_do_not_leak(bed):
    alone = bed.trainer(seed=8)
    wanted = steps(alone, 4)
    other, mixed = bed.trainer(rank=16, seed=9), bed.trainer(seed=8)
    losses = []
    for _ in range(4):
        backward(other, datum(OTHER))  # its gradients stay unused
        losses += steps(mixed, 1)
    assert losses == wanted
    other.optim_step(adam(0.5, weight_decay=0.5)).result()
    assert logprobs(mixed) == logprobs(alone)
    # Nor does a new model inherit anything from one that came before it.
    assert steps(bed.trainer(seed=8), 4) == wanted


@check()
def step_reports_the_norm(bed):
    trainer = bed.trainer()
    backward(trainer)
    plain = trainer.optim_step(adam(0.0)).result()
    assert "unclipped_grad_l2:mean" not in (plain.metrics or {})
    backward(trainer)
    loose = grad_norm(trainer)
    backward(trainer)
    tight = trainer.optim_step(adam(0.0, grad_clip_norm=1e-3)).result()
    assert tight.metrics["unclipped_grad_l2:mean"] == loose > 1e-3


@check()
def clipping_scales_the_gradient(bed):
    """With a large eps a step is in proportion to the gradient."""
    moved = []
    for clip in (0.0, 1e-2, 2e-2):
        trainer = bed.trainer()
        before = logprobs(trainer)
        backward(trainer)
        trainer.optim_step(adam(50.0, eps=1e3, grad_clip_norm=clip)).result()
        after = logprobs(trainer)
        moved.append(sum(abs(a - b) for a, b in zip(after, before)))
    assert 0 < moved[1] < moved[2] < moved[0], moved
    close(moved[2], 2 * moved[1], rel=0.05)


@check()
def step_without_rate_changes_nothing(bed):
    trainer = bed.trainer()
    steps(trainer, 2)
    before = logprobs(trainer)
    backward(trainer)
    trainer.optim_step(adam(0.0, weight_decay=0.9)).result()
    assert logprobs(trainer) == before


@check()
def decay_to_the_base_model(bed):
    """A step of rate 1 and decay 1 without gradients leaves no adapter."""
    trainer = bed.trainer()
    steps(trainer, 3)
    path = trainer.save_state("decay").result().path
    fresh = bed.client.create_training_client_from_state(path)
    assert logprobs(fresh) == logprobs(trainer) != bed.base_logprobs()
    fresh.optim_step(adam(1.0, weight_decay=1.0)).result()
    assert logprobs(fresh) == bed.base_logprobs()
    assert logprobs(trainer) != bed.base_logprobs()


@check()
def adam_first_step(bed):
    """Bias-corrected: the first step does not depend on the betas."""
    rows = []
    for betas in ((0.9, 0.95), (0.5, 0.6)):
        trainer = bed.trainer()
        backward(trainer)
        trainer.optim_step(adam(1e-2, beta1=betas[0], beta2=betas[1],
                                eps=1e-12)).result()
        rows.append(logprobs(trainer))
    close(*rows, rel=1e-3)


@check()
def an_overflow_harms_nobody(bed):
    """Finite inputs whose loss is not: the loss says so, the step fails by
    name and uses the gradients up, other models know nothing of it."""
    trainer, other, alone = bed.trainer(), bed.trainer(), bed.trainer()
    steps(trainer, 1)
    before = logprobs(trainer)
    backward(other)
    huge = datum(logprobs=[-2000.0] * N, advantages=[-1.0] * N)
    result = backward(trainer, huge, loss="importance_sampling")
    assert result.metrics["loss:sum"] == math.inf
    e = refused(tinker.RequestFailedError, "NonFiniteInTensor",
                lambda: trainer.optim_step(adam()).result())
    assert str(getattr(e.category, "value", e.category)) == "user"
    assert logprobs(trainer) == before and grad_norm(trainer) == 0
    other.optim_step(adam()).result()
    steps(alone, 1)
    assert logprobs(other) == logprobs(alone)
    last = steps(trainer, 3)
    assert last[-1] < last[0]


@check()
def steps_out_of_range_are_refused(bed):
    trainer = bed.trainer()
    for field, wrong in (("beta1", {"beta1": 1.0}), ("eps", {"eps": -1.0}),
                         ("beta2", {"beta2": -0.1}),
                         ("weight_decay", {"weight_decay": -1.0}),
                         ("grad_clip_norm", {"grad_clip_norm": -1.0})):
        refused(tinker.BadRequestError, f"adam_params.{field}",
                lambda: trainer.optim_step(adam(**wrong)).result())
    assert grad_norm(trainer) == 0


@check("0.38.0")
def rates_that_are_no_number_are_refused(bed):
    """JSON has no NaN and no infinity: this SDK sends null for them, which is
    not the default. (0.25.0 refuses them itself, but keeps their number.)"""
    trainer = bed.trainer()
    before = logprobs(trainer)
    for field in ("learning_rate", "grad_clip_norm"):
        for value in (float("nan"), float("inf")):
            wrong = types.AdamParams(**{field: value})
            refused(tinker.BadRequestError, f"adam_params.{field}",
                    lambda: trainer.optim_step(wrong).result())
    backward(trainer, datum())
    trainer.optim_step(adam(0.0, grad_clip_norm=1e30)).result()
    assert logprobs(trainer) == before


@check("0.29.1")
def optimizer_families(bed):
    trainer = bed.trainer(optimizer=types.AdamOptimizerConfig())
    backward(trainer)
    trainer.optim_step(optim_params=adam()).result()
    backward(trainer)
    trainer.optim_step(adam_params=adam()).result()
    assert logprobs(trainer) != bed.base_logprobs()


@check("0.30.4")
def other_optimizers_are_refused(bed):
    dimuon = types.DimuonOptimizerConfig()
    refused(tinker.BadRequestError, "dimuon",
            lambda: bed.trainer(optimizer=dimuon).result())
    trainer = bed.trainer()
    refused(tinker.BadRequestError, "dimuon",
            lambda: trainer.optim_step(types.DimuonParams(
                learning_rate=1e-3)).result())


@check()
def asynchronous_methods(bed):
    async def run():
        trainer = await bed.client.create_lora_training_client_async(
            base_model="m", rank=4, seed=3)
        first = await trainer.forward_backward_async([datum()],
                                                     "cross_entropy")
        step = await trainer.optim_step_async(adam())
        forward = await trainer.forward_async([datum()], "cross_entropy")
        await step
        return ((await first).metrics["loss:sum"],
                (await forward).metrics["loss:sum"])
    assert list(asyncio.run(run())) == steps(bed.trainer(), 2)


@check(needs="torch")
def custom_loss(bed):
    """forward_backward_custom with cross-entropy written by hand."""
    ours, theirs = bed.trainer(), bed.trainer()

    def loss(data, rows):
        total = -sum(row.sum() for row in rows)
        return total, {"mine": float(total)}
    wanted = steps(theirs, 3)
    got = []
    for _ in range(3):
        result = ours.forward_backward_custom([datum()], loss).result()
        got.append(result.metrics["mine"])
        ours.optim_step(adam()).result()
    close(got, wanted, rel=1e-4)
