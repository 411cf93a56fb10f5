"""Wrong safetensors files out of right ones."""

import json
import struct

import numpy as np
import safetensors.torch
import torch
from wrong.text import FIELDS, json_text


def tensors(draw, content):
    """A wrong safetensors file out of a right one."""
    length = struct.unpack("<Q", content[:8])[0]
    header, body = content[8 : 8 + length], content[8 + length :]
    chosen = draw.random()
    if chosen < 0.35:
        header, what = json_text(draw, header)
        return _sealed(header, body), f"header: {what}"
    if chosen < 0.45:
        return _framed(draw, header, body)
    facts = json.loads(header)
    facts.pop("__metadata__", None)
    names = sorted(facts)
    if not names:
        return _framed(draw, header, body)
    name, other = draw.choice(names), draw.choice(names)
    fact = facts[name]
    if chosen < 0.55:
        loaded = safetensors.torch.load(content)
        kind = draw.choice(
            (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int8, torch.bool,
             torch.uint8, torch.complex64, torch.float8_e4m3fn, torch.uint16)
        )  # fmt: skip
        loaded[name] = loaded[name].to(kind)
        return safetensors.torch.save(loaded), f"{name} as {kind}"
    if chosen < 0.65:
        loaded = safetensors.torch.load(content)
        tensor = loaded[name]
        turned = tensor.mT if tensor.ndim > 1 else tensor
        loaded[name] = draw.choice(
            (tensor.flatten(), tensor[None], tensor.flatten()[:0], tensor.flatten()[:1], turned,
             tensor.sum(), torch.zeros(0, 7), torch.zeros(3), torch.zeros(tensor.numel() * 2))
        ).contiguous()  # fmt: skip
        return safetensors.torch.save(loaded), f"{name} of shape {tuple(loaded[name].shape)}"
    if chosen < 0.72:
        facts[name], facts[other] = facts[other], facts[name]
        return _sealed(json.dumps(facts).encode(), body), f"{name} and {other} exchanged"
    if chosen < 0.78:
        loaded = safetensors.torch.load(content)
        moved = loaded.pop(name)
        if draw.random() < 0.5:
            loaded[draw.choice([f for f in FIELDS if f.isascii()]) or "x"] = moved
        return safetensors.torch.save(loaded), f"{name} gone or renamed"
    begin, end = fact["data_offsets"]
    width = max(1, (end - begin) // max(1, int(np.prod(fact["shape"]))))
    pattern = draw.choice(
        (b"\0", b"\xff", b"\x7f", struct.pack("<f", float("nan")), struct.pack("<f", 3e38),
         struct.pack("<f", float("-inf")), struct.pack("<f", -1e30), struct.pack("<q", -1),
         struct.pack("<q", 2**62), draw.randbytes(width))
    )  # fmt: skip
    filled = bytearray(body)
    if draw.random() < 0.5 and end > begin:
        begin += width * draw.randrange((end - begin) // width)
        end = begin + width
    filled[begin:end] = (pattern * (end - begin))[: end - begin]
    return _sealed(header, bytes(filled)), f"{name}: values {pattern!r}"


def _framed(draw, header, body):
    length = draw.choice((0, 1, len(header) - 1, 2**31, 2**63, 2**64 - 1))
    whole = _sealed(header, body)
    return draw.choice(
        (
            (struct.pack("<Q", length) + whole[8:], f"header length {length}"),
            (whole[: draw.randrange(len(whole))], "cut off"),
            (whole + b"\0" * 100, "a tail"),
            (b"", "empty"),
            (whole[:8], "a length alone"),
            (safetensors.torch.save({}), "no tensors"),
            (b"PK\x03\x04" + whole[4:], "a zip"),
        )
    )


def _sealed(header, body):
    return struct.pack("<Q", len(header)) + header + body
