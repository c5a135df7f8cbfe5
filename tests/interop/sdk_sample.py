"""Checks of the sampling client and of what a sample's values are."""
import collections
import concurrent.futures
import math
import pickle

import tinker
from tinker import types

from sdk_checks import (OTHER, TOKENS, adam, backward, check, close, datum,
                        ints, logprobs, refused, steps, unique)

PROMPT = TOKENS[:8]


def params(n=6, temperature=0.0, stop=(), **more):
    """Greedy and without an end unless told otherwise."""
    stop = list(stop) if isinstance(stop, tuple) else stop
    return types.SamplingParams(max_tokens=n, temperature=temperature,
                                stop=stop, **more)


def sample(sampler, n=1, prompt=PROMPT, options=None, **how):
    return sampler.sample(ints(prompt), n, options or params(),
                          **how).result()


def tokens_of(result):
    return [list(s.tokens) for s in result.sequences]


def trained(bed, n=20):
    trainer = bed.trainer(rank=8)
    steps(trainer, n)
    return trainer


def base(bed):
    return bed.client.create_sampling_client(base_model="m")


@check()
def learned_by_heart(bed):
    sampler = trained(bed).save_weights_and_get_sampling_client()
    result = sample(sampler, 2)
    assert tokens_of(result) == [TOKENS[8:14]] * 2
    assert [s.stop_reason for s in result.sequences] == ["length"] * 2
    assert tokens_of(sample(base(bed))) != [TOKENS[8:14]]


@check()
def logprobs_are_those_of_forward(bed):
    """Prompt and sampled ones, to the bit."""
    trainer = trained(bed, 5)
    sampler = trainer.save_weights_and_get_sampling_client()
    for options in (params(), params(12, 1.0, seed=2)):
        result = sample(sampler, options=options, include_prompt_logprobs=True)
        sequence = result.sequences[0]
        assert result.prompt_logprobs[0] is None
        assert len(result.prompt_logprobs) == len(PROMPT)
        whole = PROMPT + list(sequence.tokens)
        assert logprobs(trainer, whole) == (result.prompt_logprobs[1:] +
                                            list(sequence.logprobs))


@check()
def compute_logprobs(bed):
    trainer = trained(bed, 3)
    sampler = trainer.save_weights_and_get_sampling_client()
    scores = sampler.compute_logprobs(ints(TOKENS)).result()
    assert scores[0] is None and scores[1:] == logprobs(trainer)
    result = sample(sampler, prompt=TOKENS, include_prompt_logprobs=True)
    assert result.prompt_logprobs == scores
    assert sample(sampler).prompt_logprobs is None


@check()
def topk_prompt_logprobs(bed):
    sampler = base(bed)
    result = sample(sampler, prompt=TOKENS, include_prompt_logprobs=True,
                    topk_prompt_logprobs=64)
    top = result.topk_prompt_logprobs
    assert len(top) == len(TOKENS) and top[0] is None
    for token, lp, row in zip(TOKENS[1:], result.prompt_logprobs[1:], top[1:]):
        assert len(row) == 64 and dict(row)[token] == lp
        assert [v for _, v in row] == sorted((v for _, v in row), reverse=True)
    few = sample(sampler, prompt=TOKENS, topk_prompt_logprobs=3)
    assert [r[:3] for r in top[1:]] == few.topk_prompt_logprobs[1:]
    assert sample(sampler).topk_prompt_logprobs is None


@check("0.29.0")
def topk_sample_logprobs(bed):
    sequence = sample(base(bed), options=params(6),
                      topk_sample_logprobs=2).sequences[0]
    assert len(sequence.topk_logprobs) == 6
    for row, token, lp in zip(sequence.topk_logprobs, sequence.tokens,
                              sequence.logprobs):
        assert len(row) == 2 and row[0] == (token, lp) and row[1][1] <= lp


@check()
def seeds(bed):
    sampler = base(bed)
    one, two = (sample(sampler, 3, options=params(16, 1.0, seed=4))
                for _ in range(2))
    other = sample(sampler, 3, options=params(16, 1.0, seed=5))
    assert tokens_of(one) == tokens_of(two) != tokens_of(other)
    assert len({tuple(t) for t in tokens_of(one)}) == 3
    unseeded = [sample(sampler, options=params(16, 1.0)) for _ in range(2)]
    assert tokens_of(unseeded[0]) != tokens_of(unseeded[1])
    alone = sample(sampler, 1, options=params(16, 1.0, seed=4))
    assert tokens_of(alone)[0] == tokens_of(one)[0]


