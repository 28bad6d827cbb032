r"""A curve that grows while a model trains, as an animated GIF: ``python scripts/live_curve.py RUN_FOLDER``.

Every number is one that the run wrote down: held-out R2 of a target at each site and its null from
``probes/ridge.jsonl``, which has a line a validation, and the validation loss from ``metrics.csv``. A frame is a
validation. The last frame is a PNG beside the GIF. The picture of the README is of two minutes of training:

    arithprobe fit --config configs/reg_modk_circular.yaml --name live --trainer.max_steps 900 \
        --trainer.val_check_interval 20 --trainer.callbacks '[{class_path: RidgeProbing, init_args: {targets:
        [residuemod97cos1, residue, sum], positions: [last], figure_every: 100}}]'
    python scripts/live_curve.py lightning_logs/live/version_0 --target residuemod97cos1 \
        --words "cos(2 pi (x + y) / 97)"
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas
from PIL import Image

from arithprobe.plotting.panels import logarithmic_over
from arithprobe.plotting.r2 import r2_axis, r2_text, within
from arithprobe.plotting.render import Figure, to_png, to_rgb
from arithprobe.plotting.sheets import site_colours
from arithprobe.plotting.style import BLUE, GREY, LABEL, LIGHT, SMALL, TITLE, new_figure, row_lines, tidy, zero_line

SIZE = (7.3, 4.4)  # inches, which are 803 x 484 pixels
FRAME, LAST = 220, 4000  # milliseconds of a frame, and of the last
COLOURS = 128
LOWEST = -0.1


class Growth(NamedTuple):
    """What the run wrote at each of T validations."""

    steps: npt.NDArray[np.int64]
    """(T,) training steps."""
    sites: list[str]
    """The S sites, from the input on."""
    r2: npt.NDArray[np.float64]
    """(T, S) held-out R2 of the sum at the last token."""
    null: npt.NDArray[np.float64]
    """(T,) what 95 % of the fits on permuted labels stay below, at the site where that is most."""
    permutations: int
    """How many fits."""
    rows: int
    """Held-out rows."""
    loss: npt.NDArray[np.float64]
    """(T,) validation loss."""


def growth_of(run: Path, target: str) -> Growth:
    """Read the records of a run.

    Args:
        run: Its folder.
        target: What its ridge probes read.
    """
    lines = [json.loads(line) for line in (run / "probes" / "ridge.jsonl").read_text().splitlines()]
    cells = [[one for one in line["cells"] if (one["target"], one["position"]) == (target, "last")] for line in lines]
    metrics = pandas.read_csv(run / "metrics.csv").dropna(subset=["val/loss"]).groupby("step")["val/loss"].last()
    steps = [line["step"] for line in lines]
    return Growth(
        np.array(steps),
        [one["site"] for one in cells[0]],
        np.array([[one["r2"] for one in some] for some in cells]),
        np.array([max(one["null_high"] for one in some) for some in cells]),
        lines[0]["permutations"],
        round(cells[0][0]["n_test"]),
        metrics.loc[steps].to_numpy(),
    )


def frame(of: Growth, count: int, words: str) -> Figure:
    """The picture after some validations; axes and letters stand where they stand in the last.

    Args:
        of: The records.
        count: How many validations are drawn.
        words: What the probes read.
    """
    figure = new_figure(*SIZE)
    figure.set_layout_engine(None)  # a layout of its own for each frame would make the axes tremble
    figure.subplots_adjust(left=0.155, right=0.79, top=0.89, bottom=0.105, hspace=0.1)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.4, 1])
    steps, colours = of.steps[:count], site_colours(of.sites)
    reach = 1.02 * of.steps[-1]
    above.fill_between([0, reach], LOWEST, np.repeat(of.null[count - 1], 2), color=LIGHT, linewidth=0)
    for site, values in reversed(list(zip(of.sites, of.r2[:count].T, strict=True))):
        above.plot(steps, within(values, LOWEST), "o-", color=colours[site], markersize=3.5, linewidth=1.4, label=site)
    zero_line(above)
    r2_axis(above, "held-out R2", LOWEST)
    above.set_xlim(0, reach)
    below.plot(steps, of.loss[:count], "o-", color=BLUE, markersize=3, linewidth=1.2)
    logarithmic_over(below, of.loss)
    below.set_ylim(0.7 * of.loss.min(), 1.4 * of.loss.max())
    below.set_ylabel("validation loss\n(log)")
    below.set_xlabel("training step")
    for panel in (above, below):
        row_lines(panel)
    for row, (site, value) in enumerate(zip(reversed(of.sites), of.r2[count - 1, ::-1], strict=True)):
        up = 0.95 - 0.115 * row
        above.text(1.02, up, "●", transform=above.transAxes, fontsize=LABEL, color=colours[site])
        above.text(1.05, up, f"{site}  {r2_text(value)}", transform=above.transAxes, fontsize=LABEL)
    null = f"null: 95 % of {of.permutations} fits\non permuted labels,\nat most {r2_text(float(of.null[count - 1]))}"
    above.text(1.02, 0.0, null, transform=above.transAxes, fontsize=SMALL, color=GREY)
    title = f"What does a linear probe read while the model trains? Step {of.steps[count - 1] + 1}"
    where = f"{words} at the last token, by site; {of.rows} held-out rows"
    above.set_title(f"{title}\n{where}", loc="left", fontsize=TITLE)
    tidy(figure)
    return figure


def animate(of: Growth, words: str, path: Path) -> None:
    """Write the frames as a GIF that goes round, with one palette, and the last one as a PNG beside it."""
    pictures = [Image.fromarray(to_rgb(frame(of, count, words))) for count in range(1, len(of.steps) + 1)]
    palette = pictures[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    colours[colours.sum(axis=1) >= 740] = 255  # white stays white
    palette.putpalette(colours.ravel().tolist())
    frames = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    times = [FRAME] * (len(frames) - 1) + [LAST]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0, optimize=True)
    path.with_suffix(".png").write_bytes(to_png(to_rgb(frame(of, len(of.steps), words))))


def main() -> None:
    """Draw the curve of a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="A run folder, such as lightning_logs/live/version_0.")
    parser.add_argument("--target", default="sum", help="What the ridge probes read.")
    parser.add_argument("--words", help="The target in words; by default its name.")
    parser.add_argument("--picture", type=Path, default=Path("docs") / "images" / "live_curve.gif", help="The file.")
    given = parser.parse_args()
    animate(growth_of(given.run, given.target), given.words or given.target, given.picture)


if __name__ == "__main__":
    main()
