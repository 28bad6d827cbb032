"""Which change makes REG-MODK learnable? ``python scripts/minimal_edits.py``.

The notebook's settings with one change at a time, and the recipe that learns (``configs/reg_modk_circular.yaml``) less
one at a time: 1500 steps each, where the line does not say otherwise, one seed, the same 18000 rows. Each is judged on
pairs it was not trained on, in either order, and on sums it was not trained on. Results go to
``lightning_logs/minimal_edits/seed_0``, one by one: the script goes on where it was stopped. At the end it prints the
table of ``docs/recipes.md``.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer, seed_everything

from arithprobe.behaviour import Behaviour, judge_rows
from arithprobe.data.datamodule import ArithmeticDataModule
from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.files import write_whole
from arithprobe.models.objective import Objective
from arithprobe.models.objectives import CircularMSE, ResidueCrossEntropy, ScaledMSE
from arithprobe.training.module import ArithmeticModule

STEPS = 1500
TRAIN_ROWS, HELD_OUT_ROWS = 18_000, 2000
DATA = DataRecipe(task="mod", rows=24_000, split="sum")
OBJECTIVES: dict[str, Objective] = {
    "the notebook's": ScaledMSE(),
    "standardised": ScaledMSE(28.0, 48.0),
    "circle": CircularMSE(97),
    "cross-entropy": ResidueCrossEntropy(97),
}
NOTEBOOK: dict[str, Any] = {"objective": "the notebook's", "batch_size": 128, "steps": STEPS}
SCHEDULE = {"lr": 1e-3, "betas": (0.9, 0.98), "warmup_steps": 200, "schedule": "cosine", "final_lr": 0.0}
EDITS: dict[str, dict[str, Any]] = {
    "target standardised": {"objective": "standardised"},
    "target on the circle": {"objective": "circle"},
    "target by cross-entropy": {"objective": "cross-entropy"},
    "pre-norm": {"norm": "pre"},
    "dropout 0": {"dropout": 0.0},
    "place-value ids": {"positions": "place"},
    "initial embeddings of sd 0.2": {"embedding_sd": 0.2},
    "lr 0.001, betas 0.9 0.98, warm-up, cosine": SCHEDULE,
    "batches of 256": {"batch_size": 256},
}
IN_RECIPE = [name for name in EDITS if name not in ("target standardised", "target by cross-entropy")]


class Variant(NamedTuple):
    """One line of the table."""

    name: str
    """What it says."""
    options: dict[str, Any]
    """Options of the module, with ``objective`` by name, ``batch_size`` and ``steps``."""


def variants() -> list[Variant]:
    """The notebook's, with one change each; then the recipe, less one change each."""
    recipe: dict[str, Any] = dict(NOTEBOOK)
    for name in IN_RECIPE:
        recipe |= EDITS[name]
    found = [Variant("the notebook's settings", NOTEBOOK)]
    found += [Variant(f"the notebook's + {name}", NOTEBOOK | edit) for name, edit in EDITS.items()]
    found += [Variant(f"the notebook's + {4 * STEPS} steps", NOTEBOOK | {"steps": 4 * STEPS})]
    found += [Variant("the recipe (all of them, target on the circle)", recipe)]
    for name in IN_RECIPE:
        less = {key: value for key, value in recipe.items() if key not in EDITS[name]}
        found.append(
            Variant(f"the recipe - {name}", less | {key: NOTEBOOK[key] for key in EDITS[name] if key in NOTEBOOK})
        )
    found.append(Variant("the recipe, target by cross-entropy", recipe | EDITS["target by cross-entropy"]))
    return found


def held_out_files(folder: Path) -> dict[str, Path]:
    """Three files: rows to train on; pairs that are not among them, of sums that are; sums that are not among them."""
    parts = sample(DATA)
    problems = {part: parts[part].problems(DATA) for part in ("train", "val")}
    train, others = problems["train"][:TRAIN_ROWS], problems["train"][TRAIN_ROWS:]
    seen = {frozenset((problem.x, problem.y)) for problem in train}
    pairs = [problem for problem in others if frozenset((problem.x, problem.y)) not in seen][:HELD_OUT_ROWS]
    found = {"train": train, "pairs": pairs, "sums": problems["val"][:HELD_OUT_ROWS]}
    return {name: write_tsv(folder / f"minimal_edits_{name}.tsv", rows) for name, rows in found.items()}


def trained(options: dict[str, Any], files: dict[str, Path], seed: int) -> ArithmeticModule:
    """The module, after its steps."""
    seed_everything(seed, verbose=False)
    options = dict(options)
    steps, batch_size = options.pop("steps"), options.pop("batch_size")
    objective = OBJECTIVES[options.pop("objective")]
    data = ArithmeticDataModule(str(files["train"]), str(files["sums"]), batch_size=batch_size, recipe=DATA)
    module = ArithmeticModule(objective=objective, **options)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(module, datamodule=data)
    return module.eval()


@torch.no_grad()
def judged(module: ArithmeticModule, rows: ArithmeticDataset) -> Behaviour:
    """How well it answers these rows."""
    predictions = module(rows.ids.long(), rows.lengths)
    constant = rows.constant(module.train_mean)
    group, residues = rows.group(rows.answer), module.objective.residues
    return judge_rows(predictions, rows.answers, constant, rows.modulus, residues=residues, group=group)


def table(results: list[dict[str, Any]]) -> str:
    """The table, in Markdown."""
    lines = [
        "| settings | exact, held-out pairs | exact, held-out sums | off round the circle, sums | verdict on sums |"
    ]
    lines += ["|---|---|---|---|---|"]
    for found in results:
        exact = " | ".join(f"{found[rows]['exact_match']:.1%}" for rows in ("pairs", "sums"))
        sums = found["sums"]
        lines.append(f"| {found['name']} | {exact} | {sums['circular_error']:.2f} | {sums['verdict']} |")
    return "\n".join(lines)


def measure(number: int, variant: Variant, files: dict[str, Path], seed: int, folder: Path) -> str:
    """Train one, write what came out, and say it in a line."""
    start = time.perf_counter()
    module = trained(variant.options, files, seed)
    found: dict[str, Any] = {
        name: vars(judged(module, ArithmeticDataset.from_tsv(files[name]))) for name in ("pairs", "sums")
    }
    found |= {"name": variant.name, "seconds": time.perf_counter() - start}
    write_whole(folder / f"{number:02}.json", json.dumps(found, indent=1))
    return f"{variant.name}: {found['pairs']['exact_match']:.1%}, {found['sums']['exact_match']:.1%}"


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="Of initialisation, data order and dropout.")
    parser.add_argument("--jobs", type=int, default=1, help="Runs side by side; set OMP_NUM_THREADS to their share.")
    given = parser.parse_args()
    folder = Path("lightning_logs") / "minimal_edits" / f"seed_{given.seed}"
    files = held_out_files(folder)
    missing = [pair for pair in enumerate(variants()) if not (folder / f"{pair[0]:02}.json").exists()]
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        done = [pool.submit(measure, number, variant, files, given.seed, folder) for number, variant in missing]
        for future in as_completed(done):
            print(future.result(), flush=True)
    print(table([json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]))


if __name__ == "__main__":
    main()
