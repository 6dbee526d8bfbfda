"""Read the command line: `python -m helpers fetch | run | apply | export | compare | …`."""

import argparse
import inspect
import re
import sys
import warnings
from pathlib import Path

KERNEL = "{0}. If the notebook's kernel did not start: `python -m ipykernel install` installs it"
FAULT = (
    "{1}: {0}. This is a fault of the program: `python -X dev -m helpers …` shows where"
)
FAILURES = {
    "PapermillExecutionError": "{0.ename}: {0.evalue}\nThe traceback is in the output notebook "
    "of the run (runs/latest names it); `--resume` goes on from there",
    "DeadKernelError": "the notebook's process ended by itself, most often for lack of memory: "
    "close other programs or choose smaller parameters; `--resume` goes on from there",
    "NoSuchKernel": KERNEL,
    "RuntimeError": KERNEL,
    "ModuleNotFoundError": "{0}: pip install 'satellite-notebooks[dask,onnx]' brings it",
}
# What argparse must know of values that are no plain text: the kind of a number, and others.
NUMBERS = {
    "N": int, "CM": float, "VALUE": float, "LO,HI": float, "SCALE,OFFSET": float,
    "N,…": int, "COL,ROW,WIDTH,HEIGHT": int,
}  # fmt: skip
OTHERS = {
    "": {"action": "store_true"},
    "nodata": {"choices": ["nodata"]},
    "NAME=VALUE": {"action": "append", "dest": "values"},
    "FILES": {"nargs": "+"},
    "NAMES": {"nargs": "*"},
}


def main(arguments=None):
    """Run one command; returns the exit status."""
    given = vars(_parser().parse_args(arguments))
    command = given.pop("command")
    try:
        return command(**given) or 0
    except KeyboardInterrupt:
        status = 130
        told = "stopped. What was finished is kept; `--resume` goes on with an interrupted run"
    except (ValueError, OSError) as error:
        status = 2
        told = f"error: {error}"
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        name = type(error).__name__
        status = 1
        told = "error: " + FAILURES.get(name, FAULT).format(error, name)
    print(told, file=sys.stderr)
    return status


def _parser():
    """Read the options of each command from its docstring: name, value if any, and help."""
    parser = argparse.ArgumentParser(prog="python -m helpers")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function in (_fetch, _run, _apply, _export, _compare, _student, _publish):
        told, _, *options = inspect.getdoc(function).splitlines()
        command = commands.add_parser(
            function.__name__[1:], help=told, argument_default=argparse.SUPPRESS
        )
        command.set_defaults(command=function)
        # -1000,8000 is a value, no option; Python 3.14 reads it so by itself
        command._negative_number_matcher = re.compile(r"-\.?\d")
        for option in options:
            option, told = option.split(": ", 1)
            flag, _, form = option.partition(" ")
            kind = {"metavar": form, "type": _reader(form)} if form else {}
            command.add_argument(flag, help=told, **kind, **OTHERS.get(form, {}))
    return parser


def _reader(form):
    """Make a reader of values that the help calls `form`; argparse names it."""

    def read(text):
        if "=" in form:
            name, value = text.split("=", 1)
            return name, value
        if form not in NUMBERS or (form == "LO,HI" and text in ("auto", "model")):
            return text
        numbers = tuple(map(NUMBERS[form], text.split(",")))
        if len(numbers) != form.count(",") + 1 and "…" not in form:
            raise ValueError
        if form in ("N", "CM") and not numbers[0] > 0:
            raise ValueError
        return numbers if "," in form else numbers[0]

    read.__name__ = form
    return read


# The commands; their arguments are named as their options.


def _fetch(packs=None, **options):
    """Fetch and verify the sample imagery.

    packs NAMES: default: all
    --from-folder DIR: take the archives from a folder, without any network
    """
    from helpers.acquire.packs import fetch

    fetch(packs, **options)


