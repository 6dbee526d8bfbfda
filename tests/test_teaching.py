"""What helps to teach: hints before solutions, the guide for teachers, the glossary, and how to contribute."""

import ast
import re
import shlex

import nbformat
import pytest

from helpers import paths, runs
from helpers.__main__ import _parser
from helpers.runs.execute import plan

NOTEBOOKS = runs.notebooks()
CELLS = {path.stem: nbformat.read(path, 4).cells for path in NOTEBOOKS}
DEEPER = {f"deeper/{path.stem}": nbformat.read(path, 4).cells for path in runs.notebooks(["deeper/"])}
EXERCISES = {f"exercises/{path.stem}": nbformat.read(path, 4).cells for path in runs.notebooks(["exercises/"])}
TEACHING, GLOSSARY, CONTRIBUTING = DOCUMENTS = [
    paths.ROOT / name for name in ("notebooks/TEACHING.md", "notebooks/GLOSSARY.md", "CONTRIBUTING.md")
]
TEXT = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
HINT = re.compile(r"<details><summary>Hint</summary>\n\n(\S.*)\n\n</details>", re.DOTALL)
SOLVING = (ast.BinOp, ast.Call, ast.Compare, ast.IfExp, ast.Subscript, ast.GeneratorExp, ast.ListComp)
JAPANESE, CYRILLIC = re.compile(r"[\u3041-\u30ff\u4e00-\u9fff]"), re.compile(r"[А-Яа-яЁё]")
by_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
by_notebook = pytest.mark.parametrize("name", EXERCISES)


def kind(cell):
    """ "exercise", "solution", "hint", or "" for all other cells."""
    if cell.cell_type == "markdown":
        return "hint" if "<summary>" in cell.source else ""
    return "".join({"exercise", "solution"} & set(cell.metadata.get("tags", [])))


def sources(cells, wanted):
    return [cell.source for cell in cells if kind(cell) == wanted]


def section(path, heading):
    """The text below a heading of a document, up to the next one of its level or above."""
    level = len(heading.split(" ")[0])
    return re.search(rf"(?ms)^{re.escape(heading)}$\n(.*?)(?=^#{{1,{level}}} |\Z)", TEXT[path])[1]


def rows(text):
    """Cells of the rows of all tables in a text, without their headings."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    rules = {number for number, line in enumerate(lines) if set("".join(line)) <= set("-")}
    return [[cell.strip() for cell in line] for n, line in enumerate(lines) if n not in rules and n + 1 not in rules]


def outside_code(text):
    return re.sub(r"(?ms)^```.*?^```", "", text)


def quoted(text):
    """What stands in backticks."""
    return re.findall(r"`([^`\n]+)`", outside_code(text))


def exercises():
    """dict from "02.1" to the title of the exercise."""
    text = "\n".join(cell.source for cells in EXERCISES.values() for cell in cells if cell.cell_type == "markdown")
    return dict(re.findall(r"^## (\d\d\.\d) · (.+)$", text, re.MULTILINE))


# --- hints


def bare(text):
    return re.sub(r"[\s`]", "", text).translate(str.maketrans("−·×", "-**"))


def given_away(hint, solution):
    """Pieces of the solution's code that stand in the hint."""
    (function,) = [part for part in ast.parse(solution).body if isinstance(part, ast.FunctionDef)]
    pieces = {bare(ast.unparse(node)) for part in function.body for node in ast.walk(part) if isinstance(node, SOLVING)}
    return sorted(piece for piece in pieces if piece in bare(hint))


@by_notebook
def test_every_exercise_has_a_hint_before_its_solution(name):
    """One for each exercise, below its prompt: above the stub or below it."""
    order = [kind(cell) for cell in EXERCISES[name] if kind(cell)]
    for place in range(0, len(order), 3):
        assert sorted(order[place : place + 2]) == ["exercise", "hint"] and order[place + 2] == "solution", order
    assert order


@by_notebook
def test_all_hints_look_alike(name):
    """Folded, short, and nowhere else."""
    for cell in EXERCISES[name]:
        if kind(cell) == "hint":
            text = HINT.fullmatch(cell.source)
            assert text, cell.source
            assert len(re.findall(r"[.?!](?:\s|$)", text[1])) <= 2 and len(text[1]) <= 300, text[1]
        elif cell.cell_type == "markdown":
            assert not re.search(r"\bHint\b", cell.source), cell.source


