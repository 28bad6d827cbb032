"""The documentation: its links lead somewhere, it names everything public, and the site builds without a warning."""

import importlib
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

import arithprobe

DOCS = ROOT / "docs"
PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")] + sorted(DOCS.rglob("*.md"))
_FENCED = re.compile(r"^ *(```+).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_FOREIGN = re.compile(r"[a-z][a-z0-9+.-]*:")


def _prose(text: str) -> str:
    """The text without fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", _FENCED.sub("", text))


def _anchors(text: str) -> set[str]:
    """What GitHub and the site call the headings: small letters, no punctuation, hyphens for spaces."""
    titles = _HEADING.findall(_FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _broken(page: Path, text: str) -> Iterator[str]:
    """The links of a page that lead nowhere."""
    for link in _LINK.findall(_prose(text)):
        if _FOREIGN.match(link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and anchor not in _anchors(text if target == page else target.read_text()):
            yield f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_local_links_lead_somewhere(page):
    assert not list(_broken(page, page.read_text()))


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three\n")
    text = "[a](page.md#one-two-three) [b](other.md) [c](#one-two-three) [d](#four) [e](https://example.org/x)\n"
    text += page.read_text() + "```text\n[f](nowhere.md)\n# four\n```\n`[g](nowhere.md)`\n"
    assert list(_broken(page, text)) == ["other.md: no such file", "#four: no such heading"]


def _areas() -> list[str]:
    pages = (page.read_text() for page in (DOCS / "reference").glob("*.rst"))
    return [name for page in pages for line in re.findall(r"\.\. area:: (.+)", page) for name in line.split()]


def test_every_module_is_on_one_page_of_the_reference():
    parts = {module.name for module in pkgutil.iter_modules(arithprobe.__path__)} - {"__main__", "cli"}
    assert sorted(_areas()) == sorted(f"arithprobe.{name}" for name in parts)


def test_every_public_name_is_on_the_reference():
    homes = {name: getattr(getattr(arithprobe, name), "__module__", home) for name, home in arithprobe._HOME.items()}
    areas = _areas()
    assert not [name for name, home in homes.items() if not any(f"{home}.".startswith(f"{area}.") for area in areas)]


def test_every_callback_is_described():
    page = (DOCS / "guide" / "callbacks.md").read_text()
    assert not [name for name in importlib.import_module("arithprobe.callbacks").__all__ if name not in page]


@pytest.mark.slow(seconds=30)
def test_the_site_builds_without_a_warning(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path / "site"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    public = (tmp_path / "site" / "reference" / "callbacks.html").read_text()
    assert 'id="arithprobe.RidgeProbing"' in public
    assert 'id="arithprobe.callbacks.ridge.RidgeProbing"' not in public  # once, under the name to import it by
