"""The grammar of metric names: ``<analysis>_<target>/<site>@<position>/<metric>``."""

import re
from typing import NamedTuple

from arithprobe.errors import ArithprobeError

_GRAMMAR = re.compile(
    r"(?P<analysis>[a-z]+)_(?P<target>[a-z][a-z0-9]*)/(?P<site>[a-z_]+(?:\.[0-9]+)?)@(?P<position>[a-z0-9_]+)/(?P<metric>[a-z0-9_]+)"
)
_NUMBER = re.compile(r"^\d ")


class Tag(NamedTuple):
    """The name of one probe score, in TensorBoard, CSV files and monitors.

    >>> tag = Tag("ridge", "sum", "resid_post.1", "last", "r2")
    >>> str(tag), Tag.parse(str(tag)) == tag
    ('ridge_sum/resid_post.1@last/r2', True)
    """

    analysis: str
    """Name of the live probe: ``ridge``, ..."""
    target: str
    """Name of the target, see :mod:`arithprobe.probes.targets`."""
    site: str
    """Name of the site: ``embed``, ``resid_mid.0``, ``final``, ..."""
    position: str
    """``last``, a character index, or a role such as ``x100``."""
    metric: str
    """Name of the number: ``r2``, ``null_high``, ..."""

    def __str__(self) -> str:
        """The tag as logged."""
        return f"{self.analysis}_{self.target}/{self.site}@{self.position}/{self.metric}"

    @classmethod
    def parse(cls, text: str) -> "Tag":
        """Read a tag.

        Raises:
            ArithprobeError: If the text is no probe tag.
        """
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise ArithprobeError(f"{text!r} is not a tag '<analysis>_<target>/<site>@<position>/<metric>'")
        return cls(**match.groupdict())


def metric_of(tag: str) -> str:
    """The metric behind a tag of the board.

    >>> metric_of("2 ridge_sum/final@last/r2"), metric_of("val/loss")
    ('ridge_sum/final@last/r2', 'val/loss')
    """
    return _NUMBER.sub("", tag)