@by_notebook
def test_no_hint_gives_the_solution_away(name):
    hints, solutions = (sources(EXERCISES[name], wanted) for wanted in ("hint", "solution"))
    for hint, solution in zip(hints, solutions, strict=True):
        assert not given_away(hint, solution), hint


@pytest.mark.parametrize("hint, told", [
    ("Write `(seen - light) / share`.", ["(seen-light)/share", "seen-light"]),
    ("Take seen − light, then see.", ["seen-light"]),
    ("What does the light add to what is seen?", []),
])  # fmt: skip
def test_a_hint_that_tells_is_noticed(hint, told):
    assert given_away(hint, "def ground_solution(seen, light, share):\n    return (seen - light) / share") == told


def test_learners_get_the_hints(tmp_path):
    runs.student(tmp_path / "class")
    for name, cells in EXERCISES.items():
        kept = nbformat.read(tmp_path / "class" / f"{name}.ipynb", 4).cells
        assert sources(kept, "hint") == sources(cells, "hint") != []


# --- the guide


def test_the_guide_names_every_notebook_and_no_other():
    named = set(re.findall(r"`(\d\d_\w+)`", TEXT[TEACHING]))
    lines = [line for line in TEXT[TEACHING].splitlines() if "being written" in line]
    planned = {name for line in lines for name in re.findall(r"`(\d\d_\w+)`", line)}
    assert not planned & set(CELLS), "is written by now: give it its rows"
    assert named - planned == set(CELLS)
    for heading in ("## Before the day", "## One question for each notebook"):
        listed = [row[0].strip("`") for row in rows(section(TEACHING, heading))]
        assert listed == sorted(CELLS), heading


def test_the_guide_lists_every_exercise_by_its_title():
    listed = {row[0].strip("`"): row[1] for row in rows(section(TEACHING, "## The exercises"))}
    assert listed == exercises()
    assert set(re.findall(r"`(\d\d\.\d)`", TEXT[TEACHING])) == set(listed)
    assert set(re.findall(r"`(exercises/\w+)`", TEXT[TEACHING])) == set(EXERCISES)


@by_notebook
def test_the_minutes_in_a_title_are_those_of_the_guide(name):
    """One star is 5 minutes, two are 10, three 20."""
    stars = {row[0].strip("`"): row[2] for row in rows(section(TEACHING, "## The exercises"))}
    minutes = sum({"★": 5, "★★": 10, "★★★": 20}[told] for number, told in stars.items() if number[:2] == name[-2:])
    assert f"**Time:** about {minutes} minutes." in EXERCISES[name][0].source
    (lesson,) = (path.stem for path in NOTEBOOKS if path.stem.startswith(name[-2:]))
    links = [cell.source for cell in CELLS[lesson] if f"]({name}.ipynb)" in cell.source]
    assert len(links) == 1 and f"bout {minutes} minutes." in links[0]


@pytest.mark.parametrize("heading, minutes", [("## Half a day", 210), ("## A full day", 420)])
def test_a_plan_leaves_no_gap_and_names_sections_that_there_are(heading, minutes):
    table, end = rows(section(TEACHING, heading)), 0
    for span, notebook, sections, _ in table:
        first, last = map(int, span.split("–"))
        assert first == end < last, span
        end = last
        found = re.findall(r"^#+ (.+)$", "\n".join(c.source for c in (CELLS | DEEPER | EXERCISES)[notebook.strip("`")]
                                                   if c.cell_type == "markdown"), re.MULTILINE)  # fmt: skip
        wanted = [part.strip("*") for part in sections.split(" · ")]
        missing = [part for part in wanted if not any(each.replace("`", "").startswith(part) for each in found)]
        assert wanted and not missing, (notebook, missing)
    assert end == minutes


