"""Results in a notebook: a short text, tables and pictures, and a data frame of their scores."""

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup, escape

from arithprobe.errors import ArithprobeError, did_you_mean
from arithprobe.plotting.render import to_png, to_rgb
from arithprobe.said.content import Picture, Said, Table, Words

if TYPE_CHECKING:
    import pandas

    from arithprobe.plotting.render import Figure

_NAN = float("nan")


class Score(NamedTuple):
    """A number that an analysis found: a row of :meth:`Spoken.to_frame`."""

    site: str
    """Name of the site, ``resid_post.1``; empty where there is none."""
    position: str
    """Token position, ``last``; empty where there is none."""
    target: str
    """Variable, head or quantity that it is about."""
    score: str
    """Name of the score, ``r2`` or ``delta_rmse``."""
    value: float
    """The number itself; NaN where it is not known."""
    low: float = _NAN
    """Lower end of its 95 % interval; NaN where there is none."""
    high: float = _NAN
    """Upper end."""
    null_high: float = _NAN
    """95 % quantile of its null; NaN where there is none."""
    n: float = _NAN
    """Rows behind it; NaN where they are not counted."""


class Spoken(ABC):
    """A result that says what it found, in a notebook as on the terminal."""

    @property
    @abstractmethod
    def said(self) -> Said:
        """What it says."""

    @abstractmethod
    def scores(self) -> Iterator[Score]:
        """Its numbers, a row each."""

    def __repr__(self) -> str:
        said = self.said
        lines = [f"{type(self).__name__}: {said.title}", *([] if said.behaviour is None else [str(said.behaviour)])]
        if names := list(_pictures(said)):
            lines.append(f"pictures, .show(name): {', '.join(names)}")
        return "\n".join([*lines, "scores: .to_frame()"])

    def _repr_html_(self) -> str:
        """Verdict, words, tables and pictures."""
        parts: list[str] = []
        for one in self.said.parts:
            parts.append(Markup("<h3>{}</h3>").format(one.title))
            if one.behaviour is not None:
                parts.append(Markup("<p><strong>{}</strong></p>").format(one.behaviour))
                parts.append(_words(Words(one.behaviour.warning, "bad")) if one.behaviour.warning else Markup(""))
            for block in one.blocks:
                if isinstance(block, Words):
                    parts.append(_words(block))
                elif isinstance(block, Table):
                    parts.append(_table(block))
                elif isinstance(block, Picture):
                    parts.append(_image(block))
        return Markup("<div>{}</div>").format(Markup("").join(parts))

    def to_frame(self) -> "pandas.DataFrame":
        """A row for each score: site, position, target, score, value, low, high, null_high, n.

        Raises:
            ArithprobeError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ArithprobeError("to_frame() needs pandas: pip install 'arithprobe[notebook]'") from None
        return pandas.DataFrame(list(self.scores()), columns=list(Score._fields))

    def figure(self, name: str) -> "Figure":
        """One of its pictures, which a notebook shows and ``savefig`` writes.

        Args:
            name: Its name, as the text of the result lists them.

        Raises:
            ArithprobeError: If there is no such picture.
        """
        known = _pictures(self.said)
        if name not in known:
            meant = did_you_mean(name, known)
            raise ArithprobeError(f"no picture {name!r}{meant} (pictures: {', '.join(known) or 'none'})")
        return known[name].draw()

    def show(self, name: str | None = None) -> None:
        """Display one of its pictures, or all that it says, in a notebook.

        Args:
            name: As in :meth:`figure`; everything if None.

        Raises:
            ArithprobeError: If there is no such picture, or this is no notebook.
        """
        try:
            from IPython.display import display
        except ImportError:
            raise ArithprobeError("show() needs a notebook; write .figure(name).savefig('name.png')") from None
        display(self if name is None else self.figure(name))  # type: ignore[no-untyped-call]


def _pictures(said: Said) -> dict[str, Picture]:
    return {picture.name: picture for one in said.parts for picture in one.pictures}


def _words(words: Words) -> Markup:
    colour = "color:#b22222;" if words.tone == "bad" else ""
    return Markup("<p style='white-space:pre-line;{}'>{}</p>").format(colour, words.text)


def _table(table: Table) -> Markup:
    head = Markup("").join(Markup("<th>{}</th>").format(column.name) for column in table.columns)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
        for row in table.rows
    )
    notes = Markup("<br>").join(escape(one) for one in table.notes)
    whole = "<p>{}</p><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table><p><small>{}</small></p>"
    return Markup(whole).format(table.title, head, rows, notes)


def _image(picture: Picture) -> Markup:
    content = base64.b64encode(to_png(to_rgb(picture.draw()))).decode()
    image = Markup("<img style='max-width:100%' alt='{}' src='data:image/png;base64,{}'>").format(
        picture.finding, content
    )
    below = f"{picture.caption}. {picture.finding}"
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(image, below)
