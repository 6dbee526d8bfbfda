"""Publish weights of a finished run in `data/weights`; start a training from such weights."""

import io
import json
import shlex
import zipfile

from helpers import paths
from helpers.acquire import packs
from helpers.apply.network import model_path, read_network
from helpers.runs.parameters import notebooks
from helpers.runs.run import check_run_id, weights_sha256

MAX_BYTES = 2_000_000  # they are kept with the code
SPLIT = (
    "seed", "block_px", "buffer_px", "cloud_level", "test_on", "validate_on", "train_views",
    "validation_views",
)  # fmt: skip


def publish(run_id, notebook, name, *, method=None):
    """Make `data/weights/<name>.keras` and `.json` of a finished run: small, and with its origin.

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
    target = _target(name)
    folder = paths.RUNS / run_id / source.stem
    path = folder / (f"models/{method}.keras" if method else "model.keras")
    made = _finished(folder, path, method)
    imagery = made["parameters"]["source"]
    known = packs.catalogue()
    if imagery not in known:
        raise ValueError(
            f"{path} learned on {imagery}, which is no pack: its licence is unknown"
        )
    if target.exists() and (owner := _origin(target)["notebook"]) != source.stem:
        raise ValueError(f"{target} is in use by {owner}: choose another name")
    words = ["python", "-m", "helpers", "run", notebook, "--profile", made["profile"]]
    for parameter, value in made["parameters"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        words += ["-p", f"{parameter}={text}"]
    made["command"] = shlex.join(words)
    made["credits"] = paths.read_json(folder / "credits.json")
    made["licence"] = known[imagery].licence
    network = read_network(path)
    round_weights(network)
    return keep(network, name, paths.read_json(path.with_suffix(".json")), made)


def round_weights(network):
    """Round the weights of a network to 8 significant bits, as bfloat16 has them.

    Compressed, 1.20 M weights then take 1.67 MB.
    """
    from helpers.backend import tf

    short = tf.bfloat16.as_numpy_dtype
    network.set_weights([values.astype(short) for values in network.get_weights()])


def keep(network, name, about, provenance):
    """Write a network to `data/weights`, compressed, with its description.

    Args:
        network: keras.Model, with rounded weights.
        name: of the weights.
        about: dict, what its `.json` says.
        provenance: dict, where it comes from; the SHA-256 of the file is added.

    Returns:
        Path of the .keras file.

    Raises:
        ValueError: a name that no file can have, or more than 2 MB.
    """
    target = _target(name)
    with paths.atomic(target) as temporary:
        network.save(temporary)
        content = _compressed(temporary)
        if len(content) > MAX_BYTES:
            raise ValueError(
                f"{name} has {len(content):,} bytes, compressed; at most {MAX_BYTES:,} are kept "
                "with the notebooks: train a smaller network"
            )
        temporary.write_bytes(content)
    about = about | {"weights_sha256": weights_sha256(network)}
    about["provenance"] = provenance | {"sha256": paths.sha256(target)}
    paths.write_json(target.with_suffix(".json"), about)
    return target


def _target(name):
    return paths.ROOT / "data" / "weights" / f"{check_run_id(name)}.keras"


def _finished(folder, path, method):
    """Return `metrics.json` of a finished run; its scores are the row of the model at `path`."""
    metrics = folder / "metrics.json"
    if metrics.exists() and path.exists():
        made = paths.read_json(metrics)
        for row in made["scores"]:
            if row["method"] == method or (row.get("headline") and not method):
                return made | {"method": row["method"], "scores": row}
    raise ValueError(
        f"{path} is no model with scores of a finished run: the headline is `model.keras`, and "
        "`--method` names others, in the run's folder `models`"
    )


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
    origin = _origin(path)
    known = paths.read_json(path.with_suffix(".json"))["bands"]
    if origin["notebook"] != run.notebook or known != list(bands):
        raise ValueError(
            f"{name} is of {origin['notebook']} for the bands {known}; this is {run.notebook} with "
            f"the bands {list(bands)}: choose other weights"
        )
    network = read_network(path)
    # a network that was saved may end in further layers, such as one that paints classes of a map
    pairs = list(zip(model.weights, network.weights, strict=False))
    alike = [one.shape == other.shape for one, other in pairs]
    if len(pairs) < len(model.weights) or not all(alike):
        raise ValueError(
            f"{name} is a network of another size, {network.count_params():,} weights: choose "
            "other weights, or parameters that give the same size"
        )
    before = origin["parameters"]
    now = run.parameters
    told = [
        f"{key} {before[key]}, here {value}"
        for key, value in now.items()
        if key in SPLIT and before.get(key, value) != value
    ]
    if before["source"] == now["source"] and told:
        raise ValueError(
            f"{name} was made with {'; '.join(told)}: it may have learned on what is test ground "
            "here: give the same value"
        )
    trained = {weight.path for weight in model.trainable_weights}
    for weight, value in pairs:
        # tables are this ground's own
        if weight.path in trained or "/moving_" in weight.path:
            weight.assign(value)
    print(f"starting from {name}, trained on {before['source']}")


def _origin(path):
    """Return the notebook and parameters that made a model, as its file or its run has them."""
    if origin := paths.read_json(path.with_suffix(".json")).get("provenance"):
        return origin
    for folder in path.parents[:2]:
        if (folder / "metrics.json").exists():
            return paths.read_json(folder / "metrics.json")
    raise ValueError(
        f"nothing says on which ground {path} was trained: take the model of a finished run"
    )


def _compressed(keras_file):
    """Return the bytes of a `.keras` file, which is a zip archive, compressed."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(keras_file) as old,
        zipfile.ZipFile(content, "w", zipfile.ZIP_BZIP2) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return content.getvalue()
