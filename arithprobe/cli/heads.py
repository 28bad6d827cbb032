"""``arithprobe heads``: what the attention heads of a checkpoint look at, and what they do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arithprobe.analysis.heads.options import HeadOptions
from arithprobe.cli.options import checkpoint_command, output_file, rows_and_model, steps
from arithprobe.cli.output import picture_folder, replace_pictures
from arithprobe.files import to_json, write_whole

if TYPE_CHECKING:
    from arithprobe.analysis.heads.run import HeadReport
    from arithprobe.plotting.render import Figure

_PICTURES = r"head_(ablation|categories|effects|patching|roles|scores|sweeps)|attention_\d+|roles_layer\d+"


def run(words: Sequence[str] | None) -> None:
    """Read the heads, ablate them, print, write ``head_stats.json`` and the figures.

    Raises:
        ArithprobeError: For any mistake of the user.
    """
    given, options = checkpoint_command(
        "heads",
        "What the attention heads of a checkpoint look at, beside uniform attention and untrained networks, and what "
        "the model's own answers lose without each of them.",
        HeadOptions,
        words,
    )
    path = output_file(given.output_dir, "head_stats.json")
    figures = picture_folder(path.parent / "figures", _PICTURES)

    from arithprobe.analysis.heads.record import record_of
    from arithprobe.analysis.heads.run import analyse_heads, step_count  # imports PyTorch
    from arithprobe.cli.heads_table import print_report

    dataset, loaded = rows_and_model(given)
    with steps(step_count(options)) as progress:
        report = analyse_heads(loaded, dataset, options, progress)
    drawn = replace_pictures(figures, _PICTURES, _draw(report))
    write_whole(path, to_json(record_of(report, options)) + "\n")
    print_report(report, [path, *drawn])


def _draw(report: "HeadReport") -> "dict[str, Figure]":
    """Every figure there is something for, by name."""
    from arithprobe.plotting.attention import attention_maps, last_token_roles, role_grid, role_sweeps
    from arithprobe.plotting.head_effects import ablation_bars, mass_against_effect, patching_grid
    from arithprobe.plotting.heads import category_bars, head_scores

    statistics, behaviour, causal = report.statistics, report.behaviour, report.causal
    main, direct = None, None
    if causal is not None:
        main, direct = causal.main, causal.direct.of_heads(*report.copying.shape)
    figures = {
        "head_categories": category_bars(statistics, behaviour),
        "head_roles": last_token_roles(statistics, behaviour),
        "head_scores": head_scores(statistics, report.copying, main, direct, behaviour),
        "head_sweeps": role_sweeps(statistics, behaviour),
    }
    for layer in range(len(report.copying)):
        figures[f"roles_layer{layer}"] = role_grid(statistics, layer, behaviour)
    for one in report.samples:
        figures[f"attention_{one.row}"] = attention_maps(one.text, one.patterns, one.row, behaviour)
    if causal is not None:
        figures["head_ablation"] = ablation_bars(causal.ablations, behaviour)
        figures["head_effects"] = mass_against_effect(causal.agreements, causal.main, behaviour)
        if causal.patching is not None:
            figures["head_patching"] = patching_grid(causal.patching, behaviour)
    return figures
