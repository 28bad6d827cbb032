"""``arithprobe sweep``: a grid of fits with the same measures for each, on this machine or on a cluster."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arithprobe.cli.sweep_options import SweepOptions, sweep_options
from arithprobe.errors import ArithprobeError
from arithprobe.files import to_json, write_whole
from arithprobe.sweeps.engine import Engine
from arithprobe.sweeps.folder import SweepFolder, TrialProgress, rows_of
from arithprobe.sweeps.loky_engine import LokyEngine
from arithprobe.sweeps.table import over_seeds, to_csv

if TYPE_CHECKING:
    from arithprobe.cli.fit_config import FitConfig

_SEED = "seed_everything"
_TABLES = ("table.csv", "table.json", "cells.json")


def run(words: Sequence[str] | None) -> None:
    """Run the trials that are not done, and write the table and the figures.

    Raises:
        ArithprobeError: For any mistake of the user, and at the end if a trial failed.
    """
    options = sweep_options(words)
    folder = SweepFolder(options.output_dir)
    from arithprobe.analysis.scale.said import said_of
    from arithprobe.cli.announcements import announcements
    from arithprobe.cli.terminal import print_files, print_said
    from arithprobe.cli.verdict import console_of
    from arithprobe.said.folder import claimed, write_said

    console = console_of(100)
    with announcements() as held:
        configs = _resolved(options)
        digests = {name: one.digest for name, one in configs.items()}
        folder.check(digests, extend=options.extend)
        if options.dry_run:
            for trial in options.trials:
                console.print(f"{trial.name}: {configs[trial.name].parameters} parameters", highlight=False)
            return
        engine = _engine(options)
        engine.check()
        with folder.hold(), claimed(folder.path, __name__, ["sweep"], ()):
            folder.check(digests, extend=options.extend)  # again: another sweep may have ended there meanwhile
            held.release()
            folder.write(digests, {"name": options.output_dir.name, "measured_with": asdict(options.measure)})
            failed = _run(options, folder, configs, engine)
            rows = _write_table(options, folder)
            said = said_of(rows, options.facet, _x(rows, options.shared_keys)) if rows else None
            drawn = [] if said is None else write_said(said, folder.path, __name__)
    if said is not None:
        print_said(said)
    print_files([*(folder.path / name for name in _TABLES), *drawn])
    console.print(f"look next: tensorboard --logdir {folder.path}", markup=False, highlight=False)
    if failed:
        first = next(iter(failed))
        raise ArithprobeError(
            f"{len(failed)} of {len(options.trials)} trials failed: {', '.join(failed)}; {first}: {failed[first]} (see "
            f"{folder.path / first / 'log.txt'}); the same command runs what failed again"
        )


def _resolved(options: SweepOptions) -> "dict[str, FitConfig]":
    """The configuration of each trial, all of them checked."""
    from arithprobe.cli.fit_config import FitConfigs

    configs = FitConfigs(options.base)
    found = {}
    for trial in options.trials:
        try:
            found[trial.name] = configs.resolve({**trial.settings, "name": trial.name})
        except ArithprobeError as error:
            raise ArithprobeError(f"trial {trial.name}: {error}") from error
        same = [name for name, one in found.items() if one.digest == found[trial.name].digest]
        if len(same) > 1:
            raise ArithprobeError(f"trials {same[0]} and {same[1]} have the same settings; expected each once")
    return found


def _engine(options: SweepOptions) -> Engine:
    if options.engine == "loky":
        return LokyEngine(options.jobs, options.threads, options.retries)
    from arithprobe.sweeps.ray_engine import RayEngine

    return RayEngine(options.jobs, options.threads, options.address, options.retries, options.gpus)


def _run(
    options: SweepOptions, folder: SweepFolder, configs: "Mapping[str, FitConfig]", engine: Engine
) -> dict[str, str]:
    """Run what is not done, the costly first; the trials that failed, with the reason."""
    from arithprobe.cli.sweep_trial import run_trial
    from arithprobe.cli.sweep_view import SweepView
    from arithprobe.cli.verdict import console_of

    measured_with = asdict(options.measure)
    folders = {trial.name: folder.trial(trial) for trial in options.trials}
    open_ = [name for name, one in folders.items() if one.result(measured_with) is None]
    for name in open_:
        folders[name].start(configs[name].text)
        folders[name].say("waiting", share=float(folders[name].is_trained))
    parameters = {trial.name: trial.parameters for trial in options.trials}
    task = partial(
        run_trial, parameters=parameters, cwd=str(Path.cwd()), threads=options.threads, options=options.measure
    )
    costs = {name: float(one.parameters) for name, one in configs.items()}
    order = sorted(open_, key=lambda name: -costs[name])
    failed: dict[str, str] = {}
    if not order:
        return failed

    def state() -> dict[str, TrialProgress]:
        return {name: one.progress() for name, one in folders.items()}

    with SweepView(costs, console_of(100)) as view:
        view.show(state())
        with closing(engine.run(task, [str(folders[name].path) for name in order])) as outcomes:
            for outcome in outcomes:
                if outcome is not None and outcome.error is not None:
                    name = Path(outcome.trial).name
                    failed[name] = outcome.error
                    folders[name].say("failed", error=outcome.error)
                if outcome is not None:
                    _write_table(options, folder)
                view.show(state())
    return failed


def _write_table(options: SweepOptions, folder: SweepFolder) -> list[dict[str, Any]]:
    """Write the table of what is done, and its means over seeds; the rows."""
    rows = rows_of(folder, options.trials, asdict(options.measure))
    keys = list(dict.fromkeys(key for trial in options.trials for key in trial.parameters))
    measured = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, (int, float)))
    by = [key for key in keys if key != _SEED]
    cells = over_seeds(rows, by, [key for key in measured if key not in keys])
    contents = (to_csv(rows), to_json(rows) + "\n", to_json([vars(cell) for cell in cells]) + "\n")
    for name, content in zip(_TABLES, contents, strict=True):
        write_whole(folder.path / name, content)
    return rows


def _x(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """What the figures are drawn against: the size of the models, or the first of the keys that varies."""
    varying = (key for key in ("parameters", *keys) if len({str(row.get(key)) for row in rows}) > 1)
    return next((key for key in varying if key not in (_SEED, "model.n_layers")), "parameters")
