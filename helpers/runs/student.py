"""Write the notebooks for learners: without solutions."""

from pathlib import Path

from helpers import paths
from helpers.runs.execute import notebooks


def student(out):
    """Write all lessons, deeper notebooks and exercises without solutions and outputs.

    Cells tagged `solution` are left out. Exercises, checks and hints stay. The copies run from any
    folder where `helpers` is installed: their parameters are looked up in the project's notebooks.

    Args:
        out: a new or empty folder; it gets the folders that `notebooks` has.

    Returns:
        list of Path, sorted.

    Raises:
        ValueError: `out` is a file, or holds anything.
    """
    import nbformat
    from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

    out = Path(out)
    if out.is_file() or (out.exists() and any(out.iterdir())):
        told = "is not an empty folder, and nothing is overwritten: choose a new one"
        raise ValueError(f"{out} {told}")
    solutions = TagRemovePreprocessor(remove_cell_tags={"solution"})
    outputs = ClearOutputPreprocessor()
    written = []
    for path in notebooks([""]):  # every name begins with nothing
        book, _ = solutions.preprocess(nbformat.read(path, 4), {})
        book, _ = outputs.preprocess(book, {})
        written.append(out / path.relative_to(paths.ROOT / "notebooks"))
        paths.write_text(written[-1], nbformat.writes(book) + "\n")
    return written
