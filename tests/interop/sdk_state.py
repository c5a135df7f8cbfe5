"""Checks of saving, loading, the lists of what there is, sessions and the
classes of errors."""
import asyncio
import datetime
import os

import tinker

from sdk_checks import (OTHER, TOKENS, adam, backward, check, datum, grad_norm, ints,
                        logprobs, refused, steps, unique)


def ago(moment):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now - moment).total_seconds()


@check()
def resume_with_the_optimizer(bed):
    """Three ways, each to the bit."""
    trainer = bed.trainer(rank=8)
    steps(trainer, 5)
    path = trainer.save_state("c5").result().path
    assert path == f"tinker://{trainer.model_id}/weights/c5", path
    on = steps(trainer, 5)
    resumed = bed.resumed(path)
    assert resumed.model_id != trainer.model_id
    assert steps(resumed, 5) == on
    loaded = bed.trainer(rank=8, seed=77)
    assert loaded.load_state_with_optimizer(path).result().path
    assert steps(loaded, 5) == on
    assert logprobs(resumed) == logprobs(loaded) == logprobs(trainer)


@check()
def resume_without_the_optimizer(bed):
    trainer = bed.trainer()
    steps(trainer, 5)
    path = trainer.save_state("w").result().path
    on = steps(trainer, 4)
    fresh = bed.client.create_training_client_from_state(path)
    loaded = bed.trainer(seed=77)
    loaded.load_state(path).result()
    one, two = steps(fresh, 4), steps(loaded, 4)
    assert one == two and one[0] == on[0] and one != on


@check()
def resume_again_and_again(bed):
    """A chain of saves and resumes is the run without them."""
    trainer, alone = bed.trainer(), bed.trainer()
    wanted = steps(alone, 8)
    losses = []
    for i in range(4):
        losses += steps(trainer, 2)
        trainer = bed.resumed(trainer.save_state(f"s{i}").result().path)
    assert losses == wanted
    assert logprobs(trainer) == logprobs(alone)


@check()
def killed_and_started_again(bed):
    """Clients that wait for results get those of an undisturbed run."""
    wanted = steps(bed.trainer(), 7)
    service = bed.start([])
    url = service.start()["http"]
    service.flags[service.flags.index("127.0.0.1:0")] = url[len("http://"):]
    trainer = tinker.ServiceClient(
        base_url=url, api_key="tml-local").create_lora_training_client(
            base_model="m", rank=4, seed=3)
    losses = steps(trainer, 2)
    sampler = trainer.save_weights_and_get_sampling_client()
    scores = sampler.compute_logprobs(ints(OTHER)).result()
    passes = []
    for _ in range(5):
        passes.append(trainer.forward_backward([datum()], "cross_entropy"))
        last = trainer.optim_step(adam())
    again = sampler.compute_logprobs(ints(OTHER))
    service.kill()
    service.start()
    losses += [p.result().metrics["loss:sum"] for p in passes]
    last.result()
    assert losses == wanted
    assert again.result() == scores
    assert service.stop() == 0


@check()
def another_name_of_the_same_weights(bed):
    """A checkpoint fits every model with its base's weights, by whatever name
    it is served, also after a restart; and no other."""
    service = bed.start([])
    other = os.path.join(os.path.dirname(service.model), "llama_tied")
    service.flags += ["--model", f"m:short={service.model}",
                      "--model", f"other={other}"]
    url = service.start()["http"]
    service.flags[service.flags.index("127.0.0.1:0")] = url[len("http://"):]
    client = tinker.ServiceClient(base_url=url, api_key="tml-local")
    trainer = client.create_lora_training_client(base_model="m", rank=4, seed=3)
    steps(trainer, 2)
    path = trainer.save_state("c").result().path
    weights = trainer.save_weights_for_sampler("w").result().path
    scores = logprobs(trainer)
    on = steps(trainer, 2)
    new = client.create_training_client_from_state(path, base_model="m:short")
    assert new.get_info().model_data.model_name == "m:short"
    assert logprobs(new) == scores
    new = client.create_training_client_from_state_with_optimizer(
        path, base_model="m:short")
    assert steps(new, 2) == on
    loaded = client.create_lora_training_client(base_model="m:short", rank=4)
    loaded.load_state_with_optimizer(path).result()
    assert steps(loaded, 2) == on
    sampler = client.create_sampling_client(model_path=weights,
                                            base_model="m:short")
    assert sampler.get_base_model() == "m:short"
    assert sampler.compute_logprobs(ints(TOKENS)).result()[1:] == scores
    service.kill()
    service.start()
    assert steps(new, 1) == steps(loaded, 1) == steps(trainer, 1)
    assert sampler.compute_logprobs(ints(TOKENS)).result()[1:] == scores
    for name in ("other", "nowhere"):
        refused(tinker.BadRequestError, f"base_model '{name}' differs", lambda:
                client.create_training_client_from_state(
                    path, base_model=name).get_info())
    refused(tinker.BadRequestError, "base_model 'other' differs", lambda:
            client.create_sampling_client(
                model_path=weights, base_model="other").get_base_model())
    wrong = client.create_lora_training_client(base_model="other", rank=4)
    refused(tinker.RequestFailedError, "of base model m, this model of other",
            lambda: wrong.load_state(path).result())
    assert service.stop() == 0


