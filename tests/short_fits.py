"""Short fits that several tests look at: their data, their words, and a command called in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

from conftest import SMALL, lightning_writes_to

from arithprobe import cli
from arithprobe.data.sampling import DataRecipe, sample
from arithprobe.data.tsv import write_tsv

SUMS = {"rows": 500, "split": "sum", "val_fraction": 0.3, "max_operand": 120}


def files_in(folder, **options):
    """500 problems, by default those of the fixture ``small_data``."""
    recipe = DataRecipe(**SUMS | options)
    return {
        part: write_tsv(folder / f"{part}.tsv", problems.problems(recipe)) for part, problems in sample(recipe).items()
    }


def fit_words(files, folder):
    """Words of a fit that takes half a second, without callbacks of its own."""
    return [
        "fit",
        *("--data.train_file", files["train"], "--data.val_file", files["val"]),
        *("--data.recipe.split", "sum", "--data.batch_size", 32),
        *(word for name, value in SMALL.items() for word in (f"--model.{name}", value)),
        *("--trainer.max_epochs", 2, "--trainer.default_root_dir", folder, "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", 1),
    ]


def command(*words):
    """Exit code, stdout and stderr, as by the fixture ``run``; for fixtures that outlive a test."""
    with (
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
        mock.patch.object(sys, "argv", ["arithprobe"]),
    ):
        lightning_writes_to(sys.stderr)
        code = cli.main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def run_of(folder):
    """The folder of the one run in a folder."""
    (found,) = (folder / "lightning_logs" / "run").iterdir()
    return found