@check()
def cut_off(bed):
    """top_k 1 is greedy; top_k and top_p keep to the most probable."""
    sampler = base(bed)
    greedy = tokens_of(sample(sampler))
    assert tokens_of(sample(sampler, options=params(
        temperature=1.0, top_k=1))) == greedy
    assert tokens_of(sample(sampler, options=params(
        temperature=1.0, top_p=1e-6))) == greedy
    assert tokens_of(sample(sampler, options=params(
        temperature=1e-4, seed=1))) == greedy
    top = sample(sampler, topk_prompt_logprobs=5, prompt=PROMPT + [0])
    allowed = {t for t, _ in top.topk_prompt_logprobs[-1]}
    drawn = sample(sampler, 40, options=params(1, 2.0, top_k=5, seed=1))
    assert {t[0] for t in tokens_of(drawn)} <= allowed
    assert len({t[0] for t in tokens_of(drawn)}) > 1


def expected(logprobs, temperature, top_k=None, top_p=1.0):
    """Probability of each token, by the definitions."""
    odds = sorted(((math.exp(lp / temperature), t) for t, lp in logprobs),
                  reverse=True)[:top_k]
    total = sum(o for o, _ in odds)
    kept, mass = [], 0.0
    for o, t in odds:
        if mass < top_p * total:
            kept.append((o, t))
        mass += o
    total = sum(o for o, _ in kept)
    return {t: o / total for o, t in kept}


@check()
def drawn_as_often_as_probable(bed):
    sampler = base(bed)
    top = sample(sampler, topk_prompt_logprobs=64, prompt=PROMPT + [0])
    row = top.topk_prompt_logprobs[-1]
    for options in ({"temperature": 1.0}, {"temperature": 0.5},
                    {"temperature": 2.0, "top_k": 7},
                    {"temperature": 1.0, "top_p": 0.6},
                    {"temperature": 1.5, "top_k": 20, "top_p": 0.8}):
        wanted = expected(row, **options)
        drawn = collections.Counter(t[0] for t in tokens_of(sample(
            sampler, 1024, options=params(1, seed=11, **options))))
        assert set(drawn) <= set(wanted), options
        for token, p in wanted.items():  # five standard deviations
            assert abs(drawn[token] - 1024 * p) <= 5 * math.sqrt(
                1024 * p * (1 - p)) + 1, (options, token, drawn[token], p)


@check()
def as_long_as_there_is_room(bed):
    """Without max_tokens, to the end of the context."""
    sampler = base(bed)
    one = sample(sampler, 3, options=params(None),
                 include_prompt_logprobs=True)
    assert [len(s.tokens) for s in one.sequences] == [128 - len(PROMPT)] * 3
    assert tokens_of(one)[0] == tokens_of(one)[2]  # greedy
    assert len(one.prompt_logprobs) == len(PROMPT)
    assert sampler.compute_logprobs(ints([5])).result() == [None]
    assert len(sampler.compute_logprobs(ints([5] * 127)).result()) == 127


@check()
def any_seed(bed):
    sampler = base(bed)
    rows = [tokens_of(sample(sampler, options=params(8, 1.0, seed=s)))
            for s in (0, 1, 2 ** 31, 2 ** 63 - 1, 2 ** 64 - 1)]
    assert len({tuple(r[0]) for r in rows}) == len(rows)


@check()
def stop_tokens(bed):
    sampler = trained(bed).save_weights_and_get_sampling_client()
    sequence = sample(sampler, options=params(
        stop=[TOKENS[10], 63])).sequences[0]
    assert sequence.tokens == TOKENS[8:11]
    assert sequence.stop_reason == "stop"
    assert len(sequence.logprobs) == 3
    last = sample(sampler, options=params(3, stop=[TOKENS[10]])).sequences[0]
    assert (last.tokens, last.stop_reason) == (TOKENS[8:11], "stop")


