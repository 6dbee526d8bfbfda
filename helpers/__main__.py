"""Read the command line: `python -m helpers fetch | run | apply | export | compare | …`."""

import argparse
import shutil
import sys
import warnings


def main(arguments=None):
    """Run one command; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options) or 0
    except KeyboardInterrupt:
        told = "What was finished is kept; `--resume` goes on with an interrupted run"
        print(f"\nstopped. {told}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        told = "This is a fault of the program: `python -X dev -m helpers …` shows where"
        print(f"error: {type(error).__name__}: {error}. {told}", file=sys.stderr)
    return 2


def _numbers(form, kind=float, words=()):
    """Make a reader of an option such as LO,HI, or one of some words; argparse names its form."""

    def read(text):
        if text in words:
            return text
        numbers = tuple(map(kind, text.split(",")))
        if len(numbers) != form.count(",") + 1 and "…" not in form:
            raise ValueError
        return numbers

    read.__name__ = form
    return read


def _assignment(text):
    name, value = text.split("=", 1)
    return name, value


_assignment.__name__ = "NAME=VALUE"
INSTALL = "`python -m ipykernel install --user` installs it"
KERNEL = "the notebook's kernel did not start ({}): " + INSTALL
FAILURES = {
    "PapermillExecutionError": "{0.ename}: {0.evalue}\nThe traceback is in the output notebook "
    "of the run (runs/latest names it); `--resume` goes on from there",
    "DeadKernelError": "the notebook's process ended by itself, most often for lack of memory: "
    "close other programs or choose smaller parameters; `--resume` goes on from there",
    "NoSuchKernel": KERNEL,
    "RuntimeError": KERNEL,
}

# Each option: name, what stands for its value (None for a switch), help, what else argparse takes.
MODEL = ("model", "MODEL", "a .keras file, or a name in data/weights")
RANGE, SCALE, WINDOW = "LO,HI", "SCALE,OFFSET", "COL,ROW,WIDTH,HEIGHT"
OPTIONS = {
    "fetch": [
        "fetch and verify the sample imagery",
        ("packs", "PACK", "default: all", {"nargs": "*"}),
        ("--from-folder", "DIR", "take the archives from a folder, without any network"),
    ],
    "run": [
        "run notebooks and write a report",
        ("notebooks", "NOTEBOOK", "begins a name, such as 02; default: lessons", {"nargs": "*"}),
        ("--profile", "NAME", "smoke, workshop (default) or full"),
        ("-p", "NAME=VALUE", "a parameter, read as its type: text stays as it is; may be repeated",
         {"action": "append", "type": _assignment, "default": [], "dest": "values"}),
        ("--run-id", "ID", "name of the run; default: the time"),
        ("--resume", None, "go on with run ID, or the latest, as it was begun"),
    ],
    "apply": [
        "apply a trained model to a whole GeoTIFF",
        MODEL,
        ("files", "FILE", "IN.tif OUT.tif; with --out: images and folders", {"nargs": "+"}),
        ("--out", "DIR", "write the results of many images to this folder"),
        ("--workers", "N", "with --out: processes at a time", {"type": int, "default": 1}),
        ("--dask", "ADDRESS", "with --out: use this Dask cluster, such as tcp://host:8786"),
        ("--value-range", "LO,HI|auto|model", "default: as in training, checked; model: unchecked",
         {"type": _numbers(RANGE, words=("auto", "model"))}),
        ("--scale-offset", SCALE, "what makes the file's values those of the model",
         {"type": _numbers(SCALE)}),
        ("--nodata", "VALUE", "a value that means no data", {"type": float}),
        ("--bands", "N,…", "numbers in the file of the model's bands; default: by name",
         {"type": _numbers("N,…", int)}),
        ("--window", WINDOW, "only this part, pixels of IN.tif", {"type": _numbers(WINDOW, int)}),
        ("--tta", None, "average over the eight flips and turns; eight times slower"),
        ("--cloud-mask", "FILE.tif", "for cloud removal: write the opacity of cloud, 0 to 1, too"),
        ("--opaque", "nodata", "for cloud removal: write no data where the ground is invented",
         {"choices": ["nodata"]}),
        ("--only-clouded", None, "for cloud removal: leave clear pixels exactly as they are"),
        ("--resume", None, "go on with an interrupted run of the same command"),
    ],
    "export": [
        "write a model as ONNX, for QGIS (Deepness) and others",
        MODEL,
        ("out", "OUT.onnx", "file to write"),
        ("--tile", "PX", "side of a tile; 256", {"type": int, "default": 256, "dest": "tile_px"}),
        ("--resolution", "CM", "width of an input pixel", {"type": float, "dest": "resolution_cm"}),
    ],
    "compare": [
        "print the scores of runs",
        ("run_ids", "RUN", "a run, or a sweep for all of its runs; default: all", {"nargs": "*"}),
    ],
    "publish": [
        "keep a trained network in data/weights, to start from or apply",
        ("run_id", "RUN", "a finished run"),
        ("notebook", "NOTEBOOK", "beginning of a name, such as 02"),
        ("name", "NAME", "of the weights"),
        ("--method", "NAME", "a model in the run's folder `models`; default: the headline"),
    ],
    "student": [
        "write the notebooks without their solutions",
        ("out", "OUT", "folder to write them to"),
    ],
}  # fmt: skip


def _parser():
    parser = argparse.ArgumentParser(prog="python -m helpers")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (told, *options) in OPTIONS.items():
        command = commands.add_parser(name, help=told)
        command.set_defaults(command=globals()[f"_{name}"])
        for flag, value, meaning, *more in options:
            kind = {"metavar": value} if value else {"action": "store_true"}
            command.add_argument(flag, help=meaning, **kind, **dict(*more))
    return parser


# The commands; their arguments are named as their options.


def _fetch(packs, from_folder):
    from helpers.acquire.packs import fetch

    fetch(packs or None, from_folder=from_folder)


def _run(notebooks, values, **options):
    from helpers import runs

    names = [name for name, _ in values]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"parameter {name} is given twice: leave one out")
    try:
        report = runs.execute(notebooks, values=dict(values), **options)
    except Exception as error:  # papermill's, nbclient's and jupyter_client's
        told = FAILURES.get(type(error).__name__)
        if told is None:
            raise
        print(f"error: {told.format(error)}", file=sys.stderr)
        if not sys.stderr.isatty():  # a log keeps the traceback
            print(error, file=sys.stderr)
        return 1
    _compare([report.parent.name])
    print(f"\nreport: {report}")
    return 0


def _apply(model, files, out, workers, dask, **options):
    from helpers.apply import apply
    from helpers.apply.many import apply_many

    if out is not None:
        if options.pop("cloud_mask"):
            raise ValueError("--cloud-mask names one file: apply the images one by one")
        del options["resume"]  # many files always go on where they stopped
        rows = apply_many(model, files, out, workers=workers, dask=dask, **options)
        for row in rows:
            print(f"{row['state']:16}  {row['source']}  {row['told']}".rstrip())
        return int(any(row["state"] == "failed" for row in rows))
    if len(files) != 2 or dask or workers != 1:
        told = "give IN.tif OUT.tif, or images and --out DIR, with --workers or --dask"
        raise ValueError(f"{len(files)} files are named: {told}")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
        apply(model, *files, **options)


def _export(model, out, **options):
    from helpers.apply.export import export

    told = export(model, out, **options)
    if "resolution" not in told:
        print("note: --resolution CM says how wide a pixel is, for QGIS", file=sys.stderr)
    print(f"{out}: {told['model_type']}, bands {', '.join(told['bands'])}")


def _publish(**options):
    from helpers import runs

    path = runs.publish(**options)
    size_mb = path.stat().st_size / 1e6
    told = "pytest tests/test_weights.py shows what rounding did to its score"
    print(f"{path}: {size_mb:.2f} MB. {told}")


def _student(out):
    from helpers import runs

    print(f"{len(runs.student(out))} notebooks without their solutions: {out}")


def _compare(run_ids):
    from helpers import metrics, runs

    table = runs.ledger(run_ids or None)
    if table.empty:
        told = "no notebook of these runs has scores yet"
        print(told if run_ids else "there is no finished run yet")
        return
    width = max(100, shutil.get_terminal_size().columns)
    for (run, notebook), rows in table.groupby(["run", "notebook"], sort=False):
        scores = [row.dropna().to_dict() for _, row in rows.iloc[:, 7:].iterrows()]
        told = metrics.score_table(scores).to_string(index=False, line_width=width)
        print(f"\n{run} · {notebook}\n{told}")


if __name__ == "__main__":
    sys.exit(main())
