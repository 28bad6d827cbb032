"""The notebook's question, put to four models: ``python scripts/four_models.py``.

REG-SUM and REG-MODK as in the notebook, and the two recipes that learn REG-MODK, with all their seeds; for comparison a
network that was never trained. Each is probed, climbed and reproduced on the notebook's validation rows by ``arithprobe
probe`` and ``arithprobe reproduce``; results go to ``lightning_logs/four_models``, and a model that is done is not run
again. At the end it prints the tables of ``docs/inside.md``, and with ``--picture`` draws all ladders.

It needs the checkpoints of ``arithprobe fit --config configs/reg_sum.yaml``, those of ``python
scripts/train_recipes.py``, and of two more runs of the residue recipe, ``arithprobe fit --config
configs/reg_modk_residue.yaml --config configs/emergence.yaml --seed_everything 0 --name emergence/residue_0`` and the
same for 1: where a fit validates more often it draws other numbers, so its data come in another order.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from arithprobe.analysis.forward import random_init_twin
from arithprobe.analysis.ladder.record import state_of_step, what_stops
from arithprobe.models.checkpoints import load_model
from arithprobe.plotting.ladder import ladder_chart
from arithprobe.plotting.render import to_png, to_rgb, to_svg

RECIPES = Path("lightning_logs") / "recipes"
UNTRAINED = "residue, untrained"
MODELS = {
    "REG-SUM": ("reg_sum", "REG-SUM", "best"),
    "REG-MODK": ("recipes/reg_modk/seed_0", "REG-MODK", "last"),
    "circular 0": ("recipes/reg_modk_circular/seed_0", "REG-MODK", "last"),
    "circular 1": ("recipes/reg_modk_circular/seed_1", "REG-MODK", "last"),
    "circular 2": ("recipes/reg_modk_circular/seed_2", "REG-MODK", "last"),
    "residue 0": ("recipes/reg_modk_residue/seed_0", "REG-MODK", "last"),
    "residue 1": ("recipes/reg_modk_residue/seed_1", "REG-MODK", "last"),
    "residue 0 again": ("emergence/residue_0", "REG-MODK", "last"),
    "residue 1 again": ("emergence/residue_1", "REG-MODK", "last"),
    UNTRAINED: ("recipes/reg_modk_residue/seed_0", "REG-MODK", "last"),
}
"""Name, run folder under lightning_logs, task, checkpoint."""


class Model(NamedTuple):
    """One of them, with what was found."""

    name: str
    """Its name in the tables."""
    ladder: dict[str, Any]
    """``ladder.json``."""
    probe: dict[str, Any]
    """``probe.json``."""
    reproduction: dict[str, Any]
    """``reproduction.json``."""


def examined(name: str, folder: Path) -> Model:
    """Probe and reproduce one, unless that is done."""
    run, task, which = MODELS[name]
    out = folder / name.replace(", ", "_").replace(" ", "_")
    if not (out / "ladder.json").exists() or not (out / "reproduction.json").exists():
        found = sorted(Path("lightning_logs", run).glob(f"version_*/checkpoints/{which}.ckpt"))
        if not found:
            raise SystemExit(f"{name}: no {which}.ckpt under lightning_logs/{run}; train it first")
        checkpoint = found[-1]
        if name == UNTRAINED:
            checkpoint = _untrained(checkpoint, out / "untrained.ckpt")
        common = ["--checkpoint", str(checkpoint), "--output_dir", str(out)]
        _arithprobe(["probe", *common, "--data", f"data/{task}_val.tsv", "--no_mlp"], out)
        _arithprobe(["reproduce", *common, "--val", f"data/{task}_val.tsv", "--task", task], out)
    read = (json.loads((out / f"{file}.json").read_text()) for file in ("ladder", "probe", "reproduction"))
    return Model(name, *read)


def _untrained(checkpoint: Path, path: Path) -> Path:
    """The checkpoint, with the weights of a network of its architecture that was never trained."""
    content = torch.load(checkpoint, weights_only=True)
    twin = random_init_twin(load_model(checkpoint), 7).model.state_dict()
    content["state_dict"] = {f"model.{key}": value for key, value in twin.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def _arithprobe(words: list[str], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "log.txt").open("a") as log:
        code = subprocess.run([sys.executable, "-m", "arithprobe", *words], stdout=log, check=False).returncode
    if code:
        raise SystemExit(f"arithprobe {' '.join(words)}: exit code {code}")


def ladder_table(models: list[Model]) -> Iterator[str]:
    """A line for each model and claim."""
    yield "| model | verdict, exact | claim | rung | at | R2 | shuffled | untrained | without it | stopped by |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for one in models:
        behaviour = one.ladder["behaviour"]
        for claim in one.ladder["claims"]:
            site = next(each for each in claim["sites"] if each["site"] == claim["site"])
            causal = site["causal"]
            without = "-" if causal is None else f"skill {causal['skill']:.2f}, {causal['exact']:.1%}"
            read = site["read"]
            name = claim["variable"]
            name += f", f = {_listed(site['frequencies'])}" if site["frequencies"] else ""
            where = claim["site"] + (" ~" if causal is not None and causal["only_head_remains"] else "")
            yield _row(
                one.name,
                f"{behaviour['verdict']}, {behaviour['exact_match']:.1%}",
                name,
                f"**{claim['rung']}**",
                where,
                *(f"{read[key]:.3f}" for key in ("r2", "null_high", "untrained")),
                without,
                what_stops(claim["stopped_by"])[0] if claim["stopped_by"] else "-",
            )


def site_table(models: list[Model]) -> Iterator[str]:
    """A line for each model and site at which the residue was intervened on."""
    yield (
        "| model | site | key frequencies | planes taken out | R2 of the best | exact without them | skill | random, "
        "outside, shuffled: skill lost | the same: points of exact answers | only them: exact | slope | swapped |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for one in models:
        keys = {plane["site"]: plane["key"] for plane in one.probe["planes"]}
        for claim in one.ladder["claims"]:
            for site in claim["sites"] if claim["variable"] == "residue" else []:
                causal = site["causal"]
                if causal is None:
                    continue
                lost = ", ".join(_percent(each["skill_lost"]) for each in causal["random"])
                exact = ", ".join(_points(each["exact_lost"]) for each in causal["random"])
                slope, swap = causal["steering"]["slope"], causal["interchange"]["recovered"]["fraction"]
                yield _row(
                    one.name,
                    site["site"],
                    _listed(keys[site["site"]]),
                    _listed(site["frequencies"]),
                    f"{site['read']['r2']:.3f}",
                    f"{causal['intact_exact']:.1%} -> {causal['exact']:.1%}",
                    f"{causal['skill']:.3f}",
                    lost,
                    exact,
                    f"{causal['kept_exact']:.1%}",
                    f"{slope['fraction']:.3f} [{slope['low']:.3f}, {slope['high']:.3f}]",
                    f"{swap:.3f}",
                )


def frequency_table(models: list[Model]) -> Iterator[str]:
    """A line for each model and site that has key frequencies: what they are, and what their planes do."""
    yield (
        "| model | site | key frequencies, held-out R2 | Gini | carried by | rank | exact without them | without as "
        "many random dimensions | of shuffled labels | only them |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for one in models:
        sites = (one.probe["fourier"] or {"sites": {}})["sites"]
        for plane in one.probe["planes"]:
            if not plane["key"]:
                continue
            r2 = {each["frequency"]: each["r2"] for each in sites[plane["site"]]["frequencies"]}
            random, shuffled = (_mean_exact(plane[name]) for name in ("without_random", "without_shuffled"))
            yield _row(
                one.name,
                plane["site"],
                ", ".join(f"{n}: {r2[n]:.2f}" for n in sorted(plane["key"])),
                f"{plane['gini']:.2f}",
                f"{1 / plane['participation']:.1f}",
                str(plane["rank"]),
                f"{plane['without_key']['exact']:.1%}",
                random,
                shuffled,
                f"{plane['only_key']['exact']:.1%}",
            )


def _mean_exact(draws: list[dict[str, float]]) -> str:
    return f"{sum(one['exact'] for one in draws) / len(draws):.1%}"


def notebook_table(models: list[Model]) -> Iterator[str]:
    """The notebook's own numbers: by its protocol, held out, and of untrained networks by its protocol."""
    rows = {
        "sum, pooled R2": ("pooled_r2",),
        "sum, one direction removed: refitted MSE rises": ("delta_mse",),
        "Fourier, mean R2 of 12 frequencies": ("fourier_r2_curve", 11, "r2"),
        "residue, ridge R2 of the number": ("ridge_r2_numeric_residue",),
        "residue, MLP accuracy": ("mlp_cls_accuracy_residue",),
    }
    yield f"| the notebook's number | {' | '.join(one.name for one in models)} |"
    yield f"|---{'|---' * len(models)}|"
    for title, path in rows.items():
        cells = []
        for one in models:
            found = [
                _under(one.reproduction[column], path) for column in ("notebook_protocol", "held_out", "random_init")
            ]
            cells.append(
                "-" if found[0] is None else " / ".join("-" if each is None else f"{each:.3g}" for each in found)
            )
        yield f"| {title} | {' | '.join(cells)} |"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _under(value: Any, path: tuple[str | int, ...]) -> float | None:
    for step in path:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    return value if isinstance(value, float) else None


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def main() -> None:
    """Examine what is not examined yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS), help="Which.")
    parser.add_argument("--picture", type=Path, help="Also draw all ladders, to this PNG file, and an SVG beside it.")
    given = parser.parse_args()
    models = [examined(name, Path("lightning_logs") / "four_models") for name in given.models]
    for table in (ladder_table, site_table, frequency_table, notebook_table):
        print("\n".join(table(models)), end="\n\n")
    if given.picture is not None:
        lines = [
            (
                f"{one.name}: {claim['variable']} at {claim['site']}",
                [(each["rung"], state_of_step(each), each["figure"]) for each in claim["evidence"]],
            )
            for one in models
            for claim in one.ladder["claims"]
        ]
        figure = ladder_chart(lines, models[0].ladder["rungs"][1:], None)
        given.picture.write_bytes(to_png(to_rgb(figure)))
        given.picture.with_suffix(".svg").write_text(to_svg(figure))


if __name__ == "__main__":
    main()
