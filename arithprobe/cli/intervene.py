"""``arithprobe intervene``: what a checkpoint loses when what is decodable is taken out of its forward pass."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arithprobe.analysis.intervene.options import InterveneOptions
from arithprobe.cli.options import checkpoint_command, output_file, rows_and_model, steps
from arithprobe.cli.output import picture_folder, replace_pictures
from arithprobe.errors import OtherCheckpointWarning
from arithprobe.files import require_writable, to_json, write_whole

if TYPE_CHECKING:
    from arithprobe.analysis.intervene.run import InterventionReport
    from arithprobe.plotting.render import Figure

_PICTURES = "decodable_against_used|ablation_against_random|steering|patching|interchange|symmetry"


def run(words: Sequence[str] | None) -> None:
    """Intervene, print, write ``ledger.json``, ``intervene.json``, the erasers and the figures.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given, options = checkpoint_command(
        "intervene",
        "Take what a probe reads out of a checkpoint's forward pass, swap it between problems and move it, and score "
        "the model's own answers, beside random subspaces.",
        InterveneOptions,
        words,
    )
    path = output_file(given.output_dir, "ledger.json")
    rest = output_file(given.output_dir, "intervene.json")
    figures, frozen = picture_folder(path.parent / "figures", _PICTURES), path.parent / "erasers"
    require_writable(frozen)

    from arithprobe.analysis.intervene.record import ledger_records, record_of
    from arithprobe.analysis.intervene.run import intervene, step_count  # imports PyTorch
    from arithprobe.cli.intervene_table import print_report

    dataset, loaded = rows_and_model(given)
    with warnings.catch_warnings(record=True) as warned, steps(step_count(options)) as progress:
        warnings.simplefilter("always", OtherCheckpointWarning)
        report = intervene(loaded, dataset, options, progress)
    for warning in warned:
        sys.stderr.write(f"arithprobe: warning: {warning.message}\n")
    pictures, ledger = _draw(report), to_json(ledger_records(report))
    drawn = _write(report, figures, frozen, pictures)
    write_whole(path, ledger + "\n")
    write_whole(rest, to_json(record_of(report, options)) + "\n")
    print_report(report, [path, rest, *drawn])


def _write(report: "InterventionReport", figures: Path, frozen: Path, pictures: "dict[str, Figure]") -> list[Path]:
    """The pictures and the erasers; those of an earlier run into the same folder are replaced or removed."""
    drawn = replace_pictures(figures, _PICTURES, pictures)
    names = {
        f"{one.site}@{row.position}.{one.target}.{one.kind}.pt": one
        for row, one in zip(report.ledger, report.erasers, strict=True)
    }
    for old in frozen.glob("*@*.pt"):
        if old.name not in names and old.is_file():
            old.unlink()
    for name, eraser in names.items():
        eraser.save(frozen / name)
    return drawn


def _draw(report: "InterventionReport") -> "dict[str, Figure]":
    """Every figure there is something for, by name."""
    from arithprobe.plotting.ablations import ablation_against_random
    from arithprobe.plotting.ledger import decodable_against_used
    from arithprobe.plotting.patching import interchange_chart, patching_heatmap, symmetry_chart
    from arithprobe.plotting.steering import steering_curves

    rows, behaviour = report.ledger, report.behaviour
    kind = "mean" if rows[0].effect("mean") is not None else rows[0].effects[0].kind
    figures = {
        "decodable_against_used": decodable_against_used(rows, behaviour, kind),
        "ablation_against_random": ablation_against_random(rows, behaviour, kind),
    }
    curves = list({id(row.steering): row.steering for row in rows if row.steering is not None}.values())
    if curves:
        figures["steering"] = steering_curves(curves, behaviour)
    if report.patching is not None:
        figures["patching"] = patching_heatmap(report.patching, behaviour)
    if report.variables:
        figures["interchange"] = interchange_chart(report.variables, behaviour)
    if report.symmetry:
        figures["symmetry"] = symmetry_chart(report.symmetry, behaviour)
    return figures
