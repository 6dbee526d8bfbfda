"""Start a training from the weights of another one."""

from helpers import paths
from helpers.apply.network import model_path, read_network

SPLIT = (
    "seed", "block_px", "buffer_px", "cloud_level", "test_on", "validate_on", "train_views",
    "validation_views",
)  # fmt: skip


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
            f"{name} was trained in {origin['notebook']} on {known}; this is {run.notebook} with "
            f"the bands {list(bands)}: choose other weights"
        )
    network = read_network(path)
    # a network that was saved may end in further layers, such as one that paints classes of a map
    learned = network.weights[: len(model.weights)]
    if [each.shape for each in learned] != [each.shape for each in model.weights]:
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
    for weight, value in zip(model.weights, learned, strict=True):
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