@check()
def gradients_are_not_saved(bed):
    trainer = bed.trainer()
    steps(trainer, 2)
    backward(trainer)
    path = trainer.save_state("pending").result().path
    resumed = bed.resumed(path)
    assert grad_norm(resumed) == 0
    assert grad_norm(trainer) > 0, "saving does not use them up"


@check()
def saved_state_does_not_move(bed):
    trainer = bed.trainer()
    steps(trainer, 2)
    path = trainer.save_state("still").result().path
    then = logprobs(trainer)
    steps(trainer, 3)
    assert logprobs(bed.resumed(path)) == then != logprobs(trainer)


@check()
def a_name_is_taken_once(bed):
    trainer = bed.trainer()
    for save in (trainer.save_state, trainer.save_weights_for_sampler):
        save("twice").result()
        e = refused(tinker.RequestFailedError, "ResourceAlreadyExists",
                    lambda: save("twice").result())
        assert str(getattr(e.category, "value", e.category)) == "user"
    bed.trainer().save_state("twice").result()  # names belong to a run


@check()
def overwrite(bed):
    trainer = bed.trainer()
    steps(trainer, 1)
    first = trainer.save_state("o").result().path
    then = logprobs(bed.resumed(first))
    steps(trainer, 2)
    assert trainer.save_state("o", overwrite=True).result().path == first
    assert logprobs(bed.resumed(first)) == logprobs(trainer) != then
    listed = bed.rest.list_checkpoints(trainer.model_id).result().checkpoints
    assert [c.checkpoint_id for c in listed] == ["weights/o"]


@check()
def time_to_live(bed):
    trainer = bed.trainer()
    trainer.save_state("t", ttl_seconds=7200).result()
    trainer.save_weights_for_sampler("t", ttl_seconds=3600).result()
    trainer.save_state("never").result()
    listed = bed.rest.list_checkpoints(trainer.model_id).result().checkpoints
    left = {c.checkpoint_id: c.expires_at and -ago(c.expires_at)
            for c in listed}
    assert 7000 < left["weights/t"] <= 7201, left
    assert 3400 < left["sampler_weights/t"] <= 3601, left
    assert left["weights/never"] is None
    for ttl in (0, 3599, 10 ** 10):
        refused(tinker.BadRequestError, "ttl_seconds", lambda:
                trainer.save_state("bad", ttl_seconds=ttl).result())


@check("0.27.1")
def checkpoint_metadata(bed):
    trainer = bed.trainer()
    trainer.save_state("a", user_metadata={"step": "3"}).result()
    trainer.save_weights_for_sampler("b", user_metadata={"x": "é"}).result()
    trainer.save_state("c").result()
    listed = bed.rest.list_checkpoints(trainer.model_id).result().checkpoints
    assert {c.checkpoint_id: c.user_metadata for c in listed} == {
        "weights/a": {"step": "3"}, "sampler_weights/b": {"x": "é"},
        "weights/c": None}


@check()
def names_refused(bed):
    trainer = bed.trainer()
    for name in ("", "a/b", "../x", "a b", "x" * 300):
        refused(tinker.BadRequestError, "checkpoint name",
                lambda: trainer.save_state(name).result())
        refused((tinker.BadRequestError, ValueError), "",
                lambda: trainer.save_weights_for_sampler(name).result())
    trainer.save_state("step_0001-final.v2").result()


