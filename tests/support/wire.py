"""The protobuf messages of the protocol as plain Python, standard library
only: enough of a reader and writer for tests."""
import array
import struct


def fields(data):
    """[(number, wire type, value)]: an int, or bytes."""
    at, out = 0, []

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind)
            size = varint() if kind == 2 else size
            value = bytes(data[at:at + size])
            assert len(value) == size, "a message that is cut off"
            at += size
        out.append((tag >> 3, kind, value))
    return out


def put_varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def put(number, kind, value):
    head = put_varint(number << 3 | kind)
    if kind == 0:
        return head + put_varint(value)
    return head + (put_varint(len(value)) if kind == 2 else b"") + value


def one(message, number, default=b""):
    return next((v for n, _, v in reversed(message) if n == number), default)


def every(message, number):
    return [v for n, _, v in message if n == number]


def text(message, number):
    return one(message, number).decode()


def packed(code, data):
    values = array.array(code)
    values.frombytes(data)
    return values.tolist()


def entry(data):
    pair = fields(data)
    return text(pair, 1), one(pair, 2)


def varints(data):
    out, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            out.append(value)
            value = shift = 0
    return out


def zstd(data):
    """One frame of blocks as they are, with the size of its content."""
    head = struct.pack("<IBQ", 0xFD2FB528, 0xE0, len(data))
    blocks = b""
    step = 1 << 17
    for at in range(0, max(len(data), 1), step):
        part = data[at:at + step]
        last = at + step >= len(data)
        blocks += struct.pack("<I", len(part) << 3 | last)[:3] + part
    return head + blocks


# --- forward_backward -------------------------------------------------------

DTYPES = {1: ("f", 4), 2: ("q", 8), 3: ("i", 4), 4: ("H", 2)}


def values_of(dtype, data):
    values = packed(DTYPES[dtype][0], data)
    if dtype == 4:
        values = [struct.unpack("<f", struct.pack("<I", v << 16))[0]
                  for v in values]
    return values


def fb_request(body):
    """What matters of a ForwardBackwardRequest: loss, the length of each
    model input (None: with images or audio), names of its tensors."""
    message = fields(body)
    data = []
    for datum in every(message, 3):
        parts = fields(datum)
        chunks = [fields(c)[0] for c in every(parts, 1)]
        length = None
        if all(number == 1 for number, _, _ in chunks):
            length = sum(len(one(fields(c), 1)) // 4 for _, _, c in chunks)
        tensors = {}
        for pair in every(parts, 2):
            name, value = entry(pair)
            tensor = fields(value)
            tensors[name] = {
                "shape": varints(one(tensor, 4)), "dtype": one(tensor, 3, 0),
                "values": values_of(one(tensor, 3, 0), one(tensor, 1))
                if one(tensor, 1) else None}
        data.append({"length": length, "inputs": tensors})
    return {"model_id": text(message, 1), "seq_id": one(message, 2, 0),
            "loss_fn": text(message, 4), "data": data,
            "forward_only": bool(one(message, 6, 0))}


def fb_rewrite(body, model_id):
    return b"".join(put(n, k, model_id.encode() if n == 1 else v)
                    for n, k, v in fields(body))


def fb_output(body):
    """{"type", "data": [{field: values}], "shapes": [{field: trailing}],
    "metrics"}"""
    message = fields(body)
    data, shapes = [], []
    for record in map(fields, every(message, 2)):
        count = one(record, 3, 0)
        rows = [{} for _ in range(count)]
        trailing = {}
        for pair in every(record, 2):
            name, value = entry(pair)
            tensor = fields(value)
            dtype, raw = one(tensor, 3, 0), one(tensor, 1)
            size = DTYPES[dtype][1]
            values = values_of(dtype, raw)
            offsets = packed("q", one(tensor, 2))
            assert len(offsets) == count + 1 and offsets[-1] == len(raw)
            for i in range(count):
                rows[i][name] = values[offsets[i] // size:
                                       offsets[i + 1] // size]
            trailing[name] = varints(one(tensor, 4))
        data += rows
        shapes += [trailing] * count
    metrics = {}
    for pair in every(message, 3):
        name, value = entry(pair)
        metrics[name] = struct.unpack("<d", value)[0] if value else 0.0
    return {"type": text(message, 1), "data": data, "shapes": shapes,
            "metrics": metrics}


# --- samples ----------------------------------------------------------------

def topk(data):
    message = fields(data)
    k, length = one(message, 3, 0), one(message, 4, 0)
    tokens = packed("i", one(message, 1))
    logprobs = packed("f", one(message, 2))
    assert len(tokens) == len(logprobs) == k * length
    return [list(zip(tokens[i * k:(i + 1) * k], logprobs[i * k:(i + 1) * k]))
            for i in range(length)]


def sample_response(body):
    message = fields(body)
    sequences = []
    for s in map(fields, every(message, 1)):
        sequences.append({
            "stop": "length" if one(s, 1, 0) else "stop",
            "tokens": packed("i", one(s, 2)),
            "logprobs": packed("f", one(s, 3)),
            "topk": topk(one(s, 4)) if one(s, 4) else None})
    return {"sequences": sequences, "prompt": packed("f", one(message, 2))
            if one(message, 2) else None,
            "prompt_topk": topk(one(message, 3)) if one(message, 3) else None}
