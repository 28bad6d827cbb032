"""What a person does with the page of a run: point, sort, save, find, read it narrow or without scripts.

One page made by hand serves all: no fit, three validations, and names that would run if they could.
"""

import csv
import io
import json
from dataclasses import asdict, replace

import pytest
import torch
from browser import started, visited
from test_heatmap import figure_of

from arithprobe import report
from arithprobe.behaviour import judge_rows
from arithprobe.errors import ArithprobeError
from arithprobe.plotting.probe_curves import ProbeHistory, probe_curves
from arithprobe.plotting.render import to_svg
from arithprobe.reports.page import _score
from arithprobe.said.content import CellMap, Column, Picture, Said, Table, Words
from arithprobe.said.folder import write_said
from arithprobe.said.page_file import page_record

pytestmark = pytest.mark.slow(seconds=8)

EVIL = "<img src=x onerror=hacked()>"
ENDS = "</script><script>hacked()</script>"
STEPS, SITES, PLACES = (140, 281, 422), ("embed", "resid_post.0", "final"), ("last", "x100")
R2 = [[[0.982, 0.1], [0.5, None], [0.9995, -0.02]]] * 3
MARKS = ("-", "<0.05", "0.999 [0.998, 1.000]", "-0.5*", "0.05", "+1e+02", "0.6 / -", "- / 0.7", "reads more")
SORTED = ["-0.5*", "<0.05", "0.05", "0.6 / -", "- / 0.7", "0.999 [0.998, 1.000]", "+1e+02", "reads more", "-"]
FORMULAS = ("=1+1", "+0.5", "@SUM(A1)", "-2%", '+1 "is", said', "\tx", "-", "\N{MINUS SIGN}3", "plain")
HISTORY = ProbeHistory(
    "ridge",
    "sum",
    "held-out R2",
    STEPS,
    ("embed", "final"),
    torch.tensor([[0.2, 0.9], [0.2, 0.95], [0.2, 0.9994]], dtype=torch.float64),
    torch.full((3, 2), 0.003, dtype=torch.float64),
)


