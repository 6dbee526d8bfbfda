"""The learners' notebooks: no solution, everything else, nothing overwritten, and they run from any folder."""

import ast
import json
import re
import shutil

import nbformat
import papermill
import pytest

from helpers import paths, runs
from helpers.__main__ import main

SAID = [nbformat.v4.new_output("stream", name="stdout", text="7 pixels\n")]
NOTEBOOKS = {path.relative_to(paths.ROOT / "notebooks").as_posix(): path for path in runs.notebooks([""])}
by_notebook = pytest.mark.parametrize("name", NOTEBOOKS)


def tagged(cells, tag):
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """Folder of the learners' notebooks of the whole series."""
    folder = tmp_path_factory.mktemp("students") / "day one"
    assert runs.student(folder) == [folder / name for name in NOTEBOOKS]
    return folder


@pytest.fixture
def lesson(project, write_notebook):
    """A project with one notebook: an exercise, its solution, a hint, outputs. Returns the notebook's path."""
    path = write_notebook("05_lesson", "from helpers import runs; run = runs.start('05_lesson', globals())")
    book = nbformat.read(path, 4)
    for kind, source, *tags in (
        ("markdown", "*Hint: area is width times height.*"),
        ("code", "def area(w, h):\n    ...  # your code\n\n\nprint('area:', area(2, 3), seed)", "exercise"),
        ("code", "def area_solution(w, h):\n    return w * h", "solution"),
        ("markdown", "That is width *times* height.", "solution"),
        ("code", "print('7 pixels')", "nbval-check-output"),
    ):
        book.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"tags": tags}))
    for count, cell in enumerate((cell for cell in book.cells if cell.cell_type == "code"), start=1):
        cell.execution_count, cell.outputs = count, SAID
    nbformat.write(book, path)
    return path


def test_the_three_folders_are_written(students):
    numbers = {name.split("/")[0] if "/" in name else "lessons" for name in NOTEBOOKS}
    assert numbers == {"lessons", "deeper", "exercises"}
    assert {path.name for path in students.iterdir()} >= {"deeper", "exercises"}


@by_notebook
def test_every_notebook_loses_its_solutions_and_nothing_else(students, name):
    book, project = nbformat.read(students / name, 4), nbformat.read(NOTEBOOKS[name], 4)
    nbformat.validate(book)
    solutions, text = tagged(project.cells, "solution"), (students / name).read_text(encoding="utf-8")
    assert bool(solutions) == name.startswith("exercises/")
    assert not tagged(book.cells, "solution") and "_solution" not in text
    kept = [cell for cell in project.cells if cell not in solutions]
    assert [cell.source for cell in book.cells] == [cell.source for cell in kept]
    assert [cell.metadata for cell in book.cells] == [cell.metadata for cell in kept]
    assert not any(cell.get("outputs") for cell in book.cells)
    code = [ast.parse(cell.source) for cell in kept if cell.cell_type == "code"]
    used = {node.id for part in code for node in ast.walk(part) if isinstance(node, ast.Name)}
    for cell in solutions:
        assert json.dumps(cell.source)[1:-1] not in text
        if cell.cell_type == "markdown":
            continue
        (function,) = [part for part in ast.parse(cell.source).body if isinstance(part, ast.FunctionDef)]
        body = "\n".join(cell.source.splitlines()[function.lineno : function.end_lineno])
        assert body and json.dumps(body)[1:-1] not in text
        made = {node.id for part in ast.parse(cell.source).body if isinstance(part, ast.Assign)
                for node in ast.walk(part.targets[0]) if isinstance(node, ast.Name)}  # fmt: skip
        assert not made & used, "a solution made what another cell uses"


@by_notebook
def test_nothing_that_the_text_shows_is_missing(students, name):
    for cell in nbformat.read(students / name, 4).cells:
        if cell.cell_type == "markdown":
            shown = re.findall(r"\]\(([^)#:]+)\)|src=[\"']([^\"':]+)[\"']", cell.source)
            assert all(((students / name).parent / (a or b)).exists() for a, b in shown), shown


def test_a_students_notebook_runs_from_any_folder(lesson, project, monkeypatch):
    """Opened in Jupyter or run by papermill, with a copy of it alone in a folder; the project says what is allowed."""
    (student,) = runs.student(project / "out")
    (project / "elsewhere").mkdir()
    alone = shutil.copy(student, project / "elsewhere" / "mine.ipynb")
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_ROOT", str(project))
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUNS", str(project / "runs"))
    book = papermill.execute_notebook(alone, None, {"seed": 4}, cwd=project / "elsewhere", progress_bar=False)
    said = "".join(output.text for cell in book.cells for output in cell.get("outputs", []))
    assert "05_lesson · profile workshop · seed 4" in said and "area: None 4" in said
    with pytest.raises(papermill.PapermillExecutionError, match="seed is 'four'; expected int"):
        papermill.execute_notebook(alone, None, {"seed": "four"}, cwd=project / "elsewhere", progress_bar=False)


def test_what_a_student_sees(lesson, project, capsys):
    assert main(["student", str(project / "out")]) == 0
    assert capsys.readouterr().out == f"{project / 'out' / lesson.name}\n"
    book = nbformat.read(project / "out" / lesson.name, 4)
    assert [cell.source.split("\n")[0] for cell in book.cells[1:]] == [
        "from helpers import runs; run = runs.start('05_lesson', globals())", "*Hint: area is width times height.*",
        "def area(w, h):", "print('7 pixels')",
    ]  # fmt: skip
    assert [cell.get("outputs") for cell in book.cells] == [[], [], None, [], []]
    assert len(nbformat.read(lesson, 4).cells) == 7  # the project's own is as it was


def written_before(project):
    """Learners may have worked in these notebooks."""
    runs.student(project / "out")
    return project / "out"


def filled(project):
    (project / "out").mkdir()
    (project / "out" / "thesis.txt").write_text("years of work")
    return project / "out"


def linked(project):
    (project / "link").symlink_to(project / "notebooks", target_is_directory=True)
    return project / "link"


@pytest.mark.parametrize("occupied", [
    lambda project: project / "notebooks", lambda project: project / "data" / ".." / "notebooks", linked,
    lambda project: project / "notebooks" / "05_lesson.ipynb", filled, written_before,
])  # fmt: skip
def test_nothing_is_overwritten(lesson, project, capsys, occupied):
    (project / "data").mkdir()
    out = occupied(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert main(["student", str(out)]) == 2
    told = f"error: {out} is not an empty folder, and nothing is overwritten: choose a new one\n"
    assert capsys.readouterr().err == told
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_an_empty_folder_will_do(lesson, project):
    (project / "out").mkdir()
    assert runs.student(project / "out") == [project / "out" / lesson.name]
