"""The official SDK, unmodified, against tinker-locald.

  test_sdk.py LOCALD MODEL

Creates, trains 20 steps with a falling loss, saves, loads with the optimizer,
samples; then the errors that the SDK shows for what the service refuses."""
import math
import os
import sys
import warnings

os.environ["TINKER_TELEMETRY"] = "0"
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))
warnings.simplefilter("ignore")
import locald
try:
    import tinker
    from tinker import types
except ImportError:
    sys.exit(77)  # skipped: see requirements.txt

TOKENS = [5 + 3 * i % 50 for i in range(48)]


def datum(weights=None):
    n = len(TOKENS) - 1
    return types.Datum(
        model_input=types.ModelInput.from_ints(TOKENS[:-1]),
        loss_fn_inputs={"target_tokens": TOKENS[1:],
                        "weights": weights or [1.0] * n})


def steps(trainer, n, batch=2):
    losses = []
    for _ in range(n):
        pass_ = trainer.forward_backward([datum()] * batch, "cross_entropy")
        step = trainer.optim_step(types.AdamParams(learning_rate=2e-2,
                                                   grad_clip_norm=1.0))
        losses.append(pass_.result().metrics["loss:sum"])
        assert step.result().metrics["unclipped_grad_l2:mean"] > 0
    return losses


def check_training(client):
    trainer = client.create_lora_training_client(
        base_model="m", rank=8, seed=3, user_metadata={"who": "test"})
    losses = steps(trainer, 20)
    assert losses[-1] < 0.7 * losses[0], losses
    forward = trainer.forward([datum()], "cross_entropy").result()
    row = forward.loss_fn_outputs[0]["logprobs"]
    assert len(row.data) == len(TOKENS) - 1
    assert math.isclose(-sum(row.data), forward.metrics["loss:sum"],
                        rel_tol=1e-5)
    return trainer, losses


def check_chunks(trainer):
    """One call of several requests: chunk 1 arrives last."""
    result = trainer.forward([datum()] * 1500, "cross_entropy").result()
    assert len(result.loss_fn_outputs) == 1500


def check_resume(client, trainer):
    path = trainer.save_state("c20").result().path
    assert path == f"tinker://{trainer.model_id}/weights/c20", path
    on = steps(trainer, 5)
    resumed = client.create_training_client_from_state_with_optimizer(path)
    assert steps(resumed, 5) == on
    fresh = client.create_training_client_from_state(path)
    without = steps(fresh, 5)
    assert without[0] == on[0] and without != on
    loaded = client.create_lora_training_client(base_model="m", rank=8)
    loaded.load_state_with_optimizer(path).result()
    assert steps(loaded, 5) == on


def check_sampling(client, trainer):
    prompt = types.ModelInput.from_ints(TOKENS[:8])
    sampler = trainer.save_weights_and_get_sampling_client()
    params = types.SamplingParams(max_tokens=6, temperature=0.0, stop=[])
    result = sampler.sample(prompt, 2, params, include_prompt_logprobs=True,
                            topk_prompt_logprobs=3,
                            topk_sample_logprobs=2).result()
    first = result.sequences[0]
    assert first.tokens == TOKENS[8:14], "it learned the sequence by heart"
    assert first.tokens == result.sequences[1].tokens
    assert first.stop_reason == "length"
    assert first.topk_logprobs[0][0] == (first.tokens[0], first.logprobs[0])
    assert result.prompt_logprobs[0] is None

    # Sampled log-probs are forward's, to the bit.
    tokens = TOKENS[:8] + list(first.tokens)
    forward = trainer.forward([types.Datum(
        model_input=types.ModelInput.from_ints(tokens[:-1]),
        loss_fn_inputs={"target_tokens": tokens[1:],
                        "weights": [1.0] * (len(tokens) - 1)})],
        "cross_entropy").result()
    row = list(forward.loss_fn_outputs[0]["logprobs"].data)
    assert row == result.prompt_logprobs[1:] + list(first.logprobs)

    path = trainer.save_weights_for_sampler("s").result().path
    named = client.create_sampling_client(model_path=path)
    again = named.sample(prompt, 1, params).result()
    assert again.sequences[0].tokens == first.tokens
    assert again.sequences[0].logprobs == first.logprobs
    scores = named.compute_logprobs(prompt).result()
    assert scores == result.prompt_logprobs

    noisy = types.SamplingParams(max_tokens=12, seed=4, stop=[], top_k=20,
                                 top_p=0.9)
    one = named.sample(prompt, 3, noisy).result()
    two = named.sample(prompt, 3, noisy).result()
    assert [s.tokens for s in one.sequences] == [s.tokens for s
                                                 in two.sequences]
    stop = types.SamplingParams(max_tokens=6, temperature=0.0,
                                stop=[TOKENS[10]])
    short = named.sample(prompt, 1, stop).result().sequences[0]
    assert short.tokens == TOKENS[8:11] and short.stop_reason == "stop"
    base = client.create_sampling_client(base_model="m")
    assert base.sample(prompt, 1, params).result().sequences[0].tokens


