"""Reading checkpoints: Lightning's, and the plain ``state_dict`` files of the original project."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arithprobe.errors import ArithprobeError


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file written by ``torch.save``, running none of its code (``weights_only=True``), onto the CPU.

    Raises:
        ArithprobeError: If the file is missing, no checkpoint, or holds more than tensors and plain values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArithprobeError(f"{path}: no such file; expected a checkpoint") from None
    except OSError as error:
        raise ArithprobeError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ArithprobeError(
            f"{path}: not a checkpoint of tensors and plain values, and nothing else is loaded (weights_only=True)"
        ) from error
    if not isinstance(content, dict):
        raise ArithprobeError(
            f"{path}: holds a {type(content).__name__}; expected a state_dict or a Lightning checkpoint"
        )
    return content


def load_plain_weights(model: nn.Module, path: str | Path) -> None:
    """Load a plain ``state_dict`` file into a model.

    Raises:
        ArithprobeError: If the file is a Lightning checkpoint, or of another architecture.
    """
    content = read_checkpoint(path)
    if "state_dict" in content and "pytorch-lightning_version" in content:
        raise ArithprobeError(f"{path}: is a Lightning checkpoint; pass it as --ckpt_path")
    require_same_shapes(model.state_dict(), content, path)
    model.load_state_dict(content)


def require_same_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Any], path: str | Path) -> None:
    """Compare a checkpoint's weights with a model's.

    Raises:
        ArithprobeError: Naming the first weights of another shape, missing or unknown.
    """
    for key, value in expected.items():
        if key not in found:
            known = ", ".join(map(str, list(found)[:3])) or "nothing"
            raise ArithprobeError(f"{path}: {key!r} is missing; expected shape {_shape(value)} (the file has: {known})")
        if not isinstance(found[key], Tensor) or not found[key].is_floating_point() or found[key].is_sparse:
            kind = found[key].dtype if isinstance(found[key], Tensor) else type(found[key]).__name__
            raise ArithprobeError(f"{path}: {key!r} is a {kind}; expected a tensor of real numbers")
        if found[key].shape != value.shape:
            raise ArithprobeError(
                f"{path}: another architecture: {key!r} has shape {_shape(found[key])}, "
                f"the model expects {_shape(value)}"
            )
    unknown = [key for key in found if key not in expected]
    if unknown:
        raise ArithprobeError(
            f"{path}: another architecture: {unknown[0]!r} has no place in the model ({len(unknown)} such)"
        )


def _shape(value: Tensor) -> str:
    return str(tuple(value.shape))