@check()
def loads_refused(bed):
    trainer = bed.trainer(rank=4)
    path = trainer.save_state("l").result().path
    sampler = trainer.save_weights_for_sampler("l").result().path
    none = f"tinker://{trainer.model_id}/weights/none"
    other = bed.trainer(rank=8)
    e = refused(tinker.RequestFailedError,
                "the checkpoint has rank 4, this model 8",
                lambda: other.load_state(path).result())
    part = bed.trainer(rank=4, train_mlp=False)
    refused(tinker.RequestFailedError, "other train_* flags",
            lambda: part.load_state(path).result())
    assert str(getattr(e.category, "value", e.category)) == "user"
    late = bed.trainer(rank=4)
    logprobs(late)
    refused(tinker.BadRequestError, "LoadWeights is not permitted",
            lambda: late.load_state(path).result())
    make = bed.client.create_training_client_from_state
    refused(tinker.NotFoundError, "none", lambda: make(none).result())
    refused(tinker.BadRequestError, "not a training",
            lambda: make(sampler).result())
    refused(tinker.BadRequestError, "differs",
            lambda: make(path, base_model=bed.text_model).result())


@check()
def resume_with_arguments(bed):
    trainer = bed.trainer(rank=2, train_mlp=False)
    path = trainer.save_state("args").result().path
    resumed = bed.resumed(path, base_model="m", user_metadata={"a": "b"})
    info = resumed.get_info()
    assert (info.lora_rank, info.model_data.model_name) == (2, "m")
    run = bed.rest.get_training_run(resumed.model_id).result()
    assert (run.user_metadata, run.lora_rank) == ({"a": "b"}, 2)
    assert steps(resumed, 3) == steps(trainer, 3)


@check()
def asynchronous_state(bed):
    trainer = bed.trainer()
    logprobs(trainer)

    async def run():
        saved = await trainer.save_state_async("as")
        path = (await saved).path
        resumed = await (
            bed.client.create_training_client_from_state_with_optimizer_async(
                path))
        sampler = await resumed.save_weights_and_get_sampling_client_async()
        scores = await sampler.compute_logprobs_async(ints(OTHER))
        return scores[1:]
    assert asyncio.run(run()) == bed.base_logprobs(OTHER)


# --- What there is ----------------------------------------------------------

@check()
def training_runs(bed):
    trainer = bed.trainer(rank=16, user_metadata={"who": "test"})
    run = bed.rest.get_training_run(trainer.model_id).result()
    assert run.training_run_id == trainer.model_id
    assert (run.base_model, run.is_lora, run.lora_rank) == ("m", True, 16)
    assert run.corrupted is False and run.model_owner
    assert run.user_metadata == {"who": "test"}
    assert abs(ago(run.last_request_time)) < 60
    assert run.last_checkpoint is None
    path = trainer.save_state("r").result().path
    trainer.save_weights_for_sampler("s").result()
    run = bed.rest.get_training_run_by_tinker_path(path).result()
    assert run.last_checkpoint.checkpoint_id == "weights/r"
    assert run.last_sampler_checkpoint.checkpoint_id == "sampler_weights/s"
    refused(tinker.NotFoundError, "not found",
            lambda: bed.rest.get_training_run("none").result())


@check()
def pages_of_runs(bed):
    trainers = [bed.trainer(rank=1).model_id for _ in range(3)]
    first = bed.rest.list_training_runs(limit=2).result()
    second = bed.rest.list_training_runs(limit=2, offset=2).result()
    newest = [r.training_run_id for r in (first.training_runs +
                                          second.training_runs)][:3]
    assert newest == trainers[::-1]
    assert (first.cursor.offset, first.cursor.limit) == (0, 2)
    assert first.cursor.total_count == second.cursor.total_count >= 3
    end = bed.rest.list_training_runs(
        offset=first.cursor.total_count).result()
    assert end.training_runs == []
    project = unique("p")
    client = bed.connect(project_id=project)
    mine = client.create_lora_training_client(base_model="m", rank=1).model_id
    of = bed.rest.list_training_runs(project_id=project).result()
    assert [r.training_run_id for r in of.training_runs] == [mine]
    assert of.cursor.total_count == 1
    none = bed.rest.list_training_runs(project_id="none").result()
    assert none.training_runs == []


