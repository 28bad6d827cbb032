"""What an analysis leaves in a folder: numbers, pictures, and its page file; whole, and nothing of another's."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from arithprobe.errors import ArithprobeError
from arithprobe.files import require_writable, to_json, write_whole
from arithprobe.plotting.render import to_png, to_rgb, to_svg
from arithprobe.said.content import Picture, Said, require_name
from arithprobe.said.page_file import ENDING, StoredPage, page_record, read_page

FILES_OF_THE_RUN = ("behaviour", "provenance")
"""Records of a run that no study and no live probe writes, without the ending."""
_ENDINGS = (".png", ".svg")


@contextmanager
def claimed(
    folder: Path, study: str, names: Sequence[str], records: Sequence[str], folders: Sequence[str] = ()
) -> Iterator[None]:
    """Within the block a folder's files of some names are this process's: checked to be free, and kept from others.

    Args:
        folder: Where; made if it is missing.
        study: What is to write them: the class's full name.
        names: Names of its page files.
        records: Names of its JSON files, without the ending.
        folders: Names of the folders inside it that other files go to.

    Raises:
        ArithprobeError: If a name is none of a file, the folder cannot be written, a file's name is taken by a folder,
            they are of another study, or another process writes them now.
    """
    for name in (*names, *records):
        require_name(name)
    require_writable(folder)
    for name in ("figures", *folders):
        require_writable(folder / name)
    taken = [folder / f"{name}{ENDING}" for name in names] + [folder / f"{name}.json" for name in records]
    taken += [path for ending in _ENDINGS for path in (folder / "figures").glob(f"*{ending}")]
    for path in taken:
        if path.is_dir():
            raise ArithprobeError(f"{path}: is a folder; expected a file to write")
    _require_own(folder, list(pages_in(folder)), study, names, records)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{names[0]}.lock", timeout=0)
    try:
        with lock:
            try:
                yield
            finally:
                Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        raise ArithprobeError(
            f"{folder}: another process writes {names[0]} there now; wait, or choose another --output_dir"
        ) from None
    finally:
        for path in made:  # where nothing was written
            with suppress(OSError):
                path.rmdir()


def _require_own(
    folder: Path, pages: Sequence[StoredPage], study: str, names: Sequence[str], records: Sequence[str]
) -> None:
    """Refuse a folder that has files of these names of another study or of the run, or files of live probes."""
    ours = {name for page in pages for name in page.records}
    for name in FILES_OF_THE_RUN:
        if name in records and name not in ours and (folder / f"{name}.json").exists():
            raise ArithprobeError(f"{folder}: its {name}.json is of the run; choose another --output_dir")
    for page in pages:
        shared = [one for one in records if one in page.records]
        if page.study != study and (page.said.name in names or shared):
            what = f"{shared[0]}.json" if shared else page.path.name
            raise ArithprobeError(f"{folder}: its {what} is of {page.study}; choose another --output_dir")
        if page.live:
            raise ArithprobeError(f"{folder}: has what live probes wrote during a fit; choose another --output_dir")


def pages_in(folder: Path) -> Iterator[StoredPage]:
    """The page files of a folder that can be read; one that cannot be is written anew by who wrote it."""
    for path in sorted(folder.glob(f"*{ENDING}")):
        try:
            yield read_page(path)
        except ArithprobeError:
            continue


def write_said(said: Said, folder: Path, study: str) -> list[Path]:
    """Write all that was said: everything is drawn before anything is written, and the page files come last.

    What an earlier run of the same study left and this one does not name is removed. A picture whose name is another
    analysis's in this folder takes its own name in front.

    Args:
        said: What was said.
        folder: Where.
        study: What said it: the class's full name.

    Returns:
        The files of numbers, and the PNG of each picture; beside it stands the SVG.

    Raises:
        ArithprobeError: If a file of another study has one of the names that it says, or cannot be written.
    """
    pages = list(pages_in(folder))
    _require_own(folder, pages, study, [one.name for one in said.parts], [n for one in said.parts for n in one.records])
    parts = [_renamed(one, folder, pages) for one in said.parts]
    drawn = {picture.name: _drawn(picture) for one in parts for picture in one.pictures}
    records = {name: to_json(record) + "\n" for one in parts for name, record in one.records.items()}
    page_files = {one.name: to_json(page_record(one, study)) + "\n" for one in parts}
    for name, (pixels, text) in drawn.items():
        write_whole(folder / "figures" / f"{name}.svg", text)
        write_whole(folder / "figures" / f"{name}.png", pixels)
    for one in parts:
        for name, write in one.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write(folder / name)
    written = [write_whole(folder / f"{name}.json", text) for name, text in records.items()]
    own = {one.name for one in parts}
    _tidy(folder, [page for page in pages if page.said.name in own], parts)
    for name, text in page_files.items():
        write_whole(folder / f"{name}{ENDING}", text)
    return [*written, *(folder / "figures" / f"{name}.png" for name in drawn)]


def _drawn(picture: Picture) -> tuple[bytes, str]:
    """A picture as PNG and as SVG."""
    figure = picture.draw()
    return to_png(to_rgb(figure)), to_svg(figure)


def _renamed(said: Said, folder: Path, pages: list[StoredPage]) -> Said:
    """The same, without pictures of the names that others have in this folder."""
    others = [page for page in pages if page.said.name != said.name]
    others += pages_in(folder / "probes")  # of live probes, where this is the folder of a run
    taken = {picture.name for page in others for picture in page.said.pictures}
    blocks = (
        replace(one, name=f"{said.name}_{one.name}") if isinstance(one, Picture) and one.name in taken else one
        for one in said.blocks
    )
    return replace(said, blocks=tuple(blocks))


def _tidy(folder: Path, earlier: list[StoredPage], parts: list[Said]) -> None:
    """Remove what an earlier run named and this one does not."""
    kept = {picture.name for one in parts for picture in one.pictures}
    files = {name for one in parts for name in one.files}
    old = [page.picture(one.name) for page in earlier for one in page.said.pictures if one.name not in kept]
    gone = [path.with_name(path.name + ending) for path in old for ending in _ENDINGS]
    gone += [folder / name for page in earlier for name in page.files if name not in files]
    for path in gone:
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):  # a page file can name any path
            path.unlink()