def _run(notebooks=(), values=(), **options):
    """Run notebooks and write a report.

    notebooks NAMES: their beginnings, such as 02; default: all lessons
    --profile NAME: smoke, workshop (default) or full
    -p NAME=VALUE: a parameter, read as its type: text stays as it is; may be repeated
    --run-id ID: name of the run; default: the time
    --resume: go on with run ID, or the latest, as it was begun
    """
    from helpers import runs

    if len(dict(values)) < len(values):
        raise ValueError("a parameter is given twice: leave one out")
    report = runs.execute(notebooks, values=dict(values), **options)
    _compare([report.parent.name])
    print(f"\nreport: {report}")


def _apply(model, files, out=None, **options):
    """Apply a trained model to a whole GeoTIFF.

    model MODEL: a .keras file, or a name in data/weights
    files FILES: IN.tif OUT.tif; with --out: images and folders
    --out DIR: write the results of many images to this folder
    --workers N: with --out: processes at a time
    --dask ADDRESS: with --out: use this Dask cluster, such as tcp://host:8786
    --value-range LO,HI: or auto, or model; default: as in training, checked (model: not)
    --scale-offset SCALE,OFFSET: what makes the file's values those of the model
    --nodata VALUE: a value that means no data
    --bands N,…: numbers in the file of the model's bands; default: by name
    --window COL,ROW,WIDTH,HEIGHT: only this part, pixels of IN.tif
    --tta: average over the eight flips and turns; eight times slower
    --cloud-mask FILE.tif: for cloud removal: write the opacity of cloud, 0 to 1, too
    --opaque nodata: for cloud removal: write no data where the ground is invented
    --only-clouded: for cloud removal: leave clear pixels exactly as they are
    --resume: go on with an interrupted run of the same command
    """
    from helpers.apply import apply
    from helpers.apply.many import apply_many

    if out:
        rows = apply_many(model, files, out, **options)
        return "failed" in [state for state, *_ in rows]  # as exit status: 1
    if len(files) != 2 or options.keys() & {"workers", "dask"}:
        raise ValueError(
            f"{len(files)} files are named: give IN.tif OUT.tif, or images and --out DIR, with "
            "--workers or --dask"
        )
    warnings.formatwarning = lambda message, *_: f"note: {message}\n"
    apply(model, *files, **options)


def _export(model, out, **options):
    """Write a model as ONNX, for QGIS (Deepness) and others.

    model MODEL: a .keras file, or a name in data/weights
    out OUT.onnx: file to write
    --tile N: side of a tile, pixels; default: 256
    --resolution CM: width of an input pixel
    """
    from helpers.apply.export import export

    print(f"{out}: {export(model, out, **options)}")


def _compare(run_ids=()):
    """Print the scores of runs.

    run_ids NAMES: runs, or sweeps for all of their runs; default: all
    """
    from helpers import metrics, runs

    table = runs.ledger(run_ids)
    if table.empty:
        print("there are no scores yet")
        return
    for (run, notebook), rows in table.groupby(["run", "notebook"], sort=False):
        scores = [row.dropna().to_dict() for _, row in rows.iloc[:, :-7].iterrows()]
        print(f"\n{run} · {notebook}")
        print(metrics.score_table(scores).to_string(index=False, line_width=100))


def _student(out):
    """Write the notebooks without their solutions.

    out OUT: folder to write them to
    """
    from helpers import runs

    print(*runs.student(out), sep="\n")


def _publish(**options):
    """Keep the network of a finished run in data/weights, to start from or apply.

    run RUN: a finished run
    notebook NOTEBOOK: beginning of a name, such as 02
    name NAME: of the weights
    --method NAME: a model in the run's folder `models`; default: the headline
    """
    import runpy

    # as text: TensorFlow looks for options in what becomes the name of the program
    script = str(Path(__file__).parents[1] / "data/weights/publish.py")
    print(runpy.run_path(script)["publish"](**options))


if __name__ == "__main__":
    sys.exit(main())
