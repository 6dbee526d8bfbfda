"""The notebooks of exercises: each runs from the top to the end, solutions included, within seconds; their anatomy."""

from concurrent.futures import ThreadPoolExecutor

import nbformat
import papermill
import pytest

from helpers import runs
from helpers.acquire import packs
from tests.notebook_runs import environment

NOTEBOOKS = runs.notebooks(["exercises/"])
by_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tagged(cells, tag):
    return [cell for cell in cells if cell.cell_type == "code" and tag in cell.metadata.get("tags", [])]


def check_name(exercise):
    """Name of the check that the cell of an exercise calls."""
    return exercise.source.rsplit("print(", 1)[1].split("(")[0]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """dict from path to the cells of a run, whose last cell gives each check a function that returns nothing.

    Two at a time, as one alone hardly uses two cores.
    """
    folder = tmp_path_factory.mktemp("exercises")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        for name, value in environment(folder).items():
            patch.setenv(name, value)

        def run(path):
            book = nbformat.read(path, 4)
            checks = ", ".join(check_name(cell) for cell in tagged(book.cells, "exercise"))
            probe = f"for check in [{checks}]:\n    print(check(lambda *arguments: None))"
            book.cells.append(nbformat.v4.new_code_cell(probe))
            nbformat.write(book, folder / path.name)
            options = {"cwd": path.parent, "progress_bar": False, "shutdown_kernel": "immediate"}
            return papermill.execute_notebook(folder / path.name, folder / path.name, **options).cells

        return dict(zip(NOTEBOOKS, pool.map(run, NOTEBOOKS), strict=True))


@pytest.mark.skipif(any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched")
@by_notebook
def test_a_stub_is_told_what_is_wrong_and_its_solution_is_right(executed, path):
    """A wrong solution would have stopped the run: its cell asserts that the check says `right`."""
    exercises, solutions = (tagged(executed[path], tag) for tag in ("exercise", "solution"))
    for exercise, solution in zip(exercises, solutions, strict=True):
        said = "".join(output.text for output in exercise.outputs).splitlines()
        assert len(said) == 1 and not said[0].startswith("right")
        assert f"assert {check_name(exercise)}(" in solution.source and '== "right"' in solution.source


@pytest.mark.skipif(any(packs.missing(name) for name in packs.catalogue()), reason="the packs are not fetched")
@by_notebook
def test_a_forgotten_return_is_told_in_words(executed, path):
    """A traceback from inside a check would tell a learner nothing."""
    *cells, probe = executed[path]
    said = "".join(output.text for output in probe.outputs).splitlines()
    assert len(said) == len(tagged(cells, "exercise")) and "right" not in said


@by_notebook
def test_anatomy(path):
    book = nbformat.read(path, 4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    exercises, solutions = tagged(code, "exercise"), tagged(code, "solution")
    assert 1 <= len(exercises) == len(solutions) <= 3 and not tagged(code, "parameters")
    assert max(len(cell.source.splitlines()) for cell in code) <= 30
    assert all(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in solutions)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(cell.outputs for cell in code)


def test_every_lesson_has_its_exercises():
    """They link the lesson; that the lesson links them is tested with the guide for teachers."""
    lessons = runs.notebooks()
    for lesson, path in zip(lessons, NOTEBOOKS, strict=True):
        title = nbformat.read(path, 4).cells[0].source
        assert path.stem == lesson.stem[:2] and f"](../{lesson.name})" in title