def cells(step: int) -> list[dict]:
    """What a live probe records of its cells at a validation."""
    return [
        {"site": site, "position": place, "r2": R2[step][row][column], "above": (R2[step][row][column] or 0) > 0.05}
        | {"null_high": 0.003, "n_test": 396.0}
        for row, site in enumerate(SITES)
        for column, place in enumerate(PLACES)
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a run that nobody fitted."""
    run = tmp_path_factory.mktemp("runs") / EVIL / "version_0"
    (run / "probes").mkdir(parents=True)
    answers = torch.arange(100)
    verdict = asdict(judge_rows(answers.flip(0).double(), answers, 49.5)) | {"epoch": 2, "step": STEPS[-1]}
    (run / "behaviour.json").write_text(json.dumps({"last": verdict, "best": verdict}))
    (run / "hparams.yaml").write_text(f"name: '{ENDS}'\n")
    lines = [{"stage": "fit", "step": step, "cells": cells(at)} for at, step in enumerate(STEPS)]
    (run / "probes" / "ridge.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    of = CellMap(f"Map {EVIL}", "token", "position", "above", count="n_test", null="null_high", marked=f"above {ENDS}")
    live = page_record(Said("ridge", "Ridge probes", None, (of,)), "my.Ridge", live=True)
    (run / "probes" / "ridge.page.json").write_text(json.dumps(live))
    blocks = (
        Words(ENDS, "bad"),
        Table("Marks", (Column("row", True), Column("value")), tuple((f"r{at}", one) for at, one in enumerate(MARKS))),
        Table(
            f"Formulas {EVIL}", (Column("=row", True), Column("b")), tuple((one, one) for one in FORMULAS), ("note",)
        ),
        Picture("map", lambda: figure_of([[0.9, 0.04], [-20.0, float("nan")]], 0.003), "found", "A map"),
        Picture("curves", lambda: probe_curves(HISTORY, None), "found", f"Curves {EVIL}"),
    )
    write_said(Said("mine", f"Mine {EVIL}", None, blocks), run / "mine", "my.Study")
    path = run.parent.parent / "page.html"
    path.write_text(report(run))
    return path


@pytest.fixture(scope="module")
def browser():
    """One for all visits."""
    with started() as found:
        yield found


@pytest.fixture
def seen(page, browser):
    """The page, opened; nothing may go wrong on it."""
    with visited(browser, width=1400) as visit:
        visit.page.goto(page.as_uri())
        yield visit.page
        assert (visit.errors, visit.foreign) == ([], [])


def luminance(colour: str) -> float:
    """Relative luminance of 'rgb(r, g, b)', after WCAG 2."""
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(seen, place: str) -> float:
    """Contrast of letters at a place with the page behind them."""
    ink = seen.eval_on_selector(place, "one => getComputedStyle(one).color")
    paper = seen.evaluate("getComputedStyle(document.body).backgroundColor")
    light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def paper_of(seen) -> float:
    return luminance(seen.evaluate("getComputedStyle(document.body).backgroundColor"))


def place_in(picture, x: float, y: float) -> tuple[float, float]:
    """Where a place of a picture, in its own units, is in the window."""
    picture.scroll_into_view_if_needed()
    found = picture.evaluate(
        "(svg, [x, y]) => { const m = svg.getScreenCTM(); return [m.a * x + m.e, m.d * y + m.f]; }", [x, y]
    )
    return tuple(found)


def tips_in(seen, name: str) -> tuple:
    """A picture of the page, and what it carries."""
    picture = seen.locator(f"figure:has(strong:text('{name}')) svg")
    return picture, json.loads(picture.locator("metadata.tips").text_content())


def test_nothing_on_the_page_runs_but_its_own_script(page, seen):
    """Names, cells, captions and data are letters, whatever they spell; the browser is told to run one script alone."""
    seen.locator("#how").wait_for()  # the control: that one runs
    assert seen.locator("img").count() == 0 and seen.locator("script:not([type])").count() == 1
    assert seen.locator("caption", has_text=EVIL).count() == 1 and seen.get_by_text(ENDS).count() >= 1
    assert "'unsafe-inline'; script-src" in page.read_text() and "script-src 'sha256-" in page.read_text()


def test_a_page_that_was_changed_is_found_out(page, tmp_path, browser):
    """The control: a script of another's, a handler, a picture from elsewhere; all are refused, and seen."""
    for old, new, said in (
        ('"use strict";', "missing();", "script"),
        ("</main>", '<img src="https://example.org/one.png" alt=""></main>', "https://example.org"),
        ("</main>", '<b onclick="hacked()" id="evil">x</b></main>', "inline event handler"),
    ):
        broken = tmp_path / "broken.html"
        broken.write_text(page.read_text().replace(old, new, 1))
        with visited(browser) as visit:
            visit.page.goto(broken.as_uri())
            if visit.page.locator("#evil").count():
                visit.page.locator("#evil").click()
            assert any(said in error and "Content Security Policy" in error for error in visit.errors)


def test_the_slider_moves_the_map(seen):
    cube = seen.locator(".cube").first
    data = json.loads(cube.locator("script").text_content())
    assert data["steps"] == [step + 1 for step in STEPS]
    slider, cell = cube.locator("input"), cube.locator("tbody td").first
    for key, step in (("Home", 0), ("ArrowRight", 1), ("End", len(STEPS) - 1)):
        slider.press(key)
        said = f"after {data['steps'][step]} steps"
        assert cube.locator("output").text_content() == said == slider.get_attribute("aria-valuetext")
        assert cell.text_content().startswith(_score(data["values"][step][0][0]))
    written = [one.partition(" not ")[0] for one in cube.locator("tbody td").all_text_contents()]
    assert written == [_score(value) for row in R2[0][::-1] for value in row]  # the script's form is the page's


def test_a_cell_of_a_map_says_its_value_its_null_and_its_rows(seen):
    cells, tip = seen.locator(".cube tbody td"), seen.locator("#tip")
    cells.nth(4).hover()
    assert tip.text_content() == f"embed @ last: held-out R2 0.9820 (null 0.003, 396 rows); above {ENDS}"
    cells.nth(3).hover()
    assert tip.text_content() == "resid_post.0 @ x100: held-out R2: no value"
    seen.locator("h1").hover()
    assert not tip.is_visible()


def test_a_cell_and_a_point_of_a_picture_say_what_was_measured(seen):
    tip = seen.locator("#tip")
    picture, ((area), *_) = tips_in(seen, "A map")
    middle = [(area["x"][0] + area["x"][1]) / 2, (area["y"][0] + area["y"][1]) / 2]
    seen.mouse.move(*place_in(picture, *middle))
    assert tip.text_content() == "embed @ last: held-out R2 0.9000 (null 0.003, 100 rows)"
    picture, areas = tips_in(seen, "Curves")
    (curve,) = (one for one in areas if one["name"] == "final")
    seen.mouse.move(*place_in(picture, *curve["at"][2]))
    assert tip.text_content() == "final: after 423 steps: held-out R2 0.9994 (null 0.003)"
    x, y = curve["at"][2]
    seen.mouse.move(*place_in(picture, x - 15, y + 60))  # the control: there is none
    assert not tip.is_visible()


def test_values_are_read_with_the_keyboard(seen):
    tip, spoken = seen.locator("#tip"), seen.locator("[role=status]")
    seen.locator(".cube input").focus()
    seen.keyboard.press("Tab")  # the map
    tip.wait_for()
    said = [tip.text_content().partition(":")[0]]
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft"):
        before = tip.text_content()
        seen.keyboard.press(key)
        seen.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        said.append(tip.text_content().partition(":")[0])
        assert spoken.text_content() == tip.text_content() and (before != tip.text_content() or key == "ArrowDown")
    expected = ["final @ last", "final @ x100", "resid_post.0 @ x100", "embed @ x100", "embed @ x100", "embed @ last"]
    assert said == expected
    seen.keyboard.press("Escape")
    assert not tip.is_visible()


def test_values_are_read_by_touch_and_nothing_is_wider_than_a_telephone(page, browser):
    with visited(browser, width=390, touch=True) as visit:
        visit.page.goto(page.as_uri())
        visit.page.locator(".cube tbody td").nth(4).tap()
        assert visit.page.locator("#tip").text_content().startswith("embed @ last: held-out R2 0.9820")
        box = visit.page.locator("#tip").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        visit.page.locator("h2").first.tap()
        assert not visit.page.locator("#tip").is_visible()
        contents = visit.page.locator("#contents")
        assert contents.get_attribute("open") is None  # folded
        contents.locator("summary").tap()
        contents.get_by_text("Where it comes from").tap()
        assert contents.get_attribute("open") is None
        visit.page.locator("#here", has_text="Where it comes from").wait_for()
        assert contents.locator("summary").bounding_box()["y"] == pytest.approx(0, abs=1)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_table_is_sorted_by_numbers_and_comes_back(seen):
    table = seen.locator("table:has(caption:text-is('Marks'))")
    heading, button = table.locator("th[scope=col]").nth(1), table.locator("th button").nth(1)

    def column() -> list[str]:
        return table.locator("td").all_text_contents()

    assert (heading.get_attribute("aria-sort"), column()) == ("none", list(MARKS))
    button.press("Enter")
    assert (heading.get_attribute("aria-sort"), column()) == ("ascending", SORTED)
    button.press("Space")
    numbers = SORTED[:-2][::-1]
    assert (heading.get_attribute("aria-sort"), column()) == ("descending", [*numbers, *SORTED[-2:]])
    button.click()
    assert (heading.get_attribute("aria-sort"), column()) == ("none", list(MARKS))
    names = table.locator("th button").first
    names.click()
    names.click()
    assert table.locator("tbody th").first.text_content() == f"r{len(MARKS) - 1}" and column() == list(MARKS[::-1])


def saved(seen, title: str, form: str) -> tuple[str, str]:
    """Name and content of the file that a table is saved as."""
    with seen.expect_download() as found:
        seen.get_by_role("button", name=f"Save as {form}: {title}").click()
    return found.value.suggested_filename, found.value.path().read_bytes().decode()


def test_a_table_is_saved_as_csv_that_no_program_computes(seen):
    name, text = saved(seen, "Formulas", "CSV")
    assert name == "img-src-x-onerror-hacked-version-0_mine_Formulas-img-src-x-onerror-hacked.csv"
    heading, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert heading == ["'=row", "b"] and text.count("\r\n") == len(FORMULAS) + 1
    safe = ["'=1+1", "+0.5", "'@SUM(A1)", "-2%", '\'+1 "is", said', "x", "-", "\N{MINUS SIGN}3", "plain"]
    assert [row[0] for row in rows] == safe == [row[1] for row in rows]


def test_a_table_and_a_map_are_saved_as_json(seen):
    name, text = saved(seen, "Marks", "JSON")
    found = json.loads(text)
    assert name.endswith("_mine_Marks.json") and found["run"] == f"{EVIL}/version_0" and found["section"] == "mine"
    assert (
        found["columns"] == ["row", "value"]
        and found["rows"][4] == ["r4", 0.05]
        and found["rows"][3] == ["r3", "-0.5*"]
    )
    seen.locator("table:has(caption:text-is('Marks')) th button").nth(1).click()
    again = json.loads(saved(seen, "Marks", "JSON")[1])
    assert [row[1] for row in again["rows"]] == [
        {"0.05": 0.05, "+1e+02": 100}.get(one, one) for one in SORTED
    ]  # as it is shown
    found = json.loads(saved(seen, "Map", "JSON")[1])
    assert len(found["rows"]) == len(STEPS) * len(SITES) * len(PLACES)
    assert found["rows"][0] == [STEPS[0] + 1, "final", "last", 0.9995, 0.003, 396, True]


def test_words_in_a_picture_are_found(seen):
    for word in ("its character", "resid_post.0", "100.0000001"):
        assert seen.evaluate("word => { getSelection().removeAllRanges(); return find(word); }", word) == (
            word != "100.0000001"  # the control
        )
    assert seen.locator("svg text", has_text="its character").count() == 1


def test_the_contents_stay_in_sight_and_say_where_one_is(seen):
    contents = seen.locator("nav")
    assert seen.locator("nav a[aria-current]").text_content() == "Has it learned the task?"
    for name in ("live-ridge", "origin"):
        seen.locator(f"nav a[href='#{name}']").click()
        seen.locator(f"nav a[href='#{name}'][aria-current]").wait_for()
        assert seen.locator("nav a[aria-current]").count() == 1
        box = contents.bounding_box()
        assert 0 <= box["y"] < 10 and box["x"] + box["width"] < seen.locator("main").bounding_box()["x"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_widths_and_themes_can_be_read(page, browser, width, theme):
    """Nothing is wider than the window, and letters stand out from the page."""
    with visited(browser, width=width) as visit:
        visit.page.emulate_media(color_scheme=theme)
        visit.page.goto(page.as_uri())
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for place in ("body", ".shows", "figcaption", "nav a", ".not-learned", ".missing p", ".sort", ".tools button"):
            assert contrast(visit.page, place) > 4.5  # WCAG AA
        assert (paper_of(visit.page) < 0.05) == (theme == "dark")
        assert not visit.errors


def test_the_theme_is_chosen_by_hand_too_and_paper_is_white(seen):
    button, papers = seen.locator("#theme"), []
    for _ in range(2):
        button.press("Enter")
        papers.append(paper_of(seen))
    assert papers[0] > 0.9 and papers[1] < 0.05  # light, then dark
    seen.emulate_media(media="print", color_scheme="dark")
    assert paper_of(seen) > 0.9
    assert not any(seen.locator(place).first.is_visible() for place in ("nav", ".tools", "#how", "#theme"))


def test_without_scripts_everything_is_there_but_what_moves(page, browser):
    with visited(browser, width=390, scripts=False) as visit:
        visit.page.goto(page.as_uri())
        for place in ("nav a >> nth=-1", "table caption >> nth=0", ".picture svg >> nth=0", ".heat td >> nth=0"):
            assert visit.page.locator(place).is_visible()
        assert visit.page.locator(".heat td").first.text_content() == ".9995"
        for place in ("#how", "#theme", ".sort", ".tools"):
            assert visit.page.locator(place).count() == 0 or not visit.page.locator(place).first.is_visible()
        assert not visit.errors


DRAWN = '<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10">{}</svg>'


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("<script>hacked()</script>", "<script>"),
        ("<foreignObject/>", "<foreignObject>"),
        ("<animate attributeName='href' values='javascript:hacked()'/>", "<animate>"),
        ("<a href='JavaScript:hacked()'/>", "<a>"),
        ("<use href='https://example.org/#a'/>", "href="),
        ("<g OnLoad='hacked()'/>", "OnLoad="),
        ("<g>", "is no whole picture"),
        ("<!-- --!><script>hacked()</script> -->", "is no whole picture"),
        ("<text>only = the words: on x = 3, &lt;script&gt;</text><path d='M0 0'/><!-- <script> -->", None),
        ("<metadata><script/></metadata><style><![CDATA[ g > path {fill: red} ]]></style>", None),
    ],
)
def test_a_picture_of_anothers_is_drawn_or_refused(tmp_path, inside, said):
    """Read as XML and written anew: a browser cannot read anything else in it than what was looked at."""
    from arithprobe.reports.blocks import stored_drawing

    (tmp_path / "one.svg").write_text(DRAWN.format(inside))
    picture = Picture("one", pytest.fail, "found", "One")
    if said is not None:
        with pytest.raises(ArithprobeError) as refused:
            stored_drawing(tmp_path / "one", picture)
        assert said in str(refused.value) and "one.svg" in str(refused.value)
    else:
        markup = stored_drawing(tmp_path / "one", picture).markup
        assert markup.startswith("<svg ") and "<script" not in markup and "<!--" not in markup


def test_the_curves_of_a_page_and_its_file_are_small():
    """Letters as outlines, and places to six digits, took four times as much."""
    assert len(to_svg(probe_curves(replace(HISTORY), None))) < 40_000
