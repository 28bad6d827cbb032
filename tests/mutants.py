"""Checkpoints damaged at random: in what they hold, or in their bytes."""

import copy
import io
import random
import warnings
import zipfile

import torch

HUGE = 10**30
VALUES = (
    None,
    "",
    "abc",
    "4",
    [],
    [1, "a"],
    (),
    {},
    {"a": {"b": [None]}},
    {1: 2},
    True,
    False,
    0,
    1,
    -1,
    3,
    10**9,
    HUGE,
    -HUGE,
    0.5,
    float("nan"),
    float("inf"),
    1e308,
    b"bytes",
    1j,
    {1, 2},
    torch.float16,
    torch.Size([2, 3]),
    torch.device("cpu"),
)
KEYS = (
    0,
    -7,
    HUGE,
    (),
    ("a", 1),
    b"model.tok.weight",
    None,
    True,
    1.5,
    "",
    ".",
    "model.",
    "enc.layers.",
    "enc.layers.x.y",
    "enc.layers.99999999999.self_attn.in_proj_weight",
    "state_dict",
    "arithprobe",
    "hyper_parameters",
)
BEGINNINGS = {
    "GIF": b"GIF89a",
    "a longer GIF": b"GIF89a" + bytes(40),
    "PK": b"PK",
    "zip": b"PK\x03\x04",
    "the end of a zip": b"PK\x05\x06" + bytes(18),
    "7z": b"7z\xbc\xaf\x27\x1c",
    "gzip": b"\x1f\x8b\x08\x00",
    "pickle 2": b"\x80\x02",
    "pickle 4": b"\x80\x04\x95",
    "an empty pickle": b"\x80\x02.",
    "a pickled None": b"\x80\x02N.",
    "pickle 9": b"\x80\x09N.",
    "a pickled number": b"I1\n.",
    "ELF": b"\x7fELF\x02\x01\x01",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "PDF": b"%PDF-1.7\n",
    "tar": b"a.pt" + bytes(96) + b"0000644\0",
    "rows": b"1 + 2 = ?\t3\n",
    "JSON": b'{"a": 1}',
    "nothing": b"",
    "a zero": b"\0",
    "zeros": bytes(512),
    "a new line": b"\n",
    "UTF-16": b"\xff\xfea\0b\0",
    "HTML": b"<!DOCTYPE html>",
    "LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "safetensors": (8).to_bytes(8, "little") + b'{"a":{}}',
    "HDF5": b"\x89HDF\r\n\x1a\n",
    "rar": b"Rar!\x1a\x07",
    "the older format": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
}


def odd_tensors(tensor):
    """Tensors that are not what this one is, by what is odd in them."""
    whole = tensor.reshape(-1) if tensor.numel() else torch.zeros(1)
    real = whole.detach().float()
    yield "float64", lambda: tensor.double()
    yield "float16", lambda: tensor.half()
    yield "bfloat16", lambda: tensor.bfloat16()
    yield "int64", lambda: tensor.long()
    yield "bool", lambda: tensor.bool()
    yield "complex", lambda: tensor.to(torch.complex64)
    yield "float8", lambda: tensor.float().to(torch.float8_e4m3fn)
    yield "meta", lambda: torch.empty(tensor.shape, device="meta")
    yield "meta, huge", lambda: torch.empty((2**40, 2**10), device="meta")
    yield "sparse", lambda: tensor.float().to_sparse()
    yield "CSR", lambda: real.reshape(1, -1).to_sparse_csr()
    yield "quantised", lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)
    yield (
        "by channel",
        lambda: torch.quantize_per_channel(
            real[:, None], torch.ones(len(real)), torch.zeros(len(real)), 0, torch.quint8
        ),
    )
    yield "requires grad", lambda: tensor.detach().float().requires_grad_()
    yield "parameter", lambda: torch.nn.Parameter(tensor.detach().float())
    yield "expanded", lambda: real[:1].expand(tensor.shape)
    yield "expanded, huge", lambda: torch.zeros(1).expand(2**40, 16)
    yield "expanded, long", lambda: torch.zeros(1, 16).expand(2**31, 16)
    yield "empty", lambda: torch.zeros(0)
    yield "scalar", lambda: torch.tensor(1.0)
    yield "flat", lambda: real
    yield "transposed", lambda: tensor.mT if tensor.ndim > 1 else real[None]
    yield "one more", lambda: torch.zeros(*(size + 1 for size in tensor.shape))
    yield "one more dimension", lambda: tensor[None]
    yield "NaN", lambda: torch.full_like(tensor.float(), torch.nan)
    yield "inf", lambda: torch.full_like(tensor.float(), torch.inf)
    yield "huge", lambda: torch.full_like(tensor.float(), 3e38)
    yield "nested", lambda: torch.nested.nested_tensor([real, real[:1]])


