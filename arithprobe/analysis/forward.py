"""One pass of a model over the rows of a file: it judges the behaviour and hands the states to observers."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from arithprobe.behaviour import Behaviour, judge
from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.models.check import check
from arithprobe.models.checkpoints import LoadedModel, is_ours
from arithprobe.models.fidelity import Fidelity
from arithprobe.models.finite import require_finite
from arithprobe.models.network import Network, require_evaluation, require_network
from arithprobe.problems.rows import Rows, population_of, require_rows
from arithprobe.training.metrics import AnswerErrors

Options = TypeVar("Options")
Observer = Callable[[dict[str, Tensor], Tensor], object]
"""Takes the states of a batch, (B, T, D) by site, and its (B,) row numbers."""
Progress = Callable[[str], object]
"""Told the name of each step of a long analysis as it starts."""


class Pass(NamedTuple):
    """The result of a pass over the rows."""

    behaviour: Behaviour
    """Has the model learned the task."""
    predictions: Tensor
    """(N,) float64 answers of the model."""


def run_over(loaded: LoadedModel, dataset: Rows, observers: Iterable[Observer] = (), batch_size: int = 250) -> Pass:
    """Run a model over all rows, hand the states of each batch to the observers, and judge the answers.

    Without a training mean (a plain ``state_dict`` has none) the constant predictor is the mean of these answers.

    Raises:
        ArithprobeError: If the model was trained on another task, a prompt is longer than its position table, or a
            state is not finite.
    """
    check_rows(loaded, dataset)
    modulus, residues = dataset.circle, loaded.objective.residues
    errors, predictions = AnswerErrors(dataset.constant(loaded.train_mean), modulus, residues=residues), []
    observers, group = list(observers), dataset.group(dataset.answer)
    with torch.no_grad():
        for rows in torch.split(torch.arange(len(dataset)), batch_size):
            inputs = dataset.inputs(rows)
            outputs, cache = loaded.model.run_with_cache(inputs)
            require_finite(cache.states, inputs.lengths, rows, dataset.path, loaded.path)
            for observe in observers:
                observe(cache.states, rows)
            loaded.objective.require_outputs(outputs, len(rows))
            predictions.append(loaded.objective.decode(outputs))
            errors.update(predictions[-1], dataset.answers[rows], group=group[rows])
    judged = judge(errors.compute(), modulus, residues=residues, population=population_of(dataset, len(dataset)))
    return Pass(judged, torch.cat(predictions))


def check_rows(loaded: LoadedModel, dataset: Rows) -> None:
    """Refuse rows that the model was not made for.

    Raises:
        ArithprobeError: If they have another task than it was trained on, are longer than its position table, or one
            of the two is something else.
    """
    require_loaded(loaded, dataset)
    if loaded.task is not None and loaded.task != dataset.task:
        raise ArithprobeError(f"{loaded.path}: was trained on {loaded.task!r}; {dataset.path} has {dataset.task!r}")
    most, longest = loaded.model.max_len, int(dataset.lengths.max())
    if most is not None and longest > most:
        raise ArithprobeError(
            f"{loaded.path}: its position table holds {most} tokens; "
            f"the longest problem of {dataset.path} has {longest}"
        )


def require_loaded(loaded: object, dataset: object) -> None:
    """Refuse arguments that are not a loaded model and a data set, such as a path, a network or a LightningModule.

    Raises:
        ArithprobeError: If one is not; the text says how to make one.
    """
    if not isinstance(loaded, LoadedModel):
        raise ArithprobeError(
            f"expected a LoadedModel, got a {type(loaded).__name__}; load_model(path) gives one, "
            "of a network in memory in_memory(network, objective), of a module its loaded()"
        )
    require_rows(dataset)
    try:
        require_network(loaded.model)
        require_evaluation(loaded.model)
    except ArithprobeError as error:
        raise ArithprobeError(f"{loaded.path}: {error}") from None


def fidelity_of(network: Network, dataset: Rows) -> Fidelity | None:
    """Check that a network keeps its promises on these rows; None for this library's own, which its tests verify.

    Raises:
        ArithprobeError: If it does not; the text names the first promise that it breaks.
    """
    return None if is_ours(network) else check(network, dataset).required()


def chosen_options(kind: type[Options], given: Options | None) -> Options:
    """Return the options of an analysis, or its defaults if none are given.

    Raises:
        ArithprobeError: If they are the options of another analysis.
    """
    if given is not None and not isinstance(given, kind):
        raise ArithprobeError(f"expected {kind.__name__}(...), got a {type(given).__name__}")
    return kind() if given is None else given


def chosen_sites(loaded: LoadedModel, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the requested sites, from ``embed`` up.

    Args:
        loaded: The model.
        wanted: Names; ``residual`` is all along the residual stream.

    Raises:
        ArithprobeError: If there is no such site; the text lists those there are.
    """
    known = tuple(loaded.model.sites)
    found: dict[str, None] = {}
    for name in wanted:
        if name != "residual" and name not in known:
            meant = did_you_mean(name, known)
            raise ArithprobeError(f"no site {name!r} in {loaded.path}{meant} (sites: residual, {', '.join(known)})")
        found |= dict.fromkeys(loaded.model.residual_sites if name == "residual" else [name])
    return tuple(site for site in known if site in found)


def random_init_twin(loaded: LoadedModel, seed: int) -> LoadedModel:
    """Return an untrained model of the same architecture; the global random state does not change."""
    path = f"random initialisation, seed {seed}"
    return loaded._replace(path=path, kind="random", model=loaded.model.untrained(seed))
