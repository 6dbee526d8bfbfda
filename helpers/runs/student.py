"""The notebooks as students get them: without the solutions."""

import hashlib
from pathlib import Path

from helpers import paths
from helpers.runs.execute import notebooks

NOTE = (
    "*This is the students' version. The solutions that the text speaks of were taken out; they stand in the project's "
    "own notebook, `notebooks/{name}`, below each exercise.*"
)


def student(out):
    """Write the notebooks of the series without their solutions.

    Cells tagged `solution` are left out, and outputs, but for those of cells tagged `nbval-check-output`: text that is
    the same everywhere, to be expected. Exercises, checks and hints stay. The notebooks run from any folder where
    `helpers` is installed, without a file beside them: what parameters may be is read from the project's notebooks.

    Args:
        out: folder to write to; may exist if it is empty, or holds only what this function wrote, unchanged.

    Returns:
        list of Path, sorted.

    Raises:
        ValueError: `out` is the folder of the project's notebooks, a file, or holds anything else (names it).
    """
    import nbformat

    out = Path(out)
    if out.resolve() == (paths.ROOT / "notebooks").resolve():
        raise ValueError(f"{out} is where the notebooks themselves are: choose another folder")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; expected the name of a folder")
    listing = out / ".student.json"
    written = paths.read_json(listing) if listing.exists() else {}
    present = [path for path in sorted(out.glob("*")) if path != listing]
    for path in present:
        if not path.is_file() or written.get(path.name) != _digest(path.read_text(encoding="utf-8", errors="replace")):
            raise ValueError(f"{path} was not written by this command, or changed since: choose another folder")
    books = {path.name: nbformat.writes(_without_solutions(path)) + "\n" for path in notebooks()}
    paths.write_json(listing, {name: _digest(text) for name, text in books.items()})
    for path in present:
        if path.name not in books:  # of a notebook that is gone, or has another name now
            path.unlink()
    for name, text in books.items():
        paths.write_text(out / name, text)
    return [out / name for name in books]


def _digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _without_solutions(path):
    import nbformat

    book = nbformat.read(path, 4)
    book.cells = [cell for cell in book.cells if "solution" not in cell.metadata.get("tags", [])]
    for cell in book.cells:
        if cell.cell_type == "code" and "nbval-check-output" not in cell.metadata.get("tags", []):
            cell.outputs = []
    book.cells.insert(1, nbformat.v4.new_markdown_cell(NOTE.format(name=path.name), id="students-version"))
    return book