@check()
def many_stops(bed):
    """As many tokens as the vocabulary has, 1,024 strings; not one more."""
    sampler = bed.client.create_sampling_client(base_model=bed.text_model)
    tokenizer = sampler.get_tokenizer()
    vocabulary = len(tokenizer)
    every = list(range(vocabulary))[::-1]
    one = sample(sampler, options=params(stop=every)).sequences[0]
    assert (len(one.tokens), one.stop_reason) == (1, "stop")
    strings = [f"never {i}" for i in range(1024)]
    long = sample(sampler, options=params(stop=strings)).sequences[0]
    assert len(long.tokens) == 6
    refused(tinker.UnprocessableEntityError, "1025 texts are more than 1024",
            lambda: sample(sampler, options=params(stop=strings + ["x"])))
    refused(tinker.BadRequestError, "more than the vocabulary's", lambda:
            sample(sampler, options=params(stop=[1] * (vocabulary + 1))))


@check()
def end_of_sequence(bed):
    """Token 0 ends a sequence unless stop says otherwise."""
    trainer = bed.trainer(rank=8)
    ends = PROMPT + [0] + TOKENS[9:20]
    for _ in range(30):
        backward(trainer, datum(ends))
        trainer.optim_step(adam()).result()
    sampler = trainer.save_weights_and_get_sampling_client()
    default = sample(sampler, options=params(stop=None)).sequences[0]
    assert (default.tokens, default.stop_reason) == ([0], "stop")
    never = sample(sampler, options=params(stop=[])).sequences[0]
    assert (never.tokens, never.stop_reason) == (ends[8:14], "length")
    other = sample(sampler, options=params(stop=[ends[10]])).sequences[0]
    assert (other.tokens, other.stop_reason) == (ends[8:11], "stop")


@check()
def stop_strings(bed):
    sampler = bed.client.create_sampling_client(base_model=bed.text_model)
    tokenizer = sampler.get_tokenizer()
    assert sampler.get_base_model() == bed.text_model
    prompt = tokenizer.encode("And the LORD said unto")
    whole = sample(sampler, prompt=prompt, options=params(24)).sequences[0]
    text = tokenizer.decode(whole.tokens)
    at = len(text) // 2
    for stop in (text[at:at + 4], ["never seen", text[at:at + 6]]):
        cut = sample(sampler, prompt=prompt,
                     options=params(24, stop=stop)).sequences[0]
        needle = stop if isinstance(stop, str) else stop[1]
        assert cut.stop_reason == "stop"
        assert needle in tokenizer.decode(cut.tokens)
        assert needle not in tokenizer.decode(cut.tokens[:-1])
        assert list(cut.tokens) == list(whole.tokens)[:len(cut.tokens)]
    refused(tinker.BadRequestError, "strings need a tokenizer.json",
            lambda: sample(base(bed), options=params(stop=["a"])))
    refused(tinker.BadRequestError, "an empty text",
            lambda: sample(sampler, options=params(stop=[""])))


@check()
def tokenizer_of_a_trainer(bed):
    trainer = bed.client.create_lora_training_client(
        base_model=bed.text_model, rank=2, seed=1)
    tokenizer = trainer.get_tokenizer()
    text = "In the beginning God created the heaven and the earth."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    sampler = trainer.save_weights_and_get_sampling_client()
    assert sampler.get_base_model() == bed.text_model


@check()
def named_and_ephemeral_agree(bed):
    trainer = trained(bed, 4)
    path = trainer.save_weights_for_sampler("s").result().path
    assert path == f"tinker://{trainer.model_id}/sampler_weights/s"
    samplers = [trainer.save_weights_and_get_sampling_client(),
                bed.client.create_sampling_client(model_path=path),
                trainer.create_sampling_client(path)]
    rows = [sample(s, options=params(16, 1.0, seed=1)) for s in samplers]
    assert tokens_of(rows[0]) == tokens_of(rows[1]) == tokens_of(rows[2])
    assert (rows[0].sequences[0].logprobs == rows[1].sequences[0].logprobs)
    assert [s.get_base_model() for s in samplers] == ["m"] * 3


@check()
def an_older_checkpoint_disturbs_nothing(bed):
    """Neither the live weights nor a newer sampler; and training on does not
    move what was saved."""
    trainer, alone = bed.trainer(), bed.trainer()
    wanted = steps(alone, 6)
    losses = steps(trainer, 2)
    old = trainer.save_weights_and_get_sampling_client()
    before = old.compute_logprobs(ints(TOKENS)).result()
    losses += steps(trainer, 2)
    new = trainer.save_weights_and_get_sampling_client()
    between = new.compute_logprobs(ints(TOKENS)).result()
    backward(trainer)
    sample(old, 4, options=params(16, 1.0))
    losses.append(trainer.forward([datum()], "cross_entropy").result()
                  .metrics["loss:sum"])
    sample(old, 4, options=params(16, 1.0))
    trainer.optim_step(adam()).result()
    losses += steps(trainer, 1)
    assert losses == wanted
    assert old.compute_logprobs(ints(TOKENS)).result() == before
    assert new.compute_logprobs(ints(TOKENS)).result() == between != before