def mutants(contents, count, seed):
    """Names and bytes of damaged checkpoints, three in four of them damaged in what they hold.

    Args:
        contents: What whole checkpoints hold, by name.
        count: How many.
        seed: Of the damage.
    """
    draw = random.Random(seed)
    whole = {name: saved(content) for name, content in contents.items()}
    for number in range(count):
        name = draw.choice(list(contents))
        if number % 4 < 3:
            content = copy.deepcopy(contents[name])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that such tensors are new, or old
                what = [changed(content, draw) for _ in range(draw.choice((1, 1, 1, 2, 4)))]
            try:
                yield f"{number}: {name}: {'; '.join(what)}", saved(content)
            except (RuntimeError, NotImplementedError, TypeError):  # PyTorch does not write such a one
                yield f"{number}: {name}: as it is", whole[name]
        else:
            what, data = damaged(whole[name], draw)
            yield f"{number}: {name}: {what}", data


def changed(content, draw):
    """Change one thing somewhere inside, and say what."""
    holder, path = content, []
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = draw.choice(keys) if keys else None
        inside = holder[key] if keys else None
        if not isinstance(inside, (dict, list)) or not inside or draw.random() < 0.2:
            break
        holder, path = inside, [*path, key]
    where = "/".join(map(str, [*path, key]))
    how = draw.choice(("value", "value", "value", "tensor", "tensor", "key", "drop", "add"))
    if how == "tensor" and isinstance(inside, torch.Tensor) and _is_plain(inside):
        what, make = draw.choice(list(odd_tensors(inside)))
        try:
            holder[key] = make()
        except (RuntimeError, NotImplementedError, TypeError):
            holder[key] = None
        return f"{where} {what}"
    if how in ("value", "tensor") and keys:
        holder[key] = draw.choice(VALUES)
        return f"{where} = {holder[key]!r}"
    if how == "drop" and keys:
        del holder[key]
        return f"without {where}"
    if isinstance(holder, list):
        holder.append(draw.choice(VALUES))
        return f"{where} and {holder[-1]!r}"
    new = draw.choice(KEYS)
    holder[new] = holder.pop(key) if how == "key" and keys else draw.choice(VALUES)
    return f"{where} as {new!r}" if how == "key" else f"{'/'.join(map(str, path))} with {new!r}: {holder[new]!r}"


def _is_plain(tensor):
    """Whether nothing was changed in it before."""
    return (
        tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and not (tensor.is_quantized or tensor.is_nested)
        and tensor.numel() < 10**6
    )


def damaged(data, draw):
    """Damage bytes, and say how."""
    how = draw.choice(("cut", "flip", "flip", "prefix", "alone", "zip", "repeat", "legacy", "hole"))
    at = draw.randrange(len(data))
    prefix = draw.choice(list(BEGINNINGS))
    if how == "cut":
        return f"cut at {at}", data[:at]
    if how == "flip":
        bytes_ = bytearray(data)
        for _ in range(draw.choice((1, 4, 64))):
            bytes_[draw.choice((draw.randrange(len(data)), draw.randrange(2000), -draw.randrange(1, 2000)))] = (
                draw.randrange(256)
            )
        return "bytes changed", bytes(bytes_)
    if how == "prefix":
        return f"begins as {prefix}", BEGINNINGS[prefix] + data[len(BEGINNINGS[prefix]) :]
    if how == "alone":
        return f"is {prefix}", BEGINNINGS[prefix] + bytes(
            draw.randrange(256) for _ in range(draw.choice((0, 0, 3, 40)))
        )
    if how == "repeat":
        return "twice", data + data
    if how == "hole":
        return f"zeros from {at}", data[:at] + bytes(len(data) - at)
    if how == "legacy":
        return "in the older format, damaged", older(data, draw)
    return "parts of the archive lost or changed", rezipped(data, draw)


def older(data, draw):
    """The checkpoint in the format without an archive, with some bytes changed."""
    stream = io.BytesIO()
    torch.save(torch.load(io.BytesIO(data), weights_only=True), stream, _use_new_zipfile_serialization=False)
    bytes_ = bytearray(stream.getvalue())
    for _ in range(draw.choice((0, 1, 8))):
        bytes_[draw.randrange(min(len(bytes_), 4000))] = draw.randrange(256)
    return bytes(bytes_)


def rezipped(data, draw):
    """The archive with one entry lost, emptied, renamed, changed or twice there."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen, how = draw.choice(old.namelist()), draw.randrange(6)
        for name in old.namelist():
            content = bytearray(old.read(name))
            if name != chosen:
                new.writestr(name, content)
            elif how == 1:
                new.writestr(name, b"")
            elif how == 2:
                new.writestr(name + "x", content)
            elif how == 3 and content:
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
                new.writestr(name, content)
            elif how == 4:
                new.writestr(name, content, zipfile.ZIP_DEFLATED)
            elif how == 5:
                new.writestr(name, content)
                new.writestr(name, content[: len(content) // 2])
    return stream.getvalue()


def saved(content):
    """The bytes of a checkpoint."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, stream)
    return stream.getvalue()
