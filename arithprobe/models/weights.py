"""Reading files of weights: which contents are accepted, and under which names."""

import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError

_WRAPPERS = ("_orig_mod", "module")  # torch.compile's and DataParallel's part of a name
_NO_CHECKPOINT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
    struct.error,
)
"""What PyTorch raises of bytes that it did not write."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file written by ``torch.save``, running none of its code (``weights_only=True``), onto the CPU.

    Weights get the names that the model has itself: prefixes of ``torch.compile`` and ``DataParallel`` are dropped.

    Raises:
        ArithprobeError: If the file is missing, is not a checkpoint, or holds more than tensors and plain values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArithprobeError(f"{path}: no such file; expected a checkpoint") from None
    except IsADirectoryError:
        raise ArithprobeError(
            f"{path}: is a folder; expected a file of weights (a run folder is for --ckpt_path)"
        ) from None
    except OSError as error:
        raise ArithprobeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _NO_CHECKPOINT as error:
        raise ArithprobeError(
            f"{path}: not a checkpoint of tensors and plain values, and nothing else is loaded (weights_only=True)"
        ) from error
    if not isinstance(content, dict):
        raise ArithprobeError(
            f"{path}: holds a {type(content).__name__}; expected a state_dict or a Lightning checkpoint"
        )
    strange = [key for key in content if not isinstance(key, str)]
    if strange:
        raise ArithprobeError(f"{path}: has the key {strange[0]!r}; expected names")
    if not is_lightning(content):
        return unwrapped(content, path)
    if isinstance(content["state_dict"], dict):
        content["state_dict"] = unwrapped(content["state_dict"], path)
    return content


def is_lightning(content: Mapping[str, Any]) -> bool:
    """Whether the content of a file is a Lightning checkpoint rather than a plain ``state_dict``."""
    return "state_dict" in content and "pytorch-lightning_version" in content


def unwrapped(weights: Mapping[Any, Any], path: str | Path) -> dict[str, Any]:
    """Return weights under the model's own names, without the prefixes of ``torch.compile`` and ``DataParallel``.

    >>> unwrapped({"module.tok.weight": 1, "model._orig_mod.ln.bias": 2}, "a.pt")
    {'tok.weight': 1, 'model.ln.bias': 2}

    Raises:
        ArithprobeError: If a name is not text, or two are the same.
    """
    found: dict[str, Any] = {}
    for key, value in weights.items():
        if not isinstance(key, str):
            raise ArithprobeError(f"{path}: has the key {key!r}; expected names of weights")
        name = ".".join(part for part in key.split(".") if part not in _WRAPPERS)
        if name in found:
            raise ArithprobeError(f"{path}: has {name!r} twice, once as {key!r}")
        found[name] = value
    return found


def named_as(own: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return weights under a module's own names, whichever of the two was compiled or wrapped."""
    names = unwrapped({name: name for name in own}, "this module")
    return {names.get(name, name): value for name, value in unwrapped(weights, "the checkpoint").items()}


def load_plain_weights(model: nn.Module, path: str | Path) -> None:
    """Load a plain ``state_dict`` file into a model.

    Raises:
        ArithprobeError: If the file is a Lightning checkpoint, or has another architecture.
    """
    content = read_checkpoint(path)
    if is_lightning(content):
        raise ArithprobeError(f"{path}: is a Lightning checkpoint; pass it as --ckpt_path")
    require_same_shapes(model.state_dict(), content, path)
    model.load_state_dict(content)


def require_same_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Any], path: str | Path) -> None:
    """Compare a checkpoint's weights with a model's.

    Raises:
        ArithprobeError: If some weights have another shape, are missing or unknown; the text names the first.
    """
    for key, value in expected.items():
        if key not in found:
            known = ", ".join(map(str, list(found)[:3])) or "nothing"
            raise ArithprobeError(f"{path}: {key!r} is missing; expected shape {_shape(value)} (the file has: {known})")
        weight = found[key]
        real = value.is_floating_point()
        if not is_dense(weight) or (not weight.is_floating_point() if real else weight.dtype != value.dtype):
            wanted = "real numbers" if real else f"{value.dtype}"
            raise ArithprobeError(f"{path}: {key!r} is {kind_of(weight)}; expected a tensor of {wanted}")
        if weight.shape != value.shape:
            raise ArithprobeError(
                f"{path}: another architecture: {key!r} has shape {_shape(weight)}, the model expects {_shape(value)}"
            )
    unknown = [key for key in found if key not in expected]
    if unknown:
        raise ArithprobeError(
            f"{path}: another architecture: {unknown[0]!r} has no place in the model ({len(unknown)} such)"
        )


def is_dense(value: object) -> TypeGuard[Tensor]:
    """Whether a value read from a file is a dense tensor on the CPU, with every number stored."""
    return (
        isinstance(value, Tensor)
        and not value.is_nested
        and not value.is_quantized
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def kind_of(value: object) -> str:
    """The kind of a value that is not a tensor of real numbers."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    dense = value.layout is torch.strided and not value.is_nested and value.device.type == "cpu"
    return f"a {value.dtype}" if dense and not value.is_floating_point() else "a tensor without all of its numbers"


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))
