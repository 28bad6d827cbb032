"""Reading checkpoints: Lightning's, and the plain ``state_dict`` files of the original project."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from arithprobe.errors import ArithprobeError
from arithprobe.models.checkpoint_files import checkpoint_in
from arithprobe.models.initial import Initial
from arithprobe.models.network import Network, require_evaluation, require_network, uncompiled
from arithprobe.models.objective import Objective, require_objective
from arithprobe.models.objectives import ScaledMSE, objective_named
from arithprobe.models.transformer import TinyTransformer
from arithprobe.models.weights import is_dense, is_lightning, kind_of, read_checkpoint, require_same_shapes
from arithprobe.problems.grammar import MAX_DIGITS
from arithprobe.tokenizer import VOCABULARY, VOCABULARY_SIZE

CHECKPOINT_KEY = "arithprobe"
"""Where a Lightning checkpoint holds what decoding and judging need beside the weights."""
LIGHTNING = "Lightning checkpoint"
"""The kind of a checkpoint that a fit has written."""
_PLAIN_HEADS = 4  # the original project's
_LARGEST = 2.0 * 10**MAX_DIGITS  # an answer, and more than any size
_CHOICES = ("norm", "positions", "embedding_sd")  # what a Lightning checkpoint says of the architecture besides


class LoadedModel(NamedTuple):
    """A trained model, ready to run: evaluation mode, no gradients, on the CPU."""

    path: str
    """Path of the checkpoint, or what a model in memory is called."""
    kind: str
    """``Lightning checkpoint`` or ``plain state_dict``."""
    model: Network
    """The network."""
    objective: Objective
    """The way from its outputs to answers."""
    train_mean: float | None
    """Mean training answer; None in a plain file, which cannot say."""
    task: str | None
    """What it was trained on; None in a plain file."""
    initial: Initial | None = None
    """What it began with; None where that is not known."""


def in_memory(
    network: Network,
    objective: Objective,
    *,
    train_mean: float | None = None,
    task: str | None = None,
    name: str = "network in memory",
) -> LoadedModel:
    """Wrap a network in memory for :func:`~arithprobe.analysis.probe.run.probe` and the other analyses.

    Args:
        network: Any :class:`~arithprobe.models.network.Network`, in evaluation mode; it is used as it is.
        objective: The objective that decodes its outputs to answers.
        train_mean: Mean training answer, the constant predictor of skill; the mean of the rows if not given.
        task: The task that it was trained on, as in ``rows.task``; if given, rows of another task are refused.
        name: The name of the model in records and tables.

    Raises:
        ArithprobeError: If ``network`` or ``objective`` is something else, or the network is in training mode.
    """
    require_network(network)
    require_evaluation(network)
    require_objective(objective)
    return LoadedModel(name, "in memory", network, objective, train_mean, task)


def load_model(
    path: str | Path, n_heads: int | None = None, scale: float | None = None, *, network: Network | None = None
) -> LoadedModel:
    """Load a model from a Lightning checkpoint or a plain ``state_dict`` file.

    Args:
        path: The file; or a run folder, from which the best checkpoint is loaded, or else the last.
        n_heads: Attention heads, which a plain ``state_dict`` does not contain; 4 by default, as in the original
            project. The rest is assumed to be as in that project too: post-norm, absolute positions, a scaled answer.
        scale: The model was trained to output ``answer / scale``; for a plain ``state_dict``, 2000 by default.
        network: Your own network, into which the weights are loaded; it is put into evaluation mode, without
            gradients. By default a ``TinyTransformer`` is made.

    Raises:
        ArithprobeError: If the file is not a checkpoint, has another architecture or vocabulary, or contradicts an
            option.
    """
    path = checkpoint_in(path)
    content = read_checkpoint(path)
    lightning = is_lightning(content)
    stored, extra, weights = lightning_parts(content, path) if lightning else ({}, {}, content)
    weights = {key.removeprefix("model."): value for key, value in weights.items()} if lightning else weights
    if extra.get("vocabulary", VOCABULARY) != VOCABULARY:
        raise ArithprobeError(
            f"{path}: the checkpoint's vocabulary is {extra['vocabulary']!r}, here it is {VOCABULARY!r}"
        )
    objective = _objective(extra, lightning, scale, path)
    if n_heads is not None and stored.get("n_heads", n_heads) != n_heads:
        raise ArithprobeError(f"{path}: the checkpoint says n_heads {stored['n_heads']}, the option says {n_heads}")
    heads = stored.get("n_heads", _PLAIN_HEADS if n_heads is None else n_heads)
    kind = LIGHTNING if lightning else "plain state_dict"
    facts = (extra.get("train_mean"), extra.get("task"), Initial.of(extra.get("initial"), path))
    if network is not None:
        require_network(network)
        require_same_shapes(network.state_dict(), weights, path)
        network.load_state_dict(weights)
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)
        return LoadedModel(str(path), kind, network, objective, *facts)
    chosen: dict[str, Any] = {name: stored[name] for name in _CHOICES if name in stored}
    options = _sizes(weights, path) | chosen | {"n_heads": heads, "dropout": 0.0}
    try:
        with torch.device("meta"):  # first without memory: the file may say anything
            shapes = TinyTransformer(**options).state_dict()
        require_same_shapes(shapes, weights, path)
        model = TinyTransformer(**options)
    except ArithprobeError as error:
        raise (error if str(error).startswith(f"{path}: ") else ArithprobeError(f"{path}: {error}")) from None
    model.load_state_dict(weights)
    if model.readout.out_features != objective.n_outputs:
        raise ArithprobeError(
            f"{path}: the readout has {model.readout.out_features} outputs; {objective!r} has {objective.n_outputs}"
        )
    return LoadedModel(str(path), kind, model.eval().requires_grad_(False), objective, *facts)


def lightning_parts(
    content: Mapping[str, Any], path: str | Path
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the hyperparameters, the decoding data and the weights of a Lightning checkpoint.

    Raises:
        ArithprobeError: If one of them is of the wrong kind, or not a number where one is expected.
    """
    stored, extra, weights = content.get("hyper_parameters", {}), content.get(CHECKPOINT_KEY, {}), content["state_dict"]
    kinds = {type(part) for part in (stored, extra, weights)}
    if not all(issubclass(kind, dict) for kind in kinds) or any(type(key) is not str for key in (*stored, *extra)):
        raise ArithprobeError(f"{path}: is not a checkpoint of an ArithmeticModule")
    numbers = {name: stored[name] for name in ("n_heads", "embedding_sd") if name in stored}
    if extra.get("train_mean") is not None:
        numbers["train_mean"] = extra["train_mean"]
    for name, value in numbers.items():
        allowed = (int,) if name == "n_heads" else (int, float)
        if type(value) not in allowed or not abs(value) <= _LARGEST:
            wanted = "a whole number" if name == "n_heads" else f"a finite number, of at most {_LARGEST:.0e}"
            raise ArithprobeError(f"{path}: its {name} is {value!r}; expected {wanted}")
    for name in ("vocabulary", "task"):
        if not isinstance(extra.get(name, ""), (str, type(None))):
            raise ArithprobeError(f"{path}: its {name} is {extra[name]!r}; expected text")
    return stored, extra, weights