@check()
def checkpoints(bed):
    trainer = bed.trainer()
    path = trainer.save_state("k").result().path
    trainer.save_weights_for_sampler("k").result()
    trainer.save_weights_and_get_sampling_client()  # has no name: not listed
    listed = bed.rest.list_checkpoints(trainer.model_id).result().checkpoints
    assert {c.checkpoint_id: c.checkpoint_type for c in listed} == {
        "weights/k": "training", "sampler_weights/k": "sampler"}
    for c in listed:
        assert c.tinker_path == f"tinker://{trainer.model_id}/" \
                                f"{c.checkpoint_id}"
        assert c.size_bytes > 0 and c.public is False
        assert abs(ago(c.time)) < 60
    mine = bed.rest.list_user_checkpoints(limit=2).result()
    assert [c.checkpoint_id for c in mine.checkpoints] == [
        "sampler_weights/k", "weights/k"]
    assert mine.cursor.total_count >= 2
    info = bed.rest.get_weights_info_by_tinker_path(path).result()
    assert (info.base_model, info.is_lora, info.lora_rank) == ("m", True, 4)
    assert info.train_mlp and info.train_attn and info.train_unembed
    part = bed.trainer(rank=2, train_mlp=False, train_unembed=False)
    info = bed.rest.get_weights_info_by_tinker_path(
        part.save_state("part").result().path).result()
    assert (info.train_mlp, info.train_attn, info.train_unembed) == (
        False, True, False)
    refused(tinker.NotFoundError, "not found",
            lambda: bed.rest.list_checkpoints("none").result())
    refused(tinker.NotFoundError, "none", lambda:
            bed.rest.get_weights_info_by_tinker_path(
                f"tinker://{trainer.model_id}/weights/none").result())


@check()
def changed_checkpoints(bed):
    trainer, rest = bed.trainer(), bed.rest
    steps(trainer, 2)
    path = trainer.save_state("c").result().path
    sampled = trainer.save_weights_for_sampler("c").result().path
    sampler = bed.client.create_sampling_client(model_path=sampled)
    sampler.compute_logprobs(ints(OTHER)).result()
    resumed = bed.resumed(path)

    def listed():
        found = rest.list_checkpoints(trainer.model_id).result().checkpoints
        return {c.tinker_path: c for c in found}
    rest.publish_checkpoint_from_tinker_path(path).result()
    assert [listed()[p].public for p in (path, sampled)] == [True, False]
    rest.unpublish_checkpoint_from_tinker_path(path).result()
    assert not listed()[path].public
    rest.set_checkpoint_ttl_from_tinker_path(path, 7200).result()
    assert 7000 < -ago(listed()[path].expires_at) <= 7201
    rest.set_checkpoint_ttl_from_tinker_path(path, None).result()
    assert listed()[path].expires_at is None
    refused(tinker.BadRequestError, "ttl_seconds", lambda:
            rest.set_checkpoint_ttl_from_tinker_path(path, 60).result())
    rest.delete_checkpoint_from_tinker_path(path).result()
    rest.delete_checkpoint(trainer.model_id, "sampler_weights/c").result()
    assert listed() == {}
    refused(tinker.NotFoundError, "not found", lambda:
            rest.delete_checkpoint_from_tinker_path(path).result())
    refused(tinker.NotFoundError, "not found", lambda:
            bed.client.create_training_client_from_state(path).result())
    refused(tinker.RequestFailedError, f"{sampled} was deleted",
            lambda: sampler.compute_logprobs(ints(OTHER)).result())
    # Nothing else was made of them.
    assert steps(resumed, 3) == steps(trainer, 3)
    assert trainer.save_state("c").result().path == path


@check("0.28.0")
def exports_are_refused(bed):
    """With a number of the model's, which goes on."""
    trainer = bed.trainer()
    refused(tinker.NotFoundError, "save_weights_external is not offered",
            lambda: trainer.save_weights_external("x").result())
    steps(trainer, 1)


@check()
def capabilities(bed):
    models = bed.client.get_server_capabilities().supported_models
    named = {m.model_name: m for m in models}
    assert set(named) == {"m", bed.text_model}
    assert named["m"].max_context_length == 128


