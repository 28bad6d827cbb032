"""Speed claims, side by side in one run: ``python scripts/benchmark.py [--only NAME] [--json FILE]``.

Machines are shared and noisy, so a number is a ratio to something timed in the same run, with the same threads: the
median of runs that take turns. Each case is a record: ``name, ours_s, other_s, ratio, target, met``; ``threads`` is a
table of its own, of how threads wait.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import torch
from benchmark_case import Case, Side, untrained_on_rows
from benchmark_heads import head_cases
from benchmark_start import start_cases
from benchmark_threads import threads_table
from sklearn.linear_model import RidgeCV
from torch import nn

from arithprobe.data.dataset import ArithmeticDataset
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv
from arithprobe.interventions.bench import Bench
from arithprobe.linalg import random_subspaces
from arithprobe.models.hooks import edit
from arithprobe.probes.mlp import MLPSettings, fit_ensemble
from arithprobe.probes.moments import ALPHAS
from arithprobe.probes.parallel import in_threads
from arithprobe.probes.ridge import RidgeFitter
from arithprobe.tokenizer import VOCABULARY

_PAUSE = 0.2  # seconds after each run, in which its threads stop spinning


def load_cases() -> Iterator[Case]:
    """Reading, checking and encoding a TSV of a million rows."""
    rows = 1_000_000
    recipe = DataRecipe(task="mod", rows=rows + 1, val_fraction=1 / (rows + 1))
    with tempfile.TemporaryDirectory() as folder:
        path = write_tsv(Path(folder) / "rows.tsv", sample(recipe)["train"].problems(recipe))

        def ours() -> object:
            return ArithmeticDataset.from_tsv(path)

        def parse_only() -> object:
            return pandas.read_csv(path, sep="\t", header=None)

        yield Case("load_pandas", "a million rows read, checked, encoded; pandas: parsed", ours, parse_only, 0.25, 3)
        yield Case("load_loop", "the same; a Python loop, one tensor a row", ours, lambda: _loop(path), 5, 1)


def _loop(path: Path) -> list[tuple[torch.Tensor, float]]:
    """The original notebook's way."""
    ids = {character: number for number, character in enumerate(VOCABULARY, start=1)}
    rows = []
    with path.open() as file:
        for line in file:
            text, answer = line.rstrip("\n").split("\t")
            rows.append((torch.tensor([ids[character] for character in text], dtype=torch.long), float(answer)))
    return rows


def ridge_cases() -> Iterator[Case]:
    """2000 examples x 39 cells x 128 dimensions x 25 targets x 21 alphas x 5 folds, from states to held-out errors."""
    generator = torch.Generator().manual_seed(0)
    n, cells, d, targets, folds = 2000, 39, 128, 25, 5
    states = torch.randn(n, cells, d, generator=generator)
    labels = torch.randn(n, targets, generator=generator, dtype=torch.float64)
    labels[:, :10] += states[:, 0, :10]
    fold = torch.arange(n) % folds

    def ours() -> object:
        return RidgeFitter(cells, d, targets, folds).update(states, labels, fold).score(ALPHAS)

    def ridge_cv() -> object:
        errors = np.zeros((cells, targets))
        y, of = labels.numpy(), fold.numpy()
        for cell in range(cells):
            x = states[:, cell].double().numpy()
            for index in range(folds):
                train, test = of != index, of == index
                model = RidgeCV(ALPHAS, alpha_per_target=True).fit(x[train], y[train])
                errors[cell] += np.square(y[test] - model.predict(x[test])).sum(axis=0)
        return errors

    def floor() -> object:
        """One Gram product a cell and fold, and one factorisation; each on one thread, the threads side by side."""
        arrays, of = states.numpy(), [np.flatnonzero(fold.numpy() == index) for index in range(folds)]

        def factorise(cell: int) -> object:
            parts = [arrays[rows, cell].astype(np.float64) for rows in of]
            grams = np.stack([part.T @ part for part in parts])
            return np.linalg.eigh(grams.sum(axis=0) - grams)

        return in_threads(factorise, range(cells))

    yield Case("ridge", "ridge probes, all cells; a loop of scikit-learn's RidgeCV", ours, ridge_cv, 25, 5)
    yield Case("ridge_floor", "the same; Gram products and one factorisation a cell and fold", ours, floor, 0.5, 9)


def mlp_cases() -> Iterator[Case]:
    """40 MLP probes of one site (D 128, 128 hidden units, 1400 training rows, 20 epochs): at once, and one by one.

    Both do the same job: standardise, AdamW in batches of 128, the loss on 200 stop rows and the best weights kept
    after every epoch; nobody stops early.
    """
    for name, n_classes in (("mlp", None), ("mlp_classes", 97)):
        together, one_by_one = _mlp_sides(n_classes)
        kind = "regression" if n_classes is None else "97 classes"
        yield Case(name, f"40 MLP probes at once, {kind}; one after another", together, one_by_one, 5, 3)


def _mlp_sides(n_classes: int | None) -> tuple[Side, Side]:
    generator = torch.Generator().manual_seed(0)
    states, site = torch.randn(1, 1600, 128, generator=generator), torch.zeros(40, dtype=torch.int64)
    labels = states[site, :, 0] + torch.randn(40, 1600, generator=generator, dtype=torch.float64)
    if n_classes is not None:
        labels = torch.randint(n_classes, (40, 1600), generator=generator)
    train, settings = torch.arange(1600) < 1400, MLPSettings(max_epochs=20, patience=20)

    def together() -> object:
        return fit_ensemble(states, site, labels, n_classes, train, ~train, settings)

    def one_by_one() -> object:
        mean, scale = states[0, train].mean(dim=0), states[0, train].std(dim=0, correction=0)
        return [_plain_mlp((states[0] - mean) / scale, one, n_classes, train, settings) for one in labels]

    return together, one_by_one


