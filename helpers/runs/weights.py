"""Weights that work at once: made of a finished run, kept in `data/weights`, and given to a network to start from."""

import hashlib
import io
import json
import shlex
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.acquire import packs
from helpers.apply.network import model_path, read_network
from helpers.runs import parameters
from helpers.runs.execute import notebooks, plan
from helpers.runs.run import Run, check_run_id

MOST_BYTES = 2_000_000  # they are kept with the code
SIZE = ("scale", "filters", "blocks", "depth", "shrink", "published", "transposed", "latent_size", "image_size")
SPLIT = ("seed", "block_px", "guard_px", "cloud_level", "test_on", "validate_on", "train_views", "validation_views")


def publish(run_id, notebook, name, *, method=None):
    """Make `data/weights/<name>.keras` and `.json` of a finished run: small, and telling where it comes from.

    Weights are rounded to 8 significant bits, as bfloat16 has them, and stored as float16, which Keras reads as well.
    Compressed, 1.21 M weights take 1.86 MB; 2.25 MB with all bits of float16.

    Args:
        run_id: of the run.
        notebook: its name, or the beginning of it.
        name: letters, digits, "-", "_" and "."; weights of that name are replaced if the same notebook made them.
        method: of a model in the run's folder `models`; default: the headline.

    Returns:
        Path of the .keras file.

    Raises:
        ValueError: no such finished run or model, a name that another notebook uses, imagery that is no pack (nobody
            knows its licence), or more than 2 MB.
    """
    source, target = notebooks([notebook])[0], paths.ROOT / "data" / "weights" / f"{check_run_id(name)}.keras"
    folder = paths.RUNS / run_id / source.stem
    path = folder / (f"models/{method}.keras" if method else "model.keras")
    made = paths.read_json(folder / "metrics.json") if (folder / "metrics.json").exists() else {"scores": []}
    row = next((row for row in made["scores"] if (row["method"] == method if method else row.get("headline"))), None)
    if row is None or not path.exists():
        saved = ", ".join(sorted(each.stem for each in folder.glob("models/*.keras"))) or "none"
        raise ValueError(f"{path} is no model with scores of a finished run; methods beside the headline: {saved}")
    imagery = made["parameters"]["source"]
    if imagery not in packs.catalogue():
        raise ValueError(f"{path} learned on {imagery}, which is no pack: nobody knows whether it may be passed on")
    if target.exists() and _told(target)["notebook"] != source.stem:
        raise ValueError(f"{target} is in use by {_told(target)['notebook']}: choose another name")
    network = read_network(path)
    network.set_weights([_rounded(values) for values in network.get_weights()])
    with tempfile.TemporaryDirectory() as work:
        kept = Run(run_id, source.stem, made["profile"], {}, Path(work))
        small = kept.save_model(network, **paths.read_json(path.with_suffix(".json")))
        content, about = _halved(small), paths.read_json(small.with_suffix(".json"))
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} has {len(content):,} bytes after halving; at most {MOST_BYTES:,} are kept with the "
                         "notebooks: train a smaller network, by its parameter filters for instance")  # fmt: skip
    with paths.atomic(target) as temporary:
        temporary.write_bytes(content)
    about["provenance"] = {"command": _command(source, made), "method": row["method"]} | made | {
        "scores": row, "credits": paths.read_json(folder / "credits.json"),
        "licence": packs.catalogue()[imagery].licence, "sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
    paths.write_json(target.with_suffix(".json"), about)
    return target


def start_from(model, name, run, bands):
    """Give a network, before it is trained, what another one of its kind has learned.

    Networks see values mapped to 0 to 1 from the range of their training ground. On the same ground that range is the
    same; imagery of another `source` is mapped from its own, as ever, and so the model that is saved says.

    Args:
        model: keras.Model; layers that are fixed, such as a table of colours, stay as they are.
        name: name in `data/weights`, or path of a `.keras` file of a finished run.
        run: Run of the notebook.
        bands: names of the bands of its imagery.

    Raises:
        ValueError: no such weights; another notebook, other bands, another size of network (says what differs); or the
            same imagery split otherwise: the weights may then know what is test ground now.
    """
    path = model_path(name)
    told, expected = _told(path), paths.read_json(path.with_suffix(".json"))["bands"]
    if told["notebook"] != run.notebook or expected != list(bands):
        raise ValueError(f"{name} is of {told['notebook']} for the bands {', '.join(expected)}; this is "
                         f"{run.notebook} with the bands {', '.join(bands)}: choose other weights")  # fmt: skip
    before, now = told["parameters"], run.parameters
    differ = {key: f"{key} {before[key]}, here {now[key]}" for key in now if before.get(key, now[key]) != now[key]}
    size, split = ("; ".join(differ[key] for key in names if key in differ) for names in (SIZE, SPLIT))
    theirs, mine = read_network(path).weights, model.weights
    # a network that was saved may end in further layers, such as one that paints the classes of a map
    if size or [weight.shape for weight in theirs[: len(mine)]] != [weight.shape for weight in mine]:
        have, need = (f"{sum(weight.shape.num_elements() for weight in each):,}" for each in (theirs, mine))
        why = f"as it was made with {size}: give the same value" if size else "and no parameter tells why"
        raise ValueError(f"{name} has {have} weights, this network {need}, {why}, or choose other weights")
    if split and before["source"] == now["source"]:
        raise ValueError(f"{name} may have learned on what is test ground here, as it was made with "
                         f"{split}: give the same value, or train from the beginning")  # fmt: skip
    trained = {id(weight) for weight in model.trainable_weights}
    for weight, value in zip(mine, theirs, strict=False):
        if id(weight) in trained or "/moving_" in weight.path:  # not the tables, which are this ground's own
            weight.assign(value)
    print(f"starting from {name}, trained on {before['source']}")


def _told(path):
    """Which notebook made a model, with which parameters: its own description says it, or the run that it lies in."""
    told = paths.read_json(path.with_suffix(".json")).get("provenance")
    runs = [folder / "metrics.json" for folder in path.parents[:2] if (folder / "metrics.json").exists()]
    if not told and not runs:
        raise ValueError(f"nothing says on which ground {path} was trained: take the model of a finished run")
    return told or paths.read_json(runs[0])


def _command(notebook, made):
    usual = {name: each.default for name, each in parameters.declared(notebook).items()}
    usual |= plan([notebook], made["profile"], {})[notebook.stem]
    changed = (f"{key}={json.dumps(value)}" for key, value in made["parameters"].items() if value != usual.get(key))
    options = "".join(f" -p {shlex.quote(each)}" for each in changed)
    number = notebook.relative_to(paths.ROOT / "notebooks").as_posix().split("_")[0]  # or deeper/02b
    return f"python -m helpers run {number} --profile {made['profile']}{options}"


def _rounded(values):
    """To 8 significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype("float16").astype("float32")


def _halved(keras_file):
    """The bytes of the file with its weights in half precision."""
    import h5py

    halved, content = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(keras_file) as old, zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        with h5py.File(io.BytesIO(old.read("model.weights.h5"))) as whole, h5py.File(halved, "w") as half:

            def store(name, item):
                if isinstance(item, h5py.Dataset):
                    packed = {"compression": "gzip", "shuffle": True} if item.shape else {}
                    half.create_dataset(name, data=item[()].astype("float16"), **packed)

            whole.visititems(store)
        for member in ("config.json", "metadata.json"):
            new.writestr(member, old.read(member))
        new.writestr("model.weights.h5", halved.getvalue())
    return content.getvalue()
