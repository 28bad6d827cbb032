"""The Lightning data module: TSV files in, batches out."""

import warnings
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from torch.utils.data import DataLoader, Dataset

from arithprobe.data.dataset import ArithmeticDataset, Batch, batches
from arithprobe.data.problem_rows import ProblemRows
from arithprobe.data.sampling import DataRecipe, Part, sample, split_group
from arithprobe.data.tsv import format_tsv, parse_tsv, read_tsv
from arithprobe.errors import ArithprobeError, SharedRowsWarning, require_at_least
from arithprobe.files import write_whole
from arithprobe.limits import require_within
from arithprobe.problems.rows import Rows


class ArithmeticDataModule(LightningDataModule):
    """Arithmetic problems from TSV files.

    The files are read, checked and encoded once. If a file of the recipe's own name is missing
    (``data/REG-SUM_train.tsv`` for the default recipe), it is made from the recipe; any other missing file is an
    error.

    Args:
        train_file: Training rows, ``problem<TAB>answer``; the recipe's file by default.
        val_file: Validation rows; the recipe's file by default.
        test_file: Test rows, for ``test``; none by default.
        batch_size: Rows a batch.
        recipe: What the data is: its task, its split, and how to make it. Files of another task, and parts that share
            what the split mode keeps apart, are refused; under ``split: pair`` shared rows are only counted.
        data_dir: Where the recipe's own files stand.

    Raises:
        ArithprobeError: In ``prepare_data`` and ``setup``, if a file is wrong; the text names file and line.
    """

    def __init__(
        self,
        train_file: str | None = None,
        val_file: str | None = None,
        test_file: str | None = None,
        batch_size: int = 128,
        recipe: DataRecipe = DataRecipe(),  # noqa: B008 (frozen)
        data_dir: str = "data",
    ) -> None:
        super().__init__()
        require_at_least("", batch_size=(batch_size, 1))
        require_within("", batch_size=batch_size)
        self.batch_size = batch_size
        self.recipe = recipe
        self.data_dir = Path(data_dir)
        self.files: dict[Part, Path | None] = {
            "train": Path(train_file) if train_file else self._made("train"),
            "val": Path(val_file) if val_file else self._made("val"),
            "test": Path(test_file) if test_file else self._made("test") if recipe.test_fraction else None,
        }
        self._loaded: dict[Part, ArithmeticDataset] = {}

    def prepare_data(self) -> None:
        """Make the recipe's own files if they are missing; a ``fast_dev_run`` writes nothing."""
        if getattr(self.trainer, "fast_dev_run", False):
            return
        stage = "fit" if self.trainer is None or self.trainer.state.fn is None else self.trainer.state.fn.value
        for part in parts_of(stage):
            if self._is_to_be_made(part):
                write_whole(self._made(part), self._content(part))

    def setup(self, stage: str) -> None:
        """Read and check the files that a stage needs."""
        datasets = [self.dataset(part) for part in parts_of(stage)]
        if stage == "fit":
            self._check_overlap(*datasets)

    def dataset(self, part: Part) -> ArithmeticDataset:
        """The rows of a part, read at the first call; a missing file of the recipe is drawn, but not written.

        Raises:
            ArithprobeError: If the file is missing, is wrong, or has another task than the recipe.
        """
        if part not in self._loaded:
            path = self.files[part]
            if path is None:
                why = "and the recipe keeps no rows for test (test_fraction is 0)"
                raise ArithprobeError(f"there is no test file, {why}; pass --data.test_file FILE")
            table = parse_tsv(self._content(part).encode(), path) if self._is_to_be_made(part) else read_tsv(path)
            dataset = ArithmeticDataset(table)
            expected = self.recipe.divisor
            if dataset.modulus != expected:
                raise ArithprobeError(
                    f"{path}: holds {_task(dataset.modulus)}, expected {_task(expected)}; "
                    f"pass the right file or {_options(dataset.modulus)}"
                )
            self._loaded[part] = dataset
        return self._loaded[part]

    @property
    def task(self) -> str:
        """The task, in words."""
        return self.recipe.title

    @property
    def circle(self) -> int | None:
        """The modulus, or None for plain sums."""
        return self.recipe.divisor

    @property
    def train_mean(self) -> float:
        """Mean answer of the training rows: the best constant predictor."""
        return self.dataset("train").answers.double().mean().item()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches."""
        return batches(self.dataset("train"), self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in file order; each row on exactly one rank."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test batches, in file order; each row on exactly one rank."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The validation batches again."""
        return self._in_order("val")

    def _in_order(self, part: Part) -> DataLoader[Batch]:
        return in_order(self, self.dataset(part), self.batch_size)

    def _is_to_be_made(self, part: Part) -> bool:
        """Whether the file of a part is the recipe's own, and missing."""
        return self.files[part] == self._made(part) and not self._made(part).exists()

    def _content(self, part: Part) -> str:
        return format_tsv(sample(self.recipe)[part].problems(self.recipe))

    def _made(self, part: Part) -> Path:
        return self.data_dir / self.recipe.file_name(part)

    def _check_overlap(self, train: ArithmeticDataset, val: ArithmeticDataset) -> None:
        split = self.recipe.split
        group = split_group(
            np.concatenate([train.x.numpy(), val.x.numpy()]), np.concatenate([train.y.numpy(), val.y.numpy()]), split
        )
        shared = int(np.isin(group[len(train) :], group[: len(train)]).sum())
        if not shared:
            return
        what = split.replace("_", " ")
        count = f"{shared} of {len(val)} rows of {val.path} share their {what} with a row of {train.path}"
        if split != "pair":
            raise ArithprobeError(f"{count}; split {split!r} forbids it")
        warnings.warn(
            f"{count} (split 'pair' allows it, 'unordered_pair' and 'sum' do not)", SharedRowsWarning, stacklevel=2
        )


