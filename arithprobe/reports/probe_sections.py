"""What can be read from the states: the ladder, curves over training, maps, frequencies, emergence."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from arithprobe.analysis.ladder.record import what_stops
from arithprobe.files import read_json
from arithprobe.logic import CANNOT_BE_TOLD, HOLDS
from arithprobe.models.checkpoints import weights_hash
from arithprobe.plotting.probe_curves import ProbeHistory, probe_curves
from arithprobe.probes.emergence import listed
from arithprobe.probes.neighbours import grouped_waves
from arithprobe.reports.blocks import Block, Cube, Missing, Picture, Table, Words, picture, stored_picture
from arithprobe.reports.histories import Map, curves, fourier_maps, other_waves, ridge_maps, steps_made
from arithprobe.reports.run import Run

_LAST_SITE = "final"
_IN_PYTHON = {
    "probe": "probe(load_model({!r}, network=...), rows)",
    "intervene": "intervene(load_model({!r}, network=...), rows)",
}
_TELLING = 4  # parts of a path, NAME/version_N/checkpoints/best.ckpt


def analysis_command(run: Run, command: str, *more: str) -> str:
    """The command that makes a result inside of the run folder, where the next report finds it.

    Of a network of one's own, what to write in Python: no command can make that network.
    """
    if run.is_foreign:
        return _IN_PYTHON.get(command, "").format(str(run.checkpoint or "best.ckpt"))
    data = "--val" if command == "reproduce" else "--data"
    words = (
        "arithprobe",
        command,
        *more,
        "--checkpoint",
        str(run.checkpoint or run.folder / "checkpoints" / "best.ckpt"),
        data,
        run.data_file,
        "--output_dir",
        str(run.folder / command),
    )
    return shlex.join(words)


def foreign(run: Run, record: dict[str, Any]) -> list[Block]:
    """A warning where a result is of other weights than those of the run's checkpoint."""
    measured, ours = record.get("checkpoint"), run.checkpoint
    if measured is None:
        return [Words("Its file does not name the checkpoint it was measured on; it may not be this run's.", bad=True)]
    if "weights" in record and run.loaded is not None:
        same = record["weights"] == weights_hash(run.loaded.model)
    else:  # paths as typed, from any folder: their ends are compared
        ends = Path(measured).parts[-_TELLING:]
        same = ours is not None and ours.resolve().parts[-len(ends) :] == ends
    return [] if same else [Words(f"Measured on {measured}, which is not this run's {ours}.", bad=True)]


def pictures_of(run: Run, file: str, named: Sequence[tuple[str, str, str]]) -> Iterator[Picture]:
    """The pictures that lie beside a command's file: name, finding, caption of each."""
    folder = run.results[file].parent / "figures"
    for name, finding, caption in named:
        found = stored_picture(folder, name, finding, caption)
        if found is not None:
            yield found


def ladder(run: Run) -> list[Block]:
    """How far the evidence reaches for each claimed variable."""
    if "ladder" not in run.results:
        text = "How far the evidence reaches has not been measured for this run."
        return [Missing(text, analysis_command(run, "probe"))]
    record = read_json(run.results["ladder"])
    claims = record["claims"]
    rows = [
        (
            one["variable"],
            f"on a {one['shape']}",
            str(one["rung"]).upper(),
            str(one["site"]),
            *what_stops(str(one["stopped_by"] or "")),
        )
        for one in claims
    ]
    said = "; ".join(f"{one['variable']} on a {one['shape']}: {one['rung']}" for one in claims) or "no claim"
    header = ("claim", "shape", "highest rung", "at", "stopped by", "because")
    table = Table(f"Of {record['checkpoint']}, in the order {' < '.join(record['rungs'])}", header, rows)
    chart = pictures_of(run, "ladder", [("ladder", f"Highest rungs: {said}.", "Rungs by claim and site")])
    return [*foreign(run, record), table, *told_apart(claims), *_selective(record), *chart]


