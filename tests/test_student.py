"""The students' notebooks: no solution, everything else, nothing overwritten, and they run from any folder."""

import ast
import json
import re
import shutil

import nbformat
import papermill
import pytest

from helpers import runs
from helpers.__main__ import main

COMPARED = "nbval-check-output"
SAID = [nbformat.v4.new_output("stream", name="stdout", text="7 pixels\n")]
NOTEBOOKS = runs.notebooks()


def tagged(cells, tag):
    return [cell for cell in cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(scope="module")
def students(tmp_path_factory):
    """Folder of the students' notebooks of the whole series."""
    folder = tmp_path_factory.mktemp("students") / "day one"
    assert runs.student(folder) == [folder / path.name for path in NOTEBOOKS]
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
        ("code", "print('7 pixels')", COMPARED),
    ):
        book.cells.append(getattr(nbformat.v4, f"new_{kind}_cell")(source, metadata={"tags": tags}))
    for count, cell in enumerate((cell for cell in book.cells if cell.cell_type == "code"), start=1):
        cell.execution_count, cell.outputs = count, SAID
    nbformat.write(book, path)
    return path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_loses_its_solutions_and_nothing_else(students, path):
    book, project = (nbformat.read(folder / path.name, 4) for folder in (students, path.parent))
    nbformat.validate(book)
    solutions, text = tagged(project.cells, "solution"), (students / path.name).read_text(encoding="utf-8")
    assert solutions and not tagged(book.cells, "solution") and "_solution" not in text
    kept = [cell for cell in project.cells if cell not in solutions]
    assert [cell.source for cell in book.cells[:1] + book.cells[2:]] == [cell.source for cell in kept]
    assert tagged(book.cells, "exercise") == tagged(kept, "exercise")  # outputs, too: there are none
    assert f"`notebooks/{path.name}`" in book.cells[1].source
    code = [ast.parse(cell.source) for cell in kept if cell.cell_type == "code"]
    used = {node.id for part in code for node in ast.walk(part) if isinstance(node, ast.Name)}
    for cell in solutions:
        (function,) = [part for part in ast.parse(cell.source).body if isinstance(part, ast.FunctionDef)]
        body = "\n".join(cell.source.splitlines()[function.lineno : function.end_lineno])
        assert body and json.dumps(cell.source)[1:-1] not in text and json.dumps(body)[1:-1] not in text
        made = {node.id for part in ast.parse(cell.source).body if isinstance(part, ast.Assign)
                for node in ast.walk(part.targets[0]) if isinstance(node, ast.Name)}  # fmt: skip
        assert not made & used, "a solution made what another cell uses"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_only_those_that_are_compared(students, path):
    """Their execution counts stay: nbval skips a cell that has none."""
    book, project = (nbformat.read(folder / path.name, 4) for folder in (students, path.parent))
    outputs = {cell.id: cell.outputs for cell in tagged(project.cells, COMPARED)}
    for cell in book.cells:
        if cell.cell_type == "code":
            assert cell.outputs == outputs.get(cell.id, []) and cell.execution_count


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_the_text_shows_is_missing(students, path):
    for cell in nbformat.read(students / path.name, 4).cells:
        if cell.cell_type == "markdown":
            shown = re.findall(r"\]\(([^)#:]+)\)|src=[\"']([^\"':]+)[\"']", cell.source)
            assert all((students / (a or b)).exists() for a, b in shown), shown


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
    assert capsys.readouterr().out == f"1 notebooks without their solutions: {project / 'out'}\n"
    book = nbformat.read(project / "out" / lesson.name, 4)
    assert [cell.source.split("\n")[0] for cell in book.cells[2:]] == [
        "from helpers import runs; run = runs.start('05_lesson', globals())", "*Hint: area is width times height.*",
        "def area(w, h):", "print('7 pixels')",
    ]  # fmt: skip
    assert [cell.get("outputs") for cell in book.cells] == [[], None, [], None, [], SAID]
    assert len(nbformat.read(lesson, 4).cells) == 7  # the project's own is as it was


def test_again_into_the_same_folder(lesson, project, write_notebook):
    """Nothing changed: the same bytes. A notebook of the project changed, came, went: so it does here."""
    out = project / "out"
    runs.student(out)
    before = (out / lesson.name).read_bytes()
    runs.student(out)
    assert (out / lesson.name).read_bytes() == before
    lesson.write_text(lesson.read_text().replace("7 pixels", "8 pixels"))
    write_notebook("06_next")
    runs.student(out)
    assert {p.name for p in out.glob("*.ipynb")} == {"05_lesson.ipynb", "06_next.ipynb"}
    assert b"8 pixels" in (out / lesson.name).read_bytes()
    lesson.unlink()
    assert runs.student(out) == [out / "06_next.ipynb"] and {p.name for p in out.glob("*.ipynb")} == {"06_next.ipynb"}


def worked_on(project):
    """A student has begun in the folder itself."""
    (path,) = runs.student(project / "out")
    path.write_text(path.read_text().replace("...  # your code", "return w + h"))
    return project / "out"


def filled(project):
    (project / "out").mkdir()
    (project / "out" / "thesis.txt").write_text("years of work")
    return project / "out"


def same_name(project):
    """A notebook of that name which this command has never seen."""
    (project / "out").mkdir()
    shutil.copy(project / "notebooks" / "05_lesson.ipynb", project / "out")
    return project / "out"


def with_folder(project):
    runs.student(project / "out")
    (project / "out" / "solved").mkdir()
    return project / "out"


def linked(project):
    (project / "link").symlink_to(project / "notebooks", target_is_directory=True)
    return project / "link"


@pytest.mark.parametrize("occupied, message", [
    (lambda project: project / "notebooks", "notebooks is where the notebooks themselves are"),
    (lambda project: project / "data" / ".." / "notebooks", "is where the notebooks themselves are"),
    (linked, "link is where the notebooks themselves are"),
    (lambda project: project / "notebooks" / "05_lesson.ipynb", "05_lesson.ipynb is a file; expected"),
    (filled, "thesis.txt was not written by this command"),
    (same_name, "05_lesson.ipynb was not written by this command, or changed since: choose another folder"),
    (worked_on, "05_lesson.ipynb was not written by this command, or changed since"),
    (with_folder, "solved was not written by this command"),
])  # fmt: skip
def test_nothing_is_overwritten(lesson, project, capsys, occupied, message):
    (project / "data").mkdir()
    out = occupied(project)
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    assert main(["student", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
