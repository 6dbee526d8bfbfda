"""The command line: `python -m helpers fetch | run | apply | export | compare | publish | student`."""

import argparse
import shutil
import sys
import textwrap
import warnings


def main(arguments=None):
    """Run one command; returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    command = options.pop("command")
    try:
        return command(**options) or 0
    except KeyboardInterrupt:
        print("\nstopped. What was finished is kept; `--resume` goes on with an interrupted run", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        told = "This is a fault of the program: `python -X dev -m helpers …` shows where"
        print(f"error: {type(error).__name__}: {error}. {told}", file=sys.stderr)
        return 2


def _parser():
    parser = argparse.ArgumentParser(prog="python -m helpers", description="Deep learning on satellite images")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="fetch and verify the sample imagery")
    fetch.add_argument("packs", nargs="*", metavar="PACK", help="default: all")
    fetch.add_argument("--from-folder", metavar="DIR", help="take the archives from a folder, without any network")
    fetch.set_defaults(command=_fetch)

    run = commands.add_parser("run", help="run notebooks and write a report")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="begins a name, such as 02; default: lessons")
    run.add_argument("--profile", help="smoke, workshop (default) or full")
    run.add_argument("-p", dest="values", action="append", default=[], metavar="NAME=VALUE", type=_assignment,
                     help="a parameter, read as its type: text stays as it is; may be repeated")  # fmt: skip
    run.add_argument("--run-id", metavar="ID", help="name of the run; default: the time")
    run.add_argument("--resume", action="store_true", help="go on with run ID, or the latest, as it was begun")
    run.set_defaults(command=_run)

    apply = commands.add_parser("apply", help="apply a trained model to a whole GeoTIFF")
    apply.add_argument("model", metavar="MODEL", help="a .keras file, or a name in data/weights")
    apply.add_argument("files", nargs="+", metavar="FILE", help="IN.tif OUT.tif; with --out: images and folders")
    apply.add_argument("--out", metavar="DIR", help="write the results of many images to this folder")
    apply.add_argument("--workers", metavar="N", type=int, default=1, help="with --out: processes at a time")
    apply.add_argument("--dask", metavar="ADDRESS", help="with --out: use this Dask cluster, such as tcp://host:8786")
    apply.add_argument("--value-range", metavar="LO,HI|auto|model", type=_value_range,
                       help="default: as in training, and checked; model: the same unchecked")  # fmt: skip
    apply.add_argument("--scale-offset", metavar="SCALE,OFFSET", type=_numbers(float, "SCALE,OFFSET", "two numbers"),
                       help="the model's values are those of the file times SCALE plus OFFSET")  # fmt: skip
    apply.add_argument("--nodata", metavar="VALUE", type=float, help="a value that means no data")
    apply.add_argument("--bands", metavar="N,…", type=_band_numbers,
                       help="numbers in the file of the model's bands, in its order; default: by name")  # fmt: skip
    apply.add_argument("--window", metavar="COL,ROW,WIDTH,HEIGHT", help="only this part, pixels of IN.tif",
                       type=_numbers(int, "COL,ROW,WIDTH,HEIGHT", "whole numbers"))  # fmt: skip
    apply.add_argument("--tta", action="store_true", help="average over the eight flips and turns; eight times slower")
    apply.add_argument("--uncertainty", metavar="FILE.tif", help="write the spread over the eight flips and turns, too")
    apply.add_argument("--only-clouded", metavar="TOLERANCE", nargs="?", type=_tolerance, const=True, default=False,
                       help="for cloud removal: leave clear pixels exactly as they are, those that the model changes "
                       "in no band by this fraction of the value range or more (0.02 where none is given)")  # fmt: skip
    apply.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same command")
    apply.set_defaults(command=_apply)

    export = commands.add_parser("export", help="write a model as ONNX, for QGIS (Deepness) and others")
    export.add_argument("model", metavar="MODEL", help="a .keras file, or a name in data/weights")
    export.add_argument("out", metavar="OUT.onnx")
    export.add_argument("--tile", dest="tile_px", metavar="PX", type=int, default=256, help="side of a tile; 256")
    export.add_argument("--resolution", dest="resolution_cm", metavar="CM", type=float, help="width of an input pixel")
    export.set_defaults(command=_export)

    compare = commands.add_parser("compare", help="print the scores of runs")
    compare.add_argument(
        "run_ids", nargs="*", metavar="RUN", help="a run, or a sweep for all of its runs; default: all"
    )
    compare.set_defaults(command=_compare)

    publish = commands.add_parser("publish", help="keep a trained network in data/weights, to start from or apply")
    publish.add_argument("run_id", metavar="RUN", help="a finished run")
    publish.add_argument("notebook", metavar="NOTEBOOK", help="beginning of a name, such as 02")
    publish.add_argument("name", metavar="NAME", help="of the weights")
    publish.add_argument("--method", help="a model in the run's folder `models`; default: the headline")
    publish.set_defaults(command=_publish)

    student = commands.add_parser("student", help="write the notebooks without their solutions")
    student.add_argument("out", metavar="OUT", help="folder to write them to")
    student.set_defaults(command=_student)
    return parser


def _assignment(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} should read NAME=VALUE")
    return name, value


def _numbers(kind, names, meaning):
    """What reads an option such as LO,HI as a tuple of numbers."""

    def read(text):
        try:
            numbers = tuple(map(kind, text.split(",")))
        except ValueError:
            numbers = ()
        if len(numbers) != names.count(",") + 1:
            raise argparse.ArgumentTypeError(f"{text!r} should read {names} ({meaning})")
        return numbers

    return read


def _value_range(text):
    return text if text in ("auto", "model") else _numbers(float, "LO,HI", "two numbers, or auto")(text)


def _band_numbers(text):
    return _numbers(int, ",".join(["N"] * (text.count(",") + 1)), "whole numbers")(text)


def _tolerance(text):
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} should be a number, such as 0.05, or be left out: then put the option behind the file names"
        ) from None


# The commands; their arguments are named as the options of the parser.


def _fetch(packs, from_folder):
    from helpers.acquire.packs import fetch

    fetch(packs or None, from_folder=from_folder)


def _run(notebooks, values, **options):
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    from helpers import runs

    twice = [name for name, _ in values if [other for other, _ in values].count(name) > 1]
    if twice:
        raise ValueError(f"parameter {twice[0]} is given twice: leave one out")
    try:
        report = runs.execute(notebooks, values=dict(values), **options)
    except PapermillExecutionError as error:
        print(f"error: {error.ename}: {error.evalue}\nThe traceback stands in the output notebook of the run "
              "(runs/latest names it); `--resume` goes on from there", file=sys.stderr)  # fmt: skip
        return 1
    except DeadKernelError:
        print("error: the notebook's process ended by itself, most often for lack of memory: close other programs or "
              "choose smaller parameters; `--resume` goes on from there", file=sys.stderr)  # fmt: skip
        return 1
    except (NoSuchKernel, RuntimeError) as error:
        print(f"error: the notebook's kernel did not start ({error}): `python -m ipykernel install --user` "
              "installs it anew", file=sys.stderr)  # fmt: skip
        return 1
    _print_scores([report.parent.name])
    print(f"\nreport: {report}")


def _apply(model, files, out, workers, dask, **options):
    from helpers.apply import apply
    from helpers.apply.many import apply_many

    if out is not None:
        if options.pop("uncertainty"):
            raise ValueError("--uncertainty names one file: leave it out, or apply the images one by one")
        del options["resume"]  # many files always go on where they stopped
        rows = apply_many(model, files, out, workers=workers, dask=dask, **options)
        for row in rows:
            print(f"{row['state']:16}  {row['source']}  {row['told']}".rstrip())
        return int(any(row["state"] == "failed" for row in rows))
    if len(files) != 2:
        raise ValueError(f"{len(files)} files are named: give IN.tif OUT.tif, or images and --out DIR")
    if dask or workers != 1:
        raise ValueError("--workers and --dask are for many images: name them, and --out DIR")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
        apply(model, *files, **options)


def _export(model, out, **options):
    from helpers.apply.export import export

    told = export(model, out, **options)
    if "resolution" not in told:
        print("note: the model does not say how wide its pixels are: --resolution CM adds it", file=sys.stderr)
    kind = f"{told['model_type']}, tiles of {told['tile_size']} pixels that overlap by {told['tiles_overlap']} %"
    print(f"{out}: {kind}, bands {', '.join(told['bands'])}")


def _compare(run_ids):
    _print_scores(run_ids or None)


def _publish(**options):
    from helpers import runs

    path = runs.publish(**options)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB. What halving did to its score: pytest tests/test_weights.py")


def _student(out):
    from helpers import runs

    print(f"{len(runs.student(out))} notebooks without their solutions: {out}")


def _print_scores(run_ids):
    from helpers import runs

    table = runs.ledger(run_ids)
    if not len(table):
        print("no notebook of these runs has scores yet" if run_ids else "there is no finished run yet")
        return
    for (run, notebook), rows in table.groupby(["run", "notebook"], sort=False):
        columns, cells = runs.score_table([row.dropna().to_dict() for _, row in rows.iloc[:, 7:].iterrows()])
        lines = [columns, *(line for line, _ in cells)]
        widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
        shown, room = set(), max(100, shutil.get_terminal_size().columns)
        method_score_gain_first = sorted(range(len(columns)), key=lambda i: (i > 4, i in (1, 2), i))
        for i in method_score_gain_first:
            if widths[i] <= room:
                shown.add(i)
                room -= widths[i]
        print(f"\n{run} · {notebook}")
        for line in lines:
            print("".join("  " + line[i].ljust(widths[i] - 2) for i in sorted(shown)).rstrip())
        if dropped := [name for i, name in enumerate(columns) if i not in shown]:
            print(textwrap.fill(f"no room for {', '.join(dropped)}", 98, initial_indent="  ", subsequent_indent="  "))


if __name__ == "__main__":
    sys.exit(main())
