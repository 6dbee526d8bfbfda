"""Publish weights of a finished run in `data/weights`; start a training from such weights."""

import io
import shlex
import zipfile

import numpy as np

from helpers import paths
from helpers.acquire import packs
from helpers.apply.network import model_path, read_network
from helpers.runs import parameters
from helpers.runs.execute import notebooks, plan
from helpers.runs.run import check_run_id, weights_sha256

MAX_BYTES = 2_000_000  # they are kept with the code
SPLIT = (
    "seed", "block_px", "buffer_px", "cloud_level", "test_on", "validate_on", "train_views",
    "validation_views",
)  # fmt: skip


def publish(run_id, notebook, name, *, method=None):
    """Make `data/weights/<name>.keras` and `.json` of a finished run: small, and with its origin.

    Weights are rounded to 8 significant bits, as bfloat16 has them, and stored as float16, which
    Keras reads as well. Compressed, 1.21 M weights take 1.86 MB; 2.25 MB with all bits of float16.

    Args:
        run_id: of the run.
        notebook: its name, or the beginning of it.
        name: letters, digits, "-", "_" and "."; weights of that name are replaced if the same
            notebook made them.
        method: of a model in the run's folder `models`; default: the headline.

    Returns:
        Path of the .keras file.

    Raises:
        ValueError: no such finished run or model, a name that another notebook uses, imagery that
            is no pack (nobody knows its licence), or more than 2 MB.
    """
    source = notebooks([notebook])[0]
    target = paths.ROOT / "data" / "weights" / f"{check_run_id(name)}.keras"
    folder = paths.RUNS / run_id / source.stem
    path = folder / (f"models/{method}.keras" if method else "model.keras")
    made = _finished(path, method)
    imagery = made["parameters"]["source"]
    if imagery not in packs.catalogue():
        told = "which is no pack: its licence is unknown"
        raise ValueError(f"{path} learned on {imagery}, {told}")
    if target.exists() and (owner := _origin(target)["notebook"]) != source.stem:
        raise ValueError(f"{target} is in use by {owner}: choose another name")
    network = read_network(path)
    network.set_weights([_rounded(values) for values in network.get_weights()])
    with paths.atomic(target) as temporary:
        network.save(temporary)
        content = _halved(temporary)
        if len(content) > MAX_BYTES:
            told = f"at most {MAX_BYTES:,} are kept with the notebooks: train a smaller network"
            raise ValueError(f"{path} has {len(content):,} bytes after halving; {told}")
        temporary.write_bytes(content)
    provenance = made | {
        "command": _command(source, made),
        "credits": paths.read_json(folder / "credits.json"),
        "licence": packs.catalogue()[imagery].licence,
        "sha256": paths.sha256(target),
    }
    about = paths.read_json(path.with_suffix(".json"))
    about |= {"weights_sha256": weights_sha256(network), "provenance": provenance}
    paths.write_json(target.with_suffix(".json"), about)
    return target


def _finished(path, method):
    """Return the `metrics.json` of a model's run, with the method's own row as its scores."""
    metrics = (path.parents[1] if method else path.parent) / "metrics.json"
    made = paths.read_json(metrics) if metrics.exists() else {"scores": []}
    for row in made["scores"]:
        if path.exists() and (row["method"] == method if method else row.get("headline")):
            return made | {"method": row["method"], "scores": row}
    saved = ", ".join(sorted(each.stem for each in metrics.parent.glob("models/*.keras"))) or "none"
    told = f"no model with scores of a finished run; methods beside the headline: {saved}"
    raise ValueError(f"{path} is {told}")


def start_from(model, name, run, bands):
    """Give a network, before it is trained, the weights of another one of its kind.

    Networks see values mapped to 0 to 1 from the range of their training ground. On the same ground
    that range is the same; imagery of another `source` is mapped from its own.

    Args:
        model: keras.Model; layers that are fixed, such as a table of colours, stay as they are.
        name: name in `data/weights`, or path of a `.keras` file of a finished run.
        run: Run of the notebook.
        bands: names of the bands of its imagery.

    Raises:
        ValueError: no such weights; another notebook, other bands, another size of network; or the
            same imagery split otherwise: the weights may have seen its test ground.
    """
    path = model_path(name)
    origin, known = _origin(path), paths.read_json(path.with_suffix(".json"))["bands"]
    if origin["notebook"] != run.notebook or known != list(bands):
        raise ValueError(
            f"{name} is of {origin['notebook']} for the bands {', '.join(known)}; this is "
            f"{run.notebook} with the bands {', '.join(bands)}: choose other weights"
        )
    theirs, mine = read_network(path).weights, model.weights
    # a network that was saved may end in further layers, such as one that paints classes of a map
    if [weight.shape for weight in theirs[: len(mine)]] != [weight.shape for weight in mine]:
        have, need = (sum(int(np.prod(each.shape)) for each in both) for both in (theirs, mine))
        told = f"{name} has {have:,} weights, this network {need:,}"
        raise ValueError(f"{told}: choose other weights, or the same size of network")
    before, now = origin["parameters"], run.parameters
    both = [key for key in SPLIT if key in before and key in now]
    other_split = [key for key in both if before[key] != now[key]]
    if before["source"] == now["source"] and other_split:
        told = "; ".join(f"{key} {before[key]}, here {now[key]}" for key in other_split)
        advice = "it may have learned on what is test ground here: give the same value"
        raise ValueError(f"{name} was made with {told}: {advice}")
    trained = {id(weight) for weight in model.trainable_weights}
    for weight, value in zip(mine, theirs, strict=False):
        if id(weight) in trained or "/moving_" in weight.path:  # tables are this ground's own
            weight.assign(value)
    print(f"starting from {name}, trained on {before['source']}")


def _origin(path):
    """Return the notebook and parameters that made a model, as its file or its run has them."""
    origin = paths.read_json(path.with_suffix(".json")).get("provenance")
    if origin:
        return origin
    for folder in path.parents[:2]:
        if (folder / "metrics.json").exists():
            return paths.read_json(folder / "metrics.json")
    told = "take the model of a finished run"
    raise ValueError(f"nothing says on which ground {path} was trained: {told}")


def _command(notebook, made):
    """Return the command that makes the same run."""
    usual = {name: each.default for name, each in parameters.declared(notebook).items()}
    usual |= plan([notebook], made["profile"], {})[notebook.stem]
    number = (
        notebook.relative_to(paths.ROOT / "notebooks").as_posix().split("_")[0]
    )  # or deeper/02b
    made_of = made["parameters"].items()
    changed = {name: value for name, value in made_of if value != usual.get(name)}
    command = ["python", "-m", "helpers", "run", number, "--profile", made["profile"]]
    return shlex.join([*command, *parameters.as_options(changed)])


def _rounded(values):
    """Round to 8 significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent).astype("float16").astype("float32")


def _halved(keras_file):
    """Return the bytes of the file with its weights in half precision."""
    import h5py

    halved, content = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(keras_file) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with (
        h5py.File(io.BytesIO(members["model.weights.h5"])) as whole,
        h5py.File(halved, "w") as half,
    ):

        def store(name, item):
            if isinstance(item, h5py.Dataset):
                packed = {"compression": "gzip", "shuffle": True} if item.shape else {}
                half.create_dataset(name, data=item[()].astype("float16"), **packed)

        whole.visititems(store)
    members["model.weights.h5"] = halved.getvalue()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)
    return content.getvalue()