def told_apart(claims: Sequence[dict[str, Any]]) -> list[Block]:
    """What each claim of ``ladder.json`` was told apart from, where it stands; nothing in files of earlier versions."""
    rows = []
    for claim in claims:
        causal = next((one["causal"] for one in claim.get("sites", ()) if one["site"] == claim["site"]), None) or {}
        for one in (causal.get("given") or {"tests": ()})["tests"]:
            share, stands = one["share"], one["stands"]
            figures = (f"{share['fraction']:.3f} [{share['low']:.3f}, {share['high']:.3f}]", f"{one['skill']:.3f}")
            swaps = f"{one['swapped_exact']:.1%} of {one['swapped']}" if one["swapped"] else "none"
            told = ", ".join(stands) or f"nothing: {CANNOT_BE_TOLD} from it"
            rows.append(
                (
                    claim["variable"],
                    claim["site"],
                    one["given"],
                    f"{one['r']:.2f}",
                    *figures,
                    f"{one['exact']:.1%}",
                    swaps,
                    told,
                )
            )
    header = (
        "claim",
        "at",
        "given",
        "r",
        "share of the demanded change",
        "skill without its own",
        "exact",
        "swaps exact",
        "stands",
    )
    caption = "Told apart from what it may stand for: what of a claim is its own, given another variable"
    return [Table(caption, header, rows)] if rows else []


def _selective(record: dict[str, Any]) -> list[Block]:
    """What selective is tested against; nothing of files of earlier versions."""
    thresholds = record.get("thresholds", {})
    if "fewest_twins" not in thresholds:
        return []
    return [
        Words(
            f"Selective: more is read than from any of {thresholds['fewest_twins']} or more untrained networks, "
            "compared by the largest over all claims, sites and frequencies. The chance that an untrained network has "
            f"a selective claim anywhere is {thresholds['level']} at most; with fewer of them it {CANNOT_BE_TOLD}."
        )
    ]


def over_training(run: Run) -> list[Block]:
    """The score of each probe at the last token, beside its null."""
    found = [
        picture(probe_curves(one, run.at_the_end), _curve_finding(one), f"{one.analysis} probe of {one.target}")
        for one in curves(run)
    ]
    if not found and any(run.lines[name] for name in ("ridge", "fourier", "mlp")):
        return [Missing("Probes ran, and no score is a number: the model has diverged.", "")]
    return [*found] or [Missing("No probe ran during this fit; add callbacks such as RidgeProbing.", "")]


def _curve_finding(one: ProbeHistory) -> str:
    at = one.sites.index(_LAST_SITE) if _LAST_SITE in one.sites else len(one.sites) - 1
    known = [step for step in range(len(one.steps)) if not math.isnan(one.score[step, at])]
    if not known:
        return f"The {one.analysis} probe of {one.target} has no score."
    first, last = known[0], known[-1]
    score, null = float(one.score[last, at]), float(one.null_high[last, at])
    compared = "above" if score > null else "not above"
    return (
        f"{one.metric} of {one.target} at {one.sites[at]} goes from {float(one.score[first, at]):.3f} to {score:.3f} "
        f"after {steps_made(one.steps[last])} steps, {compared} its null ({null:.3f})."
    )


def maps(run: Run) -> list[Block]:
    """Where each target is readable, by site and position, with a slider over the validations."""
    found = [
        _cube(f"ridge probe of {target}", one, "token position", _notes(one)) for target, one in ridge_maps(run).items()
    ]
    return [*found] or [Missing("No site by position map was recorded; add the callback RidgeProbing.", "")]


def _notes(one: Map) -> list[str]:
    return [f"n {n}" for n in one.n]


def _cube(caption: str, one: Map, across: str, notes: Sequence[str]) -> Cube:
    score = one.score[-1]
    if np.isnan(score).all():
        said = "nothing could be scored"
    else:
        row, column = np.unravel_index(int(np.nanargmax(score)), score.shape)
        beats = "above its null" if one.above[-1, row, column] else "not above its null"
        said = (
            f"the best cell is {one.sites[row]} at {one.columns[column]}, held-out R2 {score[row, column]:.3f}, {beats}"
        )
    upwards = slice(None, None, -1)  # the last layer first
    values = [
        [[None if math.isnan(x) else round(x, 3) for x in line] for line in step]
        for step in one.score[:, upwards].tolist()
    ]
    return Cube(
        f"Held-out R2: {caption}",
        f"After {one.steps[-1]} steps {said}.",
        across,
        one.steps,
        one.sites[upwards],
        one.columns,
        notes,
        values,
        one.above[:, upwards].astype(int).tolist(),
    )