def _objective(extra: Mapping[str, Any], lightning: bool, scale: float | None, path: str | Path) -> Objective:
    """What a checkpoint was trained to output; of a plain file, what the option says.

    Raises:
        ArithprobeError: If the checkpoint's is unknown or contradicts the option.
    """
    if not lightning:
        return ScaledMSE() if scale is None else ScaledMSE(scale)
    said = extra.get("objective")
    if not isinstance(said, Mapping) or not isinstance(said.get("options"), Mapping):
        raise ArithprobeError(f"{path}: does not say what it was trained to output; is not of an ArithmeticModule")
    try:
        objective = objective_named(str(said.get("name")), said["options"])
    except ArithprobeError as error:
        raise ArithprobeError(f"{path}: {error}") from None
    if scale is not None and scale != getattr(objective, "scale", None):
        raise ArithprobeError(f"{path}: the checkpoint says {objective!r}, the option says scale {scale}")
    return objective


def _sizes(weights: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The sizes that the shapes of a ``state_dict`` tell.

    Raises:
        ArithprobeError: If a weight they are read from is missing, the vocabulary is another one, or there is no
            attention.
    """
    shapes, attention = {}, any(".self_attn." in key for key in weights)
    for key in ("tok.weight", "pos.weight", "enc.layers.0.linear1.weight", "readout.weight"):
        value = weights.get(key)
        if not is_dense(value) or value.ndim != 2:
            known = ", ".join(map(str, list(weights)[:3])) or "nothing"
            what = (
                "is missing" if key not in weights else "is not a matrix" if is_dense(value) else f"is {kind_of(value)}"
            )
            what += "" if attention else ", and there is no attention"
            raise ArithprobeError(
                f"{path}: no weights of a TinyTransformer: {key!r} {what} (the file has: {known}); those of a network "
                "of one's own go into it by load_model(path, network=...)"
            )
        shapes[key] = value.shape
    if shapes["tok.weight"][0] != VOCABULARY_SIZE:
        raise ArithprobeError(
            f"{path}: the checkpoint's vocabulary has {shapes['tok.weight'][0]} tokens; "
            f"expected {VOCABULARY_SIZE} (padding, then {VOCABULARY!r})"
        )
    if not attention:
        raise ArithprobeError(
            f"{path}: no attention: none of its {len(weights)} weights is an enc.layers.*.self_attn.*"
        )
    layers = {key.split(".")[2] for key in weights if key.startswith("enc.layers.")}
    return {
        "d_model": shapes["tok.weight"][1],
        "n_layers": len(layers),
        "d_ff": shapes["enc.layers.0.linear1.weight"][0],
        "max_len": shapes["pos.weight"][0],
        "n_outputs": shapes["readout.weight"][0],
    }


def is_ours(network: object) -> bool:
    """Whether a network is this library's own, whose promises its tests verify."""
    return isinstance(uncompiled(network), TinyTransformer)


def weights_hash(model: nn.Module | Network) -> str:
    """The first 16 digits of the SHA-256 of a model's weights, names and shapes; compiling does not change it."""
    whole: Any = uncompiled(model)
    digest = hashlib.sha256()
    for name, value in sorted(whole.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
