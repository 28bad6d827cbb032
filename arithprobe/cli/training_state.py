"""The check of a checkpoint's state besides the weights, against the state that this run would write.

Lightning loads a state of another kind as it is, and the run ends in a traceback, at once or after hours.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from arithprobe.behaviour import Behaviour
from arithprobe.callbacks import BehaviourReport
from arithprobe.callbacks.random_state import require_states
from arithprobe.callbacks.trainers import callbacks_of
from arithprobe.errors import ArithprobeError
from arithprobe.models.weights import is_dense
from arithprobe.training.module import ArithmeticModule

_MOST = 2**53  # larger than any count
_UNCHANGED = ("amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay")
_SCALAR = object()  # in the place of None: a number, text, or a tensor of one
_LOOPS = {"fit": "fit_loop", "validate": "validate_loop", "test": "test_loop", "predict": "predict_loop"}


def check_training_state(
    content: Mapping[str, Any], trainer: Trainer, model: ArithmeticModule, stage: str, path: str
) -> None:
    """Refuse a checkpoint whose state this run cannot load.

    Args:
        content: The content of the checkpoint.
        trainer: The trainer of this run, before it begins.
        model: The module of this run.
        stage: ``fit``, ``validate``, ``test`` or ``predict``.
        path: The file.

    Raises:
        ArithprobeError: If it cannot; the text names the file, and what in it is of another kind.
    """
    version, loop = content["pytorch-lightning_version"], _LOOPS[stage]
    if not (isinstance(version, str) and re.fullmatch(r"[2-9]\.\d+(\.\d+)?(\.?(rc|post|dev|a|b)\d+)?", version)):
        raise ArithprobeError(f"{path}: was written by Lightning {version!r}; expected a version from 2.0 on")
    expected: dict[str, Any] = {"epoch": 0, "global_step": 0}
    if content.get("loops") is not None:
        expected["loops"] = {loop: getattr(trainer, loop).state_dict()}
    if content.get("callbacks") is not None:
        expected["callbacks"] = _of_callbacks(trainer, content["callbacks"])
    if stage == "fit":
        expected |= _of_optimizer(model, content.get("optimizer_states"))
    wrong = _difference(expected, content)
    if wrong is not None:
        raise ArithprobeError(f"{path}: {stage} cannot go on from it: {wrong}")
    try:
        require_states(content, trainer.world_size)
    except ArithprobeError as error:
        raise ArithprobeError(f"{path}: {error}") from None


def _of_callbacks(trainer: Trainer, stored: Any) -> dict[str, Any]:
    """The states of Lightning's callbacks and of ours that are stored; those of others are their own affair."""
    known = stored if isinstance(stored, dict) else {}
    ours = [one for one in callbacks_of(trainer) if type(one).__module__.startswith(("lightning.", "arithprobe."))]
    return {one.state_key: _of_callback(one, known[one.state_key]) for one in ours if known.get(one.state_key)}


def _of_callback(callback: Callback, stored: Any) -> Any:
    state: dict[str, Any] = _open(callback.stored() if isinstance(callback, BehaviourReport) else callback.state_dict())
    stored = stored if isinstance(stored, dict) else {}
    if isinstance(callback, BehaviourReport):
        kinds = {int: 0, float: 0.0}
        report = {name: kinds.get(kind, "") for name, kind in get_type_hints(Behaviour).items()}
        known, reports = report | {"epoch": 0, "step": 0}, stored.get("reports")
        optional = {one.name for one in fields(Behaviour) if one.default is not MISSING}  # of a version before them
        state["reports"] = {
            name: {key: kind for key, kind in known.items() if key not in optional or key in _keys(reports[name])}
            for name in _keys(reports)
        }
        kept = stored.get("predictions")
        state["predictions"] = {name: torch.zeros(_length(kept[name])) for name in _keys(kept)}
    if isinstance(callback, ModelCheckpoint):
        state["best_k_models"] = dict.fromkeys(_keys(stored.get("best_k_models")), torch.tensor(0.0))
    return state


def _length(stored: Any) -> int:
    return len(stored) if is_dense(stored) and stored.ndim else 0


def _keys(stored: Any) -> list[str]:
    return list(stored) if isinstance(stored, dict) else []


def _open(state: Any) -> Any:
    """A state in which what is not known yet, None, may be any one thing."""
    if isinstance(state, dict):
        return {key: _open(value) for key, value in state.items()}
    return _SCALAR if state is None else state


def _of_optimizer(model: ArithmeticModule, stored: Any) -> dict[str, Any]:
    """The states of AdamW after some steps, and of its schedule."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=model.lr, weight_decay=model.weight_decay, betas=model.betas)
    schedulers = []
    if model.schedule != "constant" or model.warmup_steps:
        schedulers.append(torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0).state_dict())
    state = optimizer.state_dict()
    first = stored[0] if isinstance(stored, list) and stored else None
    moved = first.get("state") if isinstance(first, dict) else None
    state["state"] = {
        number: {"step": torch.tensor(0.0), "exp_avg": one.detach(), "exp_avg_sq": one.detach()}
        for number, one in enumerate(parameters)
        if isinstance(moved, dict) and number in moved
    }
    return {"optimizer_states": [state], "lr_schedulers": schedulers}


def _difference(expected: Any, found: Any, where: str = "") -> str | None:
    """What of one state is not of the kind of another, or missing; None where nothing is. More may be there."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            place = f"{where}/{key}" if where else str(key)
            if key in _UNCHANGED:
                if found.get(key, value) is not value:
                    return f"{place} is {_short(found[key])}, here it is {value!r}"
            elif key not in found:
                if not str(key).startswith("_"):  # of another PyTorch
                    return f"{place} is missing"
            elif wrong := _difference(value, found[key], place):
                return wrong
        return None
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)):
        if expected and len(expected) != len(found):
            return f"{where} has {len(found)} items; expected {len(expected)}"
        pairs = zip(expected, found, strict=False)
        return next((w for i, pair in enumerate(pairs) if (w := _difference(*pair, f"{where}/{i}"))), None)
    return None if _is_like(expected, found) else f"{where} is {_short(found)}; expected {_kind(expected)}"


def _is_like(expected: Any, found: Any) -> bool:
    if isinstance(expected, Tensor):
        same = is_dense(found) and found.shape == expected.shape
        return same and found.is_floating_point() == expected.is_floating_point()
    if expected is _SCALAR:
        return found is None or isinstance(found, (bool, int, float, str)) or (is_dense(found) and found.numel() == 1)
    if type(expected) is int:
        return type(found) is int and 0 <= found <= _MOST
    if type(expected) is float:
        return type(found) is float or (type(found) is int and abs(found) <= _MOST)
    return type(expected) is type(found)


def _kind(expected: Any) -> str:
    if isinstance(expected, Tensor):
        return f"a tensor of shape {tuple(expected.shape)}"
    kinds = {int: f"a count, 0 to {_MOST}", float: "a number", dict: "parts by name", list: "a list"}
    return kinds.get(type(expected), "one value" if expected is _SCALAR else f"a {type(expected).__name__}")


def _short(found: Any) -> str:
    text = f"a {type(found).__name__}" if isinstance(found, (Tensor, dict, list, tuple)) else repr(found)
    return text if len(text) <= 60 else text[:57] + "..."
