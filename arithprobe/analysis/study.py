"""Studies: an analysis of a checkpoint, with its options, its run, and its findings."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from arithprobe.errors import ArithprobeError, did_you_mean

if TYPE_CHECKING:  # a study and its options are read without PyTorch
    from arithprobe.analysis.progress import Progress
    from arithprobe.models.checkpoints import LoadedModel
    from arithprobe.problems.rows import Rows
    from arithprobe.said.content import Said
    from arithprobe.said.notebook import Spoken

OptionsT = TypeVar("OptionsT")
ResultT = TypeVar("ResultT", bound="Spoken")

STUDIES: Mapping[str, str] = {
    "probe": "arithprobe.analysis.probe:ProbeStudy",
    "intervene": "arithprobe.analysis.intervene:InterveneStudy",
    "heads": "arithprobe.analysis.heads:HeadsStudy",
    "reproduce": "arithprobe.analysis.reproduce:ReproduceStudy",
}
"""The studies that are commands, and where each class is."""


class Study(ABC, Generic[OptionsT, ResultT]):
    """An analysis of a checkpoint and a file of rows.

    ``arithprobe package.module:Class`` runs one: it parses the options, runs, writes records, pictures and the page
    file, and prints the blocks. Its module imports no PyTorch, so that ``--help`` is quick.
    """

    name: ClassVar[str]
    """The command, and the first part of its page file's name."""
    summary: ClassVar[str]
    """What it finds out, in one line."""
    description: ClassVar[str]
    """The same in a few sentences, for its help."""
    options: ClassVar[type[Any]]
    """A frozen dataclass, a docstring per field."""
    pages: ClassVar[tuple[str, ...]] = ()
    """Names of what it says, one page file and one section each, its own first; its name alone by default."""
    records: ClassVar[tuple[str, ...]] = ()
    """Names of its JSON files, without the ending; its name alone by default."""
    folders: ClassVar[tuple[str, ...]] = ()
    """Names of the folders that its other files go to; proved to be writable before it starts."""

    @abstractmethod
    def run(self, loaded: "LoadedModel", rows: "Rows", options: OptionsT, progress: "Progress") -> ResultT:
        """Run the analysis.

        Args:
            loaded: The model.
            rows: The rows, preferably ones that the model was not trained on.
            options: The options of the study.
            progress: Is told of every step.
        """

    def said(self, result: ResultT) -> "Said":
        """The findings of the result."""
        return result.said

    def warned(self, rows: "Rows", options: OptionsT) -> str:
        """The warning to show before the run, in one line; empty by default."""
        return ""

    @classmethod
    def full_name(cls) -> str:
        """The class, as an import path."""
        return f"{cls.__module__}.{cls.__qualname__}"


def study_of(path: str) -> Study[Any, Any]:
    """Return a study by its import path, ``package.module:Class``.

    Raises:
        ArithprobeError: If there is no such study.
    """
    module, _, name = path.partition(":")
    if module.startswith("."):
        raise ArithprobeError(f"{path}: is relative; expected package.module:Class")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError) as error:
        raise ArithprobeError(f"{path}: cannot be imported: {error}; expected package.module:Class") from error
    except AttributeError:
        near = did_you_mean(name, dir(importlib.import_module(module)))
        raise ArithprobeError(f"{path}: {module} has no {name!r}{near}") from None
    if not (isinstance(found, type) and issubclass(found, Study)):
        raise ArithprobeError(f"{path}: is no subclass of arithprobe.analysis.study.Study")
    for missing in (one for one in ("name", "summary", "description", "options") if not hasattr(found, one)):
        raise ArithprobeError(f"{path}: does not say its {missing}")
    try:
        return found()
    except TypeError as error:  # something that it has to say for itself is missing
        raise ArithprobeError(f"{path}: cannot be made: {error}") from error