@by_document
def test_commands_can_be_given_as_they_stand(path):
    """Command, notebook, profile, and every parameter with its value."""
    fenced = re.findall(r"(?ms)^```sh\n(.*?)^```", TEXT[path])
    lines = [line.split("  #")[0].strip() for block in fenced for line in block.splitlines()]
    known = (paths.ROOT / "Makefile").read_text(encoding="utf-8")
    for command in [*quoted(TEXT[path]), *lines]:
        command = command.replace("'", "").replace("/path/to/folder", str(paths.DATA))  # a folder that exists
        words = shlex.split(command) if re.match(r"(\S*python|make) ", command) else [""]
        if words[:3] == ["python", "-m", "helpers"] and "…" not in command:
            options = {"notebooks": [], "profile": "workshop", "values": []} | vars(_parser().parse_args(words[3:]))
            if words[3] == "run":
                plan(options["notebooks"], options["profile"], dict(options["values"]))
        elif words[0] == "make":
            for word in words[1:]:
                name = word.partition("=")[0]
                assert re.search(rf"^{name}:" if name == word else rf"\({name}\)", known, re.MULTILINE), command


def test_parameters_are_such_as_a_notebook_has():
    declared = [runs.declared(path) for path in NOTEBOOKS]
    given = [text.split("=") for text in quoted(TEXT[TEACHING]) if re.fullmatch(r"[a-z_]+=\w+", text)]
    assert len(given) > 2
    for name, value in given:
        owners = [parameters for parameters in declared if name in parameters]
        assert owners, name
        assert runs.check({name: ast.literal_eval(value.title() if value.isalpha() else value)}, owners[0])


def code(heading):
    """The Python below a heading of the guide."""
    (block,) = re.findall(r"(?ms)^```python\n(.*?)^```", section(TEACHING, heading))
    return block


def test_the_small_study_can_be_run(monkeypatch, folders):
    """Its grid is one that the notebook allows, its table what a sweep gives; nothing is trained."""
    import pandas as pd

    asked = {}

    def sweep(name, notebook, grid, *, values):
        (path,) = runs.notebooks([notebook])
        for each, choices in grid.items():
            assert len(choices) > 1 and all(runs.check({each: value}, runs.declared(path)) for value in choices)
        asked.update(runs.check(values, runs.declared(path)), runs=len(grid["steps"]) * len(grid["seed"]))
        source = "".join(cell.source for cell in CELLS[path.stem]) + (paths.ROOT / "helpers/models.py").read_text()
        assert "srcnn_residual" in source
        return pd.DataFrame({"method": ["srcnn_residual", "bicubic"], "steps": 250, "gain_psnr_db": [0.5, None]})

    monkeypatch.setattr(runs, "sweep", sweep)
    known = {}
    exec(code("## A small study"), known)
    assert known["main"].gain_psnr_db.tolist() == [0.5]
    assert asked == {"plain_steps": 1, "runs": 9} and "Nine runs" in section(TEACHING, "## A small study")


def test_the_list_of_what_was_handed_in(tmp_path, monkeypatch, capsys):
    for name, said in (("anna", "right\n"), ("boris", "right for Landsat only\n"), ("chie", None)):
        cells = [nbformat.v4.new_code_cell("check()", metadata={"tags": ["exercise"]}), nbformat.v4.new_code_cell("1")]
        cells[0].outputs = [nbformat.v4.new_output("stream", text=said)] if said else []
        (tmp_path / "handed_in").mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "handed_in" / f"{name}.ipynb")
    monkeypatch.chdir(tmp_path)
    exec(code("## Checking what learners did"), {})
    assert capsys.readouterr().out.splitlines() == [
        "anna.ipynb 1 of 1 ['right']", "boris.ipynb 0 of 1 ['right for Landsat only']", "chie.ipynb 0 of 1 ['']",
    ]  # fmt: skip


def test_a_run_whose_kernel_died_goes_on_as_the_guide_says(folders, monkeypatch):
    monkeypatch.setenv("SATELLITE_NOTEBOOKS_RUN_ID", "")  # so that what the guide sets is taken back
    exec(code("### Going on after a stop"), {})
    values = {name: each.default for name, each in runs.declared(NOTEBOOKS[0]).items()}
    first = runs.start(NOTEBOOKS[0].stem, values)
    again = runs.start(NOTEBOOKS[0].stem, values)
    assert first.id == "20250131-093000" and again.folder == first.folder
    first.record([], device={"kind": "cpu"}, training_seconds=0, credits=[])
    with pytest.raises(ValueError, match="already holds a finished run"):
        runs.start(NOTEBOOKS[0].stem, values)


