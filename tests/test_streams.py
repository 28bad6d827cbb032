"""Output in any encoding: an escape where there is no letter, never a traceback."""

import io
import sys

import pytest

from arithprobe import cli


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "cp932", "utf-8"])
def test_a_name_that_the_encoding_has_no_letter_for_is_escaped(tmp_path, monkeypatch, encoding):
    """Also a name that is no UTF-8; the stream is the caller's again afterwards, and what he chose stays."""
    for errors, shown in (("strict", b"\\udce4"), ("surrogateescape", b"\\udce4"), ("replace", b"?")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding, errors=errors)
        monkeypatch.setattr(sys, "stdout", stream)
        folder = tmp_path / f"{errors}\udce4\N{BULLET}"
        assert cli.main(["generate", "--rows", "20", "--output_dir", str(folder)]) == 0
        assert stream.errors == errors
        stream.seek(0)
        assert shown in stream.buffer.read()
