"""TensorBoard itself, in a browser, over a run folder: what a person looks for is there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from browser import chromium, started, visited

TIMEOUT_MS = 90_000


@contextmanager
def tensorboard(logdir) -> Iterator[str]:
    """The address of a TensorBoard over a folder."""
    words = ["--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"]
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        for line in server.stderr:
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                return
        raise AssertionError("".join(said))
    finally:
        server.terminate()
        server.communicate()


@pytest.mark.slow(seconds=10)
def test_a_person_sees_curves_over_nulls_pictures_rows_and_the_verdict(run, small_fit, tmp_path):
    chromium()
    code, out, err = run(*small_fit, "--trainer.callbacks", "RidgeProbing")
    assert code == 0, err
    link = re.search(r"http://localhost:6006(\S+)", out)[1]
    with tensorboard(tmp_path / "lightning_logs") as address, started() as browser, visited(browser) as visit:
        visit.page.set_default_timeout(TIMEOUT_MS)
        find = visit.page.locator
        visit.page.goto(address + link)
        lines = find("tf-custom-scalar-multi-line-chart-card")
        for place, curves in ((1, 2), (2, 5)):  # four sites, and the null of the last
            lines.nth(place).get_by_text(f"Matches ({curves})").wait_for()
        assert lines.count() == 3
        assert lines.nth(2).evaluate("card => card.title") == "held-out R2, by site; permuted labels"
        assert find("tf-category-paginated-view").first.evaluate("view => view.category.name") == "Has it learned?"
        assert find("tf-custom-scalar-dashboard").evaluate("board => board._smoothingWeight") == 0

        visit.page.goto(f"{address}/#timeseries")  # what opens first: behaviour, in curves of several points
        find("metrics-card-groups").get_by_text("1 train").first.wait_for()
        visit.page.goto(f"{address}/#images")
        picture = find("tf-image-loader img")
        picture.wait_for()
        ready = "picture => picture.complete && picture.naturalWidth > 300"
        visit.page.wait_for_function(ready, arg=picture.element_handle())

        visit.page.goto(f"{address}/#hparams")
        find("tf-hparams-table-view").get_by_text("run/version_0").first.wait_for()
        find("tf-hparams-query-pane").get_by_text("2 ridge_sum/final@last/r2").first.wait_for()

        visit.page.goto(f"{address}/#text")
        find("tf-text-dashboard strong", has_text="NOT LEARNED: ").wait_for()
        assert (visit.errors, visit.foreign) == ([], [])
