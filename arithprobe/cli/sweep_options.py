"""The options of ``arithprobe sweep``, in a file and on the command line."""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from arithprobe.analysis.scale.options import ScaleOptions
from arithprobe.callbacks.run_folder import LOG_FOLDER
from arithprobe.cli.options import command_parser, described, options_from, parse
from arithprobe.cli.run_folder import require_name
from arithprobe.cli.shipped import ConfigByName
from arithprobe.errors import ArithprobeError, require_at_least
from arithprobe.limits import range_words, require_within
from arithprobe.sweeps.grid import Trial, Values, trials_of
from arithprobe.threads import require_threads

_OWN = (
    "name",
    "threads",
    "ckpt_path",
    "checkpoint.dirpath",
    "checkpoint.filename",
    "trainer.default_root_dir",
    "trainer.logger",
)
EngineName = Literal["loky", "ray"]
_Grid = dict[str, list[Any]] | list[dict[str, list[Any]]]
_DESCRIPTION = (
    "Train a grid of models, each trial a fit of its own, and measure them all alike. Stopped at any moment, the same "
    "command goes on."
)


@dataclass(frozen=True)
class SweepOptions:
    """The options of a sweep."""

    base: tuple[str, ...]
    """Configurations of ``arithprobe fit`` that all trials start from."""
    trials: tuple[Trial, ...]
    """The grid."""
    measure: ScaleOptions
    """How each trial is measured."""
    facet: str | None
    """The key whose values get panels of their own in the figures."""
    output_dir: Path
    """The folder of the sweep."""
    engine: EngineName
    """What runs the trials."""
    address: str | None
    """Of a Ray cluster."""
    jobs: int | None
    """Trials side by side."""
    threads: int
    """Threads of each."""
    gpus: float
    """GPUs of each, on Ray."""
    retries: int
    """How often a trial is run again whose worker died."""
    extend: bool
    """Whether trials may be added to a folder."""
    dry_run: bool
    """Whether the trials are only listed."""

    @property
    def shared_keys(self) -> list[str]:
        """The keys of the grid for which every trial has a value."""
        return _shared_keys(self.trials)


def sweep_options(words: Sequence[str] | None) -> SweepOptions:
    """Read the options.

    Raises:
        ArithprobeError: For any mistake; the text is one line.
    """
    given = parse(parser_of(), words, required=("base", "grid", "name"))
    require_at_least("", retries=(given.retries, 0), gpus=(given.gpus, 0))
    require_within("", retries=given.retries, gpus=given.gpus, jobs=given.jobs or 1)
    require_threads(given.threads)
    if given.jobs is not None:
        require_at_least("", jobs=(given.jobs, 1))
    for name, value in (("address", given.address), ("gpus", given.gpus)):
        if given.engine != "ray" and value:
            raise ArithprobeError(f"--{name} is for a Ray cluster; add --engine ray")
    require_name(given.name)
    base = (given.base,) if isinstance(given.base, str) else tuple(given.base)
    trials = trials_of(_plain(given.grid), _plain(given["set"]), _plain(given.rules))
    own = [key for key in trials[0].settings if key in _OWN or key.startswith("trainer.logger.")]
    if own:
        raise ArithprobeError(f"{own[0]} is set by the sweep itself; take it out of grid, set and rules")
    keys = _shared_keys(trials)
    facet = given.facet or ("model.n_layers" if "model.n_layers" in keys else None)
    if facet is not None and facet not in keys:
        raise ArithprobeError(f"facet is {facet}; expected a key that all trials have ({', '.join(keys)})")
    return SweepOptions(
        base,
        tuple(trials),
        options_from(given.measure, ScaleOptions),
        facet,
        Path(given.output_dir or Path(LOG_FOLDER) / given.name),
        given.engine,
        given.address,
        given.jobs,
        given.threads,
        given.gpus,
        given.retries,
        given.extend,
        given.dry_run,
    )


def _plain(value: Any) -> Any:
    """The value as YAML has it: jsonargparse makes a namespace of what names a class by its whole path."""
    if isinstance(value, Namespace):
        value = _without_defaults(vars(value)) if "class_path" in value else vars(value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _without_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    """A class without the defaults of its options, which jsonargparse fills in; not all of them can be written."""
    module, _, name = spec["class_path"].rpartition(".")
    parameters = inspect.signature(getattr(importlib.import_module(module), name)).parameters
    options = spec.get("init_args")
    given = {
        key: value
        for key, value in (vars(options) if options else {}).items()
        if key not in parameters or value != parameters[key].default
    }
    return {**spec, "init_args": given}


def _shared_keys(trials: Sequence[Trial]) -> list[str]:
    """The keys of the grid that every trial has a value of."""
    keys = dict.fromkeys(key for trial in trials for key in trial.parameters)
    return [key for key in keys if all(trial.parameters.get(key) is not None for trial in trials)]


def parser_of() -> ArgumentParser:
    """Return the parser of the options."""
    parser = command_parser("sweep", _DESCRIPTION, "--config FILE [OPTIONS]")
    add = parser.add_argument
    own = "A YAML file of these options, or a shipped one: scale_reg_modk."
    add("--config", action=ConfigByName, metavar="FILE", help=own)
    add("--name", type=str, metavar="NAME", help="Name of the sweep: its folder under lightning_logs. Required.")
    add("--base", type=str | list[str], metavar="FILE", help="Configuration that all trials begin with. Required.")
    add("--grid", type=_Grid, metavar="YAML", help="Values to combine: {model.d_model: [128, 256]}. Required.")
    add("--set", type=Values, default={}, metavar="YAML", help="Settings of all trials: {model.lr: 0.0003}.")
    add("--rules", type=Values, default={}, metavar="YAML", help="What follows: {model.d_ff: 4 * model.d_model}.")
    parser.add_class_arguments(ScaleOptions, "measure")
    texts = {f"measure.{name}": text for name, text in described(ScaleOptions).items()}
    for action in parser._actions:
        action.help = texts.get(action.dest, action.help)
    add(
        "--facet", type=str, metavar="KEY", help="Key of the panels of the figures. Default: model.n_layers, if varied."
    )
    add("--output_dir", type=str, metavar="FOLDER", help="Folder of the sweep. Default: lightning_logs/NAME.")
    add("--engine", type=EngineName, default="loky", help="loky: this machine. ray: one or many. [default loky]")
    add("--address", type=str, metavar="HOST", help="Cluster of --engine ray: auto, HOST:PORT or ray://HOST:10001.")
    add("--jobs", type=int | None, metavar="N", help="Trials side by side, 1 or more; as many as fit if not given.")
    add("--threads", type=int, default=1, metavar="N", help="Threads of each trial; one for small models. [default 1]")
    add("--gpus", type=float, default=0.0, metavar="X", help="GPUs of each trial, for ray; 0.5: two share. [default 0]")
    again = f"Restarts of a trial whose worker died. [default 2; {range_words('retries', 0)}]"
    add("--retries", type=int, default=2, metavar="N", help=again)
    for name, text in (("extend", "Add new trials to a folder that has others."), ("dry_run", "Only list the trials.")):
        add(f"--{name}", type=bool, nargs="?", const=True, default=False, help=text)
    return parser