def refused(error, words, fn):
    try:
        fn()
    except error as e:
        assert words in str(e), (words, str(e))
    else:
        raise AssertionError(f"not refused: {words}")


def check_errors(client, trainer):
    n = len(TOKENS) - 1
    no_weights = types.Datum(
        model_input=types.ModelInput.from_ints(TOKENS[:-1]),
        loss_fn_inputs={"target_tokens": TOKENS[1:]})
    refused(tinker.BadRequestError, "data[1].loss_fn_inputs.weights",
            lambda: trainer.forward_backward([datum(), no_weights],
                                             "cross_entropy").result())
    # The refused number does not hold up the next ones.
    trainer.forward([datum()], "cross_entropy").result()
    refused(tinker.BadRequestError, "loss_fn 'cispo'",
            lambda: trainer.forward_backward([datum()], "cispo").result())
    far = types.Datum(model_input=types.ModelInput.from_ints([10 ** 6] * n),
                      loss_fn_inputs={"target_tokens": TOKENS[1:],
                                      "weights": [1.0] * n})
    refused(tinker.BadRequestError, "data[0].model_input",
            lambda: trainer.forward_backward([far], "cross_entropy").result())
    refused(tinker.BadRequestError, "power of 2",
            lambda: client.create_lora_training_client(
                base_model="m", rank=12).result())
    refused(tinker.NotFoundError, "not served here",
            lambda: client.create_lora_training_client(
                base_model="x").result())
    refused(tinker.RequestFailedError, "ResourceAlreadyExists",
            lambda: trainer.save_state("c20").result())
    refused(tinker.BadRequestError, "not a training path",
            lambda: client.create_sampling_client(
                model_path=f"tinker://{trainer.model_id}/weights/c20"
            ).result())


def check_rest(client, trainer):
    rest = client.create_rest_client()
    runs = rest.list_training_runs().result()
    mine = [r for r in runs.training_runs
            if r.training_run_id == trainer.model_id][0]
    assert mine.lora_rank == 8 and mine.user_metadata == {"who": "test"}
    listed = rest.list_checkpoints(trainer.model_id).result().checkpoints
    assert {c.checkpoint_id for c in listed} == {"weights/c20",
                                                 "sampler_weights/s"}
    assert all(c.size_bytes > 0 for c in listed)
    info = rest.get_weights_info_by_tinker_path(
        f"tinker://{trainer.model_id}/weights/c20").result()
    assert (info.base_model, info.lora_rank) == ("m", 8)


def main():
    program, model = sys.argv[1:3]
    service = locald.Service(program, model, ["--listen", "127.0.0.1:0"])
    url = service.start()["http"]
    with tinker.ServiceClient(base_url=url, api_key="tml-local") as client:
        trainer, losses = check_training(client)
        check_resume(client, trainer)
        check_sampling(client, trainer)
        check_chunks(trainer)
        check_errors(client, trainer)
        check_rest(client, trainer)
    assert service.stop() == 0
    print(f"SDK {tinker.__version__}: loss {losses[0]:.2f} -> "
          f"{losses[-1]:.2f}, all checks passed")


if __name__ == "__main__":
    main()