@check()
def many_at_once(bed):
    """The same as one by one, also next to training."""
    trainer = trained(bed, 2)
    sampler = trainer.save_weights_and_get_sampling_client()
    options = [params(12, 1.0, seed=i) for i in range(24)]
    futures = [sampler.sample(ints(PROMPT), 2, o) for o in options]
    steps(trainer, 3)
    together = [tokens_of(f.result()) for f in futures]
    assert together == [tokens_of(sample(sampler, 2, options=o))
                        for o in options]


@check()
def samplers_of_two_models(bed):
    one, two = bed.trainer(), bed.trainer()
    steps(one, 8)
    steps(two, 8, datum(OTHER))
    a, b = (t.save_weights_and_get_sampling_client() for t in (one, two))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        rows = list(pool.map(
            lambda s: s.compute_logprobs(ints(TOKENS)).result()[1:],
            [a, b] * 4))
    assert rows == [logprobs(one), logprobs(two)] * 4 and rows[0] != rows[1]


@check()
def copies_of_a_client(bed):
    """A pickled client samples in the same session, with numbers of its
    own."""
    sampler = trained(bed, 2).save_weights_and_get_sampling_client()
    options = params(12, 1.0, seed=3)
    wanted = tokens_of(sample(sampler, options=options))
    copy = pickle.loads(pickle.dumps(sampler))
    assert tokens_of(sample(copy, options=options)) == wanted
    assert tokens_of(sample(sampler, options=options)) == wanted


@check("0.32.0")
def sampler_handles(bed):
    sampler = trained(bed, 2).save_weights_and_get_sampling_client()
    options = params(12, 1.0, seed=3)
    copy = tinker.SamplingClient.from_sampler_handle(
        sampler.get_sampler_handle(), api_key="tml-local")
    assert tokens_of(sample(copy, options=options)) == tokens_of(
        sample(sampler, options=options))


@check("0.26.0")
def sequence_ids(bed):
    sampler = base(bed)
    ids = [s.sequence_id for _ in range(2)
           for s in sample(sampler, 3).sequences]
    assert len(set(ids)) == 6 and all(ids)


@check("0.38.0")
def inflight_clients(bed):
    """A snapshot keeps what an inflight client promises: these weights or
    newer."""
    trainer = trained(bed)
    sampler = trainer.save_weights_and_get_sampling_client(kind="inflight")
    assert tokens_of(sample(sampler)) == [TOKENS[8:14]]


@check()
def samples_refused(bed):
    sampler = base(bed)
    for words, how in (
            ("Prompt length plus max_tokens exceeds",
             {"options": params(121)}),
            ("Prompt length plus max_tokens exceeds",
             {"prompt": [1] * 128, "options": params(1)}),
            ("prompt: no tokens", {"prompt": []}),
            ("prompt: token 64 at position 1", {"prompt": [1, 64]}),
            ("num_samples", {"n": 0}),
            ("max_tokens", {"options": params(0)}),
            ("top_p", {"options": params(top_p=0.0)}),
            ("top_p", {"options": params(top_p=1.5)}),
            ("top_k", {"options": params(top_k=-5)}),
            ("num_samples", {"n": 5000}),
            ("stop", {"options": params(stop=[-1])}),
            ("temperature", {"options": params(temperature=-1.0)}),
            ("topk_prompt_logprobs", {"topk_prompt_logprobs": 65})):
        refused(tinker.BadRequestError, words, lambda: sample(sampler, **how))
    assert tokens_of(sample(sampler))


