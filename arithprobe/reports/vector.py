"""An SVG as it stands on the page: only what draws, in the colours of the page."""

import re
from xml.etree import ElementTree

_DRAWS = frozenset(
    [
        "svg",
        "g",
        "defs",
        "path",
        "rect",
        "circle",
        "ellipse",
        "line",
        "polyline",
        "polygon",
        "text",
        "tspan",
        "textPath",
        "use",
        "image",
        "symbol",
        "marker",
        "pattern",
        "clipPath",
        "mask",
        "linearGradient",
        "radialGradient",
        "stop",
        "filter",
        "style",
        "title",
        "desc",
        "metadata",
    ]
)
_PAPER = re.compile(r'(<path [^>]*?style="[^"]*?fill: )#ffffff')
_ID = re.compile(r' id="([^"]+)"')
_USE = re.compile(r'(href="#|url\(#)')
_USES = re.compile(r'(?:href="#|url\(#)([^")]+)')
_PLACES = re.compile(r"#\S*|data:image/(?:png|jpeg|gif|webp);base64,[\w+/=\s]*")
_THEMED = {"#000000": "currentColor", "#b22222": "var(--bad)", "#cccccc": "var(--band)", "#dddddd": "var(--band)"}
_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "in": 96.0, "mm": 96 / 25.4, "cm": 96 / 2.54}
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


class NotWholeError(ValueError):
    """It is cut, or no SVG."""


class NotAPictureError(ValueError):
    """It holds what does not draw."""


def inline(svg: str) -> tuple[str, int | None]:
    """An SVG for a page: read as XML and written anew, so that a browser reads what was checked and nothing else.

    Args:
        svg: The content of a file.

    Returns:
        The element ``svg``, and its width in pixels; None where it does not say it.

    Raises:
        NotWholeError: If it is no whole SVG.
        NotAPictureError: If something in it does not draw, such as a script, a link or a handler of events.
    """
    try:
        root = ElementTree.fromstring(svg)
        for element in root.iter():
            _make_plain(element)
        if root.tag != "svg":
            raise NotWholeError(f"<{root.tag}>")
        root.attrib |= {"aria-hidden": "true", "focusable": "false"}
        text = ElementTree.tostring(root, encoding="unicode")
    except (ElementTree.ParseError, UnicodeError, RecursionError) as error:
        raise NotWholeError(str(error)) from error
    size = _LENGTH.fullmatch(root.get("width", ""))
    width = round(float(size[1]) * _UNITS[size[2]]) if size is not None and size[2] in _UNITS else None
    for colour, name in _THEMED.items():
        text = text.replace(colour, name)
    return _PAPER.sub(r"\1var(--paper)", text), width


def with_own_ids(markup: str, prefix: str) -> str:
    """The SVG with ids of its own, so that many stand on one page, and without those that nothing refers to."""
    used = set(_USES.findall(markup))
    own = _ID.sub(lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", markup)
    return _USE.sub(lambda found: f"{found[1]}{prefix}-", own)


def _make_plain(element: ElementTree.Element) -> None:
    """Take off namespaces, which a page has not, and what is said of the file; refuse what does not draw."""
    element.tag = element.tag.rpartition("}")[2]
    if element.tag == "metadata" and element.get("class") != "tips":
        element.clear()
    if element.tag not in _DRAWS and not element.tag.startswith("fe"):
        raise NotAPictureError(f"<{element.tag}>")
    element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
    for name, value in element.attrib.items():
        if name.lower().startswith("on") or (name == "href" and not _PLACES.fullmatch(value)):
            raise NotAPictureError(f"{name}={value!r:.80}")
