"""Keep the network of a finished run in data/weights, to start from or apply: `python -m helpers publish`."""

import json
import shlex
import zipfile

from helpers import paths
from helpers.acquire import packs
from helpers.apply.network import read_network
from helpers.backend import tf
from helpers.runs.parameters import notebooks
from helpers.runs.run import check_run_id, weights_sha256

MAX_BYTES = 2_000_000  # they are kept with the code


def publish(run, notebook, name, method=None):
    """Write `data/weights/<name>.keras` and `.json` of a finished run: small, and with its origin.

    Args:
        run: name of the run.
        notebook: the beginning of a notebook's name, such as "02".
        name: of the weights; those of the same notebook are replaced.
        method: a model in the run's folder `models`; default: the headline.

    Returns:
        Path of the .keras file.

    Raises:
        ValueError: no such finished run or model, a name that another notebook uses, imagery that
            is no pack (nobody knows its licence), or more than 2 MB.
    """
    source = notebooks([notebook])[0]
    about = target_of(name).with_suffix(".json")
    folder = paths.RUNS / run / source.stem
    path = folder / (f"models/{method}.keras" if method else "model.keras")
    made = finished(folder, path, method)
    imagery = made["parameters"]["source"]
    known = packs.catalogue()
    if imagery not in known:
        raise ValueError(f"{path} learned on {imagery}, which is no pack: its licence is unknown")
    owner = paths.read_json(about)["provenance"]["notebook"] if about.exists() else source.stem
    if owner != source.stem:
        raise ValueError(f"{name} is in use by {owner}: choose another name")
    words = ["python", "-m", "helpers", "run", notebook, "--profile", made["profile"]]
    for parameter, value in made["parameters"].items():
        words += ["-p", f"{parameter}={value if isinstance(value, str) else json.dumps(value)}"]
    made["command"] = shlex.join(words)
    made["credits"] = paths.read_json(folder / "credits.json")
    made["licence"] = known[imagery].licence
    network = read_network(path)
    round_weights(network)
    return keep(network, name, paths.read_json(path.with_suffix(".json")), made)


def finished(folder, path, method):
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


def target_of(name):
    """Return the path of the weights of that name; a ValueError where no file can have it."""
    return paths.ROOT / "data" / "weights" / f"{check_run_id(name)}.keras"


def round_weights(network):
    """Round the weights of a network to 8 significant bits, as bfloat16 has them.

    Compressed, 1.20 M weights then take 1.67 MB.
    """
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
    target = target_of(name)
    with paths.atomic(target) as temporary:
        network.save(temporary)
        compress(temporary)
        size = temporary.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(
                f"{name} has {size:,} bytes, compressed; at most {MAX_BYTES:,} are kept with the "
                "notebooks: train a smaller network"
            )
    about = about | {"weights_sha256": weights_sha256(network)}
    about["provenance"] = provenance | {"sha256": packs.file_sha256(target)}
    paths.write_json(target.with_suffix(".json"), about)
    return target


def compress(path):
    """Write a `.keras` file, which is a zip archive, anew in compressed form."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
