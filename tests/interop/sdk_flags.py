"""Checks of what the operator of a service tells the SDK to do: each against a
service of its own, with the SDK's requests written down on their way out."""
import contextlib
import json
import os

import httpx
import tinker

from sdk_checks import adam, backward, check, datum, ints, TOKENS


@contextlib.contextmanager
def told(bed, client, *flags):
    """A client of a service that was started with these flags for clients,
    and the list of its exchanges: (path, request, reply)."""
    exchanges, url, send = [], [], httpx.AsyncClient.send

    async def note(self, request, **how):
        reply = await send(self, request, **how)
        if url and str(request.url).startswith(url[0] + "/"):
            await reply.aread()
            exchanges.append((request.url.path.rpartition("/")[2], request,
                              reply))
        return reply

    service = bed.start(flags)
    path = os.path.join(service.dir, "flags.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(client, f)
    service.flags += ["--client-config", path]
    httpx.AsyncClient.send = note
    try:
        url.append(service.start()["http"])
        yield tinker.ServiceClient(base_url=url[0],
                                   api_key="tml-local"), exchanges
    finally:
        httpx.AsyncClient.send = send
        service.stop()


def values(result):
    return ([list(o["logprobs"].data) for o in result.loss_fn_outputs],
            result.metrics["loss:sum"])


DATA = [datum(TOKENS[i:i + 20]) for i in range(5)]


@check()
def compressed_chunks(bed):
    """zstd bodies of two datums each give what one plain body gives."""
    want = bed.trainer()
    with told(bed, {"proto_compress_fwdbwd": True,
                    "fwdbwd_max_chunk_len": 2}) as (client, exchanges):
        trainer = client.create_lora_training_client(base_model="m", rank=4,
                                                     seed=3)
        for _ in range(2):
            assert values(backward(trainer, *DATA)) == values(
                backward(want, *DATA))
            trainer.optim_step(adam()).result()
            want.optim_step(adam()).result()
        passes = [r for name, r, _ in exchanges if name == "forward_backward"]
        assert len(passes) == 6
        for r in passes:
            assert r.headers["content-encoding"] == "zstd"
            assert r.content[:4] == b"\x28\xb5\x2f\xfd"


@check()
def announced_results(bed):
    """Results above the limit are announced, then fetched; one after another
    where the SDK may only hold one."""
    want = bed.trainer()
    with told(bed, {"inflight_response_bytes_semaphore_size": 1},
              "--inline-result", "400") as (client, exchanges):
        trainer = client.create_lora_training_client(base_model="m", rank=4,
                                                     seed=3)
        assert values(backward(trainer, *DATA)) == values(
            backward(want, *DATA))
        sampler = trainer.save_weights_and_get_sampling_client()
        futures = [sampler.compute_logprobs(ints(TOKENS * 2))
                   for _ in range(4)]
        scores = [f.result() for f in futures]
        assert scores[0][0] is None and scores == [scores[0]] * 4
        polls = [(json.loads(r.content), reply)
                 for name, r, reply in exchanges if name == "retrieve_future"]
        sizes = {}
        for body, reply in polls:
            if b"complete_metadata" in reply.content[:40]:
                assert body["allow_metadata_only"]
                sizes[body["request_id"]] = reply.json()[
                    "response_payload_size"]
        assert len(sizes) == 5, sizes
        for body, reply in polls:
            if not body["allow_metadata_only"]:
                assert len(reply.content) == sizes.pop(body["request_id"])
        assert not sizes