@check("0.30.0")
def target_prompt_logprobs(bed):
    """Dense and CSR, the bits of forward; 0 where nothing was asked."""
    trainer = trained(bed, 3)
    sampler = trainer.save_weights_and_get_sampling_client()
    truth, n = logprobs(trainer, TOKENS), len(TOKENS) - 1
    cells = [t for token in TOKENS[1:] for t in (-1, token)]
    dense = types.TensorData(data=cells, dtype="int64", shape=[n, 2])
    got = sample(sampler, prompt=TOKENS,
                 target_prompt_logprobs=dense).target_prompt_logprobs
    assert (got.dtype, list(got.shape)) == ("float32", [n, 2])
    assert list(got.data) == [x for lp in truth for x in (0.0, lp)]
    crow, col = [0] * (n - 1) + [1, 3], [4, 0, 9]
    sparse = types.TensorData(
        data=[TOKENS[-2], TOKENS[-1], -1], dtype="int64", shape=[n, 10],
        sparse_crow_indices=crow, sparse_col_indices=col)
    got = sample(sampler, prompt=TOKENS,
                 target_prompt_logprobs=sparse).target_prompt_logprobs
    assert list(got.data) == truth[-2:] + [0.0]
    assert (list(got.shape), list(got.sparse_crow_indices),
            list(got.sparse_col_indices)) == ([n, 10], crow, col)
    assert sample(sampler).target_prompt_logprobs is None
    for words, data, shape in (("must have 7 rows", [1] * 6, [6, 1]),
                               ("names no id", [-1] * 7, [7, 1]),
                               ("outside the vocabulary", [64] * 7, [7, 1])):
        wrong = types.TensorData(data=data, dtype="int64", shape=shape)
        refused(tinker.BadRequestError, words,
                lambda: sample(sampler, target_prompt_logprobs=wrong))


@check("0.31.0")
def prompt_alt_tokens(bed):
    sampler = base(bed)
    n = len(TOKENS) - 1
    top = [dict(r) for r in sample(
        sampler, prompt=TOKENS,
        topk_prompt_logprobs=64).topk_prompt_logprobs[1:]]
    hot = params(1, 3.0, seed=5)
    draws = [sample(sampler, prompt=TOKENS, options=hot,
                    prompt_alt_tokens_k=4).prompt_alt_tokens
             for _ in range(2)]
    assert list(draws[0].tokens.shape) == [n, 4]
    assert list(draws[0].tokens.data) == list(draws[1].tokens.data)
    assert len(set(draws[0].tokens.data)) > 20
    for i, (token, lp) in enumerate(zip(draws[0].tokens.data,
                                        draws[0].logprobs.data)):
        assert top[i // 4][token] == lp
    assert sample(sampler).prompt_alt_tokens is None


@check("0.33.0")
def prompt_logprobs_last_n(bed):
    sampler = base(bed)
    whole = sampler.compute_logprobs(ints(TOKENS)).result()
    for n in (1, 5, len(TOKENS) - 1):
        part = sampler.compute_logprobs(ints(TOKENS),
                                        prompt_logprobs_last_n=n).result()
        assert part == [None] * (len(TOKENS) - n) + whole[-n:]
    result = sample(sampler, prompt=TOKENS, include_prompt_logprobs=True,
                    topk_prompt_logprobs=3, prompt_logprobs_last_n=4)
    top = result.topk_prompt_logprobs
    assert top[:-4] == [None] * (len(TOKENS) - 4) and len(top[-4]) == 3
    refused(tinker.BadRequestError, "prompt_logprobs_last_n must be from 1",
            lambda: sampler.compute_logprobs(
                ints(TOKENS), prompt_logprobs_last_n=len(TOKENS)).result())


@check("0.38.0")
def stability_info_is_refused(bed):
    sampler = bed.client.create_sampling_client(base_model="m",
                                                record_stability_info=True)
    refused(tinker.BadRequestError, "record_stability_info is not supported",
            lambda: sample(sampler))


@check()
def sampling_clients_refused(bed):
    trainer = bed.trainer()
    name = unique("w")
    path = trainer.save_state(name).result().path
    make = bed.client.create_sampling_client
    for error, words, how in (
            (tinker.BadRequestError, "not a training path",
             {"model_path": path}),
            (tinker.NotFoundError, "not found",
             {"model_path": f"tinker://{trainer.model_id}"
                            "/sampler_weights/none"}),
            (tinker.BadRequestError, "",
             {"model_path": "tinker://nothing"}),
            (tinker.NotFoundError, "not served here", {"base_model": "x"})):
        refused(error, words, lambda: sample(make(**how)))
    refused(ValueError, "tinker://",
            lambda: sample(make(model_path="weights/x")))


@check()
def scores_of_prompts_that_share_a_beginning(bed):
    sampler = base(bed)
    whole = sampler.compute_logprobs(ints(TOKENS)).result()
    for n in (2, 9, 30):
        part = sampler.compute_logprobs(ints(TOKENS[:n])).result()
        close(part[1:], whole[1:n])
        assert part == whole[:n]