def messages():
    """All texts in the code, with "…" where a value is filled in; and the Makefile."""
    found = [(paths.ROOT / "Makefile").read_text(encoding="utf-8")]
    for path in (paths.ROOT / "helpers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_messages_are_those_of_the_code():
    """Each part between values stands somewhere in the code."""
    known, seen = messages(), 0
    for symptom, *_ in rows(section(TEACHING, "## What goes wrong")):
        for message in re.findall(r"`([^`]+ [^`]*)`", symptom):
            parts = [part.strip(" .;") for part in message.split("…") if len(part.strip(" .;:(")) > 4]
            missing = [part for part in parts if not any(part in text for text in known)]
            assert parts and not missing, (message, missing)
            seen += 1
    assert seen >= 20


# --- the glossary


def words(name):
    """The text of a notebook: without marks of Markdown, names of the code as words, and without a system's name."""
    text = " ".join(cell.source for cell in (CELLS | DEEPER | EXERCISES)[name])
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text).replace("_", " ").replace("Windows", ""))


def test_the_glossary_is_sorted_and_names_each_word_once():
    listed = [row[0].casefold() for row in rows(TEXT[GLOSSARY])]
    assert len(listed) >= 60 and listed == sorted(set(listed))


def test_every_word_appears_first_where_the_glossary_says():
    texts, wrong = {name: words(name) for name in [*sorted(CELLS), *DEEPER, *EXERCISES]}, []  # lessons first
    for word, *_, where in rows(TEXT[GLOSSARY]):
        pattern = re.compile(rf"(?<!\w){re.escape(re.sub(r' [(].*', '', word))}(s|es)?(?!\w)", re.IGNORECASE)
        first = next((name for name, text in texts.items() if pattern.search(text)), "no notebook")
        if where != f"[`{first}`]({first}.ipynb)":
            wrong.append(f"{word}: first in {first}, not {where}")
    assert not wrong


def test_every_word_stands_in_three_languages():
    for word, japanese, russian, meaning, _ in rows(TEXT[GLOSSARY]):
        assert JAPANESE.search(japanese) and not CYRILLIC.search(japanese), word
        assert CYRILLIC.search(russian) and not JAPANESE.search(russian), word
        assert not (JAPANESE.search(word + meaning) or CYRILLIC.search(word + meaning)), word
        assert re.fullmatch(r"[A-Z].{15,120}\.", meaning), meaning


# --- all documents


def slug(heading):
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@by_document
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)\s]+)\)", outside_code(TEXT[path]))
    assert links or path == GLOSSARY
    for link in links:
        assert not re.match(r"\w+:", link), f"{link}: a document for classrooms without internet"
        file, _, place = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.is_file() and target.is_relative_to(paths.ROOT), link
        if place:
            headings = re.findall(r"^#+ (.+)$", outside_code(target.read_text(encoding="utf-8")), re.MULTILINE)
            assert place in map(slug, headings), link


def test_files_and_names_of_the_code_are_there():
    """`path/file`, and `NAME` of `path/file`."""
    text = " ".join(TEXT[CONTRIBUTING].split())
    named = re.compile(r"(?!\.venv|.*NAME|.*NN)([\w./]+/[\w.]*|[\w./]+\.(py|toml|txt|yml))")
    files = [each for each in quoted(TEXT[CONTRIBUTING]) if named.fullmatch(each)]
    assert len(files) > 15 and not [each for each in files if not (paths.ROOT / each).exists()]
    pairs = re.findall(r"`([\w.]+)` (?:of|in) `([\w./]+\.py)`", text)
    assert len(pairs) >= 5
    for name, file in pairs:
        source = (paths.ROOT / file).read_text(encoding="utf-8")
        assert re.search(rf"(?m)^\s*(?:def |class )?{name.split('.')[-1]}\b", source), (name, file)