def _plain_mlp(
    x: torch.Tensor, labels: torch.Tensor, n_classes: int | None, train: torch.Tensor, settings: MLPSettings
) -> dict[str, torch.Tensor]:
    """The best weights of one probe, the ordinary way."""
    y = labels
    if n_classes is None:
        y = ((labels - labels[train].mean()) / labels[train].std(correction=0)).float()[:, None]
    loss_of = nn.functional.mse_loss if n_classes is None else nn.functional.cross_entropy
    generator = torch.Generator().manual_seed(settings.seed)
    net = nn.Sequential(nn.Linear(x.shape[1], settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, n_classes or 1))
    optimiser = torch.optim.AdamW(net.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    x_train, y_train, x_stop, y_stop = x[train], y[train], x[~train], y[~train]
    best, kept = float("inf"), dict(net.state_dict())
    for _ in range(settings.max_epochs):
        order = torch.randperm(len(x_train), generator=generator)
        for rows in torch.split(order, settings.batch_size):
            optimiser.zero_grad()
            torch.autograd.backward(loss_of(net(x_train[rows]), y_train[rows]))
            optimiser.step()
        with torch.no_grad():
            loss = loss_of(net(x_stop), y_stop).item()
        if loss < best:
            best, kept = loss, {name: weight.clone() for name, weight in net.state_dict().items()}
    return kept


def ablation_cases() -> Iterator[Case]:
    """200 random directions x 6 residual sites on 2000 examples: a forward pass for each, and the rest of one."""
    model, objective, rows = untrained_on_rows()
    n = len(rows)
    generator = np.random.default_rng(0)
    directions = torch.from_numpy(random_subspaces(model.d_model, 1, 200, generator)).float()

    def rest_only(position: str) -> object:
        bench = Bench(model, objective, rows, 999.0, torch.arange(n))
        table = bench.held.at(rows.positions([position]))
        basis = directions[:, None].expand(-1, len(table.names), -1, -1)
        for site in model.residual_sites:
            fitter = RidgeFitter(len(table.names), model.d_model, 1, 2)
            fitter.update(bench.held.cells(site, table), rows.answers[:, None], torch.arange(n) % 2, table.valid)
            bench.cell(site, position, fitter.moments()[0]).without("zero", basis, basis)
        return bench

    def whole_passes(position: str) -> object:
        ids, lengths, found = rows.ids.long(), rows.lengths, []
        for site in model.residual_sites:
            for basis in directions:
                for part in torch.split(torch.arange(n), 250):
                    only_last = lengths[part] - 1 if position == "last" else None
                    with torch.no_grad(), edit(model, site, partial(_without, basis), only_last):
                        found.append(model(ids[part], lengths[part]))
        return found

    for position in ("last", "all"):
        yield Case(
            f"ablation_{position}",
            f"200 random directions x 6 sites x 2000 rows at {position}; edited forward passes",
            partial(rest_only, position),
            partial(whole_passes, position),
            3,
            1,
        )


def _without(basis: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    return states - states @ basis @ basis.T


GROUPS = {
    "load_pandas": load_cases,
    "load_loop": load_cases,
    "ridge": ridge_cases,
    "ridge_floor": ridge_cases,
    "mlp": mlp_cases,
    "mlp_classes": mlp_cases,
    "ablation_last": ablation_cases,
    "ablation_all": ablation_cases,
    "heads": head_cases,
    "heads_ablation": head_cases,
    "start": start_cases,
}
"""Where each case comes from."""


def measure(case: Case) -> dict[str, str | float | bool]:
    """Both sides in turn; the median of each."""
    times: dict[str, list[float]] = {"ours": [], "other": []}
    for _ in range(case.repeats):
        for name, side in (("ours", case.ours), ("other", case.other)):
            start = time.perf_counter()
            side()
            times[name].append(time.perf_counter() - start)
            time.sleep(_PAUSE)
    ours, other = (float(np.median(times[name])) for name in ("ours", "other"))
    return {
        "name": case.name,
        "ours_s": ours,
        "other_s": other,
        "ratio": other / ours,
        "target": case.target,
        "met": other / ours >= case.target,
    }


def main() -> None:
    """Run one case or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=[*GROUPS, "threads"], help="one case; all by default")
    parser.add_argument("--json", type=Path, help="write the records to a file")
    arguments = parser.parse_args()
    sys.stdout.write(f"{torch.get_num_threads()} threads; ratio = other / ours\n")
    records: list[dict[str, Any]] = []
    for group in dict.fromkeys(GROUPS.values()):
        if arguments.only is not None and GROUPS.get(arguments.only) is not group:
            continue
        for case in group():
            if arguments.only not in (None, case.name):
                continue
            record = measure(case)
            records.append(record)
            sys.stdout.write(
                f"{case.name:<14} ours {record['ours_s']:7.3f} s  other {record['other_s']:7.3f} s  "
                f"ratio {record['ratio']:6.2f} (target {case.target:.3g}: {'met' if record['met'] else 'MISSED'})  "
                f"{case.what}\n"
            )
            sys.stdout.flush()
    if arguments.only in (None, "threads"):
        records += threads_table()
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    main()
