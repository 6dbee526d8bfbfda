"""Write the notebooks for learners: without solutions."""

from pathlib import Path

from helpers import paths
from helpers.runs.parameters import notebooks


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
    from nbconvert import NotebookExporter
    from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

    out = Path(out)
    if out.is_file() or any(out.glob("*")):
        raise ValueError(
            f"{out} is not an empty folder, and nothing is overwritten: choose a new one"
        )
    solutions = TagRemovePreprocessor(remove_cell_tags={"solution"}, enabled=True)
    outputs = ClearOutputPreprocessor(enabled=True)
    exporter = NotebookExporter(preprocessors=[solutions, outputs])
    written = []
    for path in notebooks([""]):  # every name begins with nothing
        text, _ = exporter.from_filename(str(path))
        written.append(out / path.relative_to(paths.ROOT / "notebooks"))
        paths.write_text(written[-1], text)
    return written