@check()
def samplers(bed):
    trainer = bed.trainer()
    path = trainer.save_weights_for_sampler("x").result().path
    for how, wanted in (({"model_path": path}, path),
                        ({"base_model": "m"}, None)):
        sampler = bed.client.create_sampling_client(**how)
        if hasattr(sampler, "result"):
            sampler = sampler.result()  # since 0.38 a future of the client
        found = bed.rest.get_sampler(sampler._sampling_session_id).result()
        assert found.sampler_id == sampler._sampling_session_id
        assert (found.base_model, found.model_path) == ("m", wanted)
    refused(tinker.NotFoundError, "not found",
            lambda: bed.rest.get_sampler("none").result())


@check()
def sessions(bed):
    client = bed.connect(user_metadata={"recipe": "x"})
    trainer = client.create_lora_training_client(base_model="m", rank=2)
    name = trainer.model_id.split(":")[0]
    sampler = client.create_sampling_client(base_model="m")
    sampler.compute_logprobs(ints(OTHER)).result()
    found = bed.rest.get_session(name).result()
    assert found.training_run_ids == [trainer.model_id]
    assert len(found.sampler_ids) == 1
    assert found.sampler_ids[0].startswith(name)
    assert getattr(found, "user_metadata", None) in (None, {"recipe": "x"})
    newest = bed.rest.list_sessions(limit=2).result().sessions
    assert len(newest) == 2 and newest[0] == name
    older = bed.rest.list_sessions(limit=1, offset=1).result().sessions
    assert older == newest[1:]
    refused(tinker.NotFoundError, "not found",
            lambda: bed.rest.get_session("none").result())


@check("0.34.0")
def what_a_session_tells(bed):
    with bed.connect(user_metadata={"recipe": "x", "steps": 3},
                     display_name="A näme") as client:
        trainer = client.create_lora_training_client(base_model="m", rank=2)
        name = trainer.model_id.split(":")[0]
    found = bed.rest.get_session(name).result()
    assert found.user_metadata == {"recipe": "x", "steps": "3"}
    assert found.display_name == "A näme"


# --- Sessions and errors ----------------------------------------------------

@check("0.29.1")
def a_closed_session(bed):
    with bed.connect(user_metadata={"a": "b"}) as client:
        trainer = client.create_lora_training_client(base_model="m", rank=2)
        steps(trainer, 1)
        path = trainer.save_state("end").result().path
    refused(Exception, "", lambda: backward(trainer))
    # What it saved stays.
    assert logprobs(bed.resumed(path)) != bed.base_logprobs()


@check("0.27.2")
def closing_with_a_status(bed):
    for status in ("success", "errored", "interrupted"):
        client = bed.connect()
        trainer = client.create_lora_training_client(base_model="m", rank=2)
        steps(trainer, 1)
        client.close(status, "why").result()
        refused(Exception, "", lambda: backward(trainer))


@check()
def sessions_apart(bed):
    """A second client reads and resumes what the first has saved."""
    other = bed.connect()
    trainer = bed.trainer()
    steps(trainer, 2)
    path = trainer.save_state("shared").result().path
    theirs = other.create_training_client_from_state_with_optimizer(path)
    assert theirs.model_id.split(":")[0] != trainer.model_id.split(":")[0]
    assert steps(theirs, 2) == steps(trainer, 2)


@check()
def error_classes(bed):
    trainer = bed.trainer()
    e = refused(tinker.BadRequestError, "loss_fn_config.beta",
                lambda: backward(trainer, beta=0.1))
    assert isinstance(e, tinker.APIStatusError) and e.status_code == 400
    assert isinstance(e, tinker.APIError)
    assert isinstance(e.body, dict) and "beta" in e.body["detail"]
    e = refused(tinker.NotFoundError, "",
                lambda: bed.rest.get_training_run("none").result())
    assert e.status_code == 404
    e = refused(tinker.UnprocessableEntityError, "limit",
                lambda: bed.rest.list_training_runs(limit=0).result())
    assert e.status_code == 422


@check()
def another_key(bed):
    refused(tinker.AuthenticationError, "X-API-Key", lambda: logprobs(
        tinker.ServiceClient(
            base_url=bed.url, api_key="tml-other").create_lora_training_client(
                base_model="m", rank=2)))


@check()
def a_step_without_gradients(bed):
    """Moves nothing in a model that has no moments yet."""
    trainer = bed.trainer()
    trainer.optim_step(adam()).result()
    assert logprobs(trainer) == bed.base_logprobs()
    backward(trainer, datum(OTHER))
    trainer.optim_step(adam()).result()
    assert logprobs(trainer) != bed.base_logprobs()