class RowsDataModule(LightningDataModule):
    """Your own rows, for :class:`~arithprobe.training.probed.ProbedModule`.

    Args:
        train: Training rows: a ``torch.utils.data.Dataset`` of batches that is
            :class:`~arithprobe.problems.rows.Rows`, such as :class:`~arithprobe.data.tokens.TokenDataset`.
        val: Validation rows.
        batch_size: Rows a batch.

    Raises:
        ArithprobeError: If ``train`` or ``val`` is not such a data set, or they have different tasks or share a row.
    """

    def __init__(self, train: ProblemRows, val: ProblemRows, batch_size: int = 128) -> None:
        super().__init__()
        require_at_least("", batch_size=(batch_size, 1))
        require_within("", batch_size=batch_size)
        given: dict[str, object] = {"train": train, "val": val}
        for name, rows in given.items():
            if not (isinstance(rows, Rows) and isinstance(rows, Dataset)):
                raise ArithprobeError(f"{name} is a {type(rows).__name__}; expected rows, such as a TokenDataset")
        if train.task != val.task:
            raise ArithprobeError(f"{train.path} is {train.task!r}, {val.path} is {val.task!r}; expected one task")
        shared = set(train.texts()) & set(val.texts())
        if shared:
            raise ArithprobeError(
                f"{len(shared)} rows of {val.path} are in {train.path} too, such as {min(shared)!r}; hold rows out"
            )
        self.train, self.val, self.batch_size = train, val, batch_size
        self.task, self.circle = train.task, train.circle

    @property
    def train_mean(self) -> float:
        """Mean answer of the training rows: the best constant predictor."""
        return self.train.answers.double().mean().item()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled training batches."""
        return batches(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation batches, in order; each row on exactly one rank."""
        return in_order(self, self.val, self.batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """The validation batches again."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The validation batches again."""
        return self.val_dataloader()


def in_order(module: LightningDataModule, dataset: Dataset[Batch], batch_size: int) -> DataLoader[Batch]:
    """Return batches in order, with each row on exactly one rank."""
    sampler = None
    if module.trainer is not None and module.trainer.world_size > 1:  # Lightning's own sampler would repeat rows
        sampler = UnrepeatedDistributedSampler(
            dataset, num_replicas=module.trainer.world_size, rank=module.trainer.global_rank, shuffle=False
        )
    return batches(dataset, batch_size, sampler=sampler)


def parts_of(stage: str) -> tuple[Part, ...]:
    """The parts that ``fit``, ``validate``, ``test`` or ``predict`` reads."""
    parts: dict[str, tuple[Part, ...]] = {"fit": ("train", "val"), "test": ("test",)}
    return parts.get(stage, ("val",))


def _task(modulus: int | None) -> str:
    return "plain sums" if modulus is None else f"(mod {modulus}) problems"


def _options(modulus: int | None) -> str:
    return "--data.recipe.task sum" if modulus is None else f"--data.recipe.task mod --data.recipe.modulus {modulus}"
