"""Files are written whole or not at all."""

from functools import partial

import pytest

from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, write_whole


def test_a_write_replaces_the_whole_file_and_leaves_nothing_else(tmp_path):
    path = write_whole(tmp_path / "deep" / "file.txt", "long content")
    reader = path.open()
    write_whole(path, "new")
    assert reader.read() == "long content"  # who reads the old file goes on reading it
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
    reader.close()


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for attempt in (partial(write_whole, content=""), require_writable):
        with pytest.raises(ArithprobeError, match=r"cannot be written: (Not a directory|File exists)"):
            attempt(tmp_path / "file" / "x")
    with pytest.raises(ArithprobeError, match="cannot be written: Is a directory"):
        write_whole(tmp_path, "")
    require_writable(tmp_path / "some" / "where")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]  # and the proof left nothing behind
