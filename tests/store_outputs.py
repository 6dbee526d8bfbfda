"""`python -m tests.store_outputs [NOTEBOOK…]`: run notebooks in profile smoke and keep the outputs that nbval compares.

Cells tagged `nbval-check-output` keep their text, all others nothing; execution counts stay, because nbval skips a
cell that has none without a word.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from helpers import paths, runs

TAG = "nbval-check-output"


def main():
    """Run, then write the kept outputs into the notebooks."""
    paths.RUNS = Path(tempfile.mkdtemp())
    os.environ["SATELLITE_NOTEBOOKS_RUNS"] = str(paths.RUNS)  # for the kernels
    runs.execute(sys.argv[1:], profile="smoke", run_id="outputs")
    for source in runs.notebooks(sys.argv[1:]):
        executed = nbformat.read(paths.RUNS / "outputs" / source.stem / source.name, 4)
        outputs = {cell.id: cell.outputs for cell in executed.cells if cell.cell_type == "code"}
        book = nbformat.read(source, 4)
        for count, cell in enumerate((cell for cell in book.cells if cell.cell_type == "code"), start=1):
            cell.execution_count = count
            cell.outputs = outputs[cell.id] if TAG in cell.metadata.get("tags", []) else []
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
        nbformat.write(book, source)


if __name__ == "__main__":
    main()