def fourier(run: Run) -> list[Block]:
    """Which frequencies are readable where and when."""
    blocks: list[Block] = []
    for name, one in fourier_maps(run).items():
        blocks.append(_cube(f"Fourier probes of {name}", one, "frequency", ()))
        live = stored_picture(
            run.folder / "figures", f"fourier_{name}", _live_finding(run, name, one), f"Frequency by step, {name}"
        )
        blocks += [] if live is None else [live]
    if "probe" in run.results:
        whole = read_json(run.results["probe"])
        blocks += [*foreign(run, whole), *_spectra(run, whole)]
    if not blocks:
        return [
            Missing("No frequency was looked for; add the callback FourierProbing.", analysis_command(run, "probe"))
        ]
    return blocks


def _live_finding(run: Run, name: str, one: Map) -> str:
    at = one.sites.index(_LAST_SITE) if _LAST_SITE in one.sites else len(one.sites) - 1
    key = [one.columns[column] for column in np.flatnonzero(one.above[-1, at])]
    where = f"at {one.sites[at]} after {one.steps[-1]} steps"
    return _frequencies_finding(where, key, other_waves(run, name, one.sites[at]))


def _frequencies_finding(where: str, key: Sequence[Any], others: Mapping[int, str]) -> str:
    more = "".join(f"; {one}" for one in grouped_waves(others))
    return f"Key frequencies {where}: {', '.join(map(str, key)) or 'none'}{more}."


def _spectra(run: Run, whole: dict[str, Any]) -> Iterator[Picture]:
    record = whole["fourier"]
    named = [("small_periods", _small_finding(whole["small_periods_best"]), "Small periods")]
    if record is not None:
        name = f"{record['quantity']}mod{record['period']}"
        last = record["sites"][_LAST_SITE]
        others = last.get("other_waves", {})
        said = _frequencies_finding(f"of {name} at the readout", last["key_frequencies"], others)
        named = [
            (f"fourier_{name}", said, f"Spectrum of {name} at the readout"),
            ("frequencies_by_site", said, "Frequencies by site"),
            ("frequencies_left_out", _planes_finding(whole["planes"]), "Excluded and restricted frequencies"),
            *named,
        ]
    yield from pictures_of(run, "probe", named)


def _small_finding(best: Sequence[dict[str, Any]]) -> str:
    found = [f"{one['quantity']} mod {one['period']} (R2 {one['r2']:.2f})" for one in best if one["found"]]
    others = "".join(
        f"; {one['quantity']} mod {one['period']}: {one['other_wave']}" for one in best if one.get("other_wave")
    )
    return f"Small periods above permuted labels and neighbouring periods: {', '.join(found) or 'none'}{others}."


def _planes_finding(planes: Sequence[dict[str, Any]]) -> str:
    tried = [one for one in planes if one["without_key"] is not None and one["only_key"] is not None]
    if not tried:
        return "There is no key frequency at any site."
    last = tried[-1]
    without, only = (f"{last[name]['exact']:.1%}" for name in ("without_key", "only_key"))
    return (
        f"At {last['site']} {without} of the answers are exact without the key frequencies, {only} with nothing else."
    )


def emergence(run: Run) -> list[Block]:
    """From which step on each variable is readable."""
    if run.emergence is None:
        text = "Not watched in this fit; add the callback EmergenceProbing (configs/emergence.yaml)."
        return [Missing(text, "")]
    states = {one["variable"]: one.get("state", CANNOT_BE_TOLD) for one in run.emergence["variables"] if one["site"]}
    perhaps = [name for name, state in states.items() if state == CANNOT_BE_TOLD]
    emerged = [one for one in run.emergence["variables"] if states.get(one["variable"]) == HOLDS]
    said = ", ".join(f"{one['variable']} at {steps_made(one['step'])}" for one in emerged) or "nothing"
    said += f"; {CANNOT_BE_TOLD} from drift: {', '.join(listed(perhaps))}" if perhaps else ""
    found = stored_picture(
        run.folder / "figures", "emergence_variables", f"Emerged, by steps: {said}.", "Emergence of each variable"
    )
    rows = [(one["variable"], str(steps_made(one["step"])), str(one["site"])) for one in emerged]
    table = Table("What became readable, in order", ("variable", "after steps", "site"), rows)
    return [*([] if found is None else [found]), table]
