"""Train the shipped cloud removers: the network, simulation and loss of notebook 04, for longer.

The notebook trains on the ground as it is, for minutes. Here the ground becomes ground of all kinds
(`helpers.pairs.surfaces`). Interrupted, the same command goes on. At every report the averaged
weights are written as MODEL.keras, and scored on the validation bed of foreign ground.

    python -m data.weights.train_clouds cloud_remover_sentinel2 --out trained --steps 6000
    python -m data.weights.train_clouds cloud_remover_landsat --out trained --steps 6000
    python -m data.weights.train_clouds cloud_remover_sentinel2 --out trained --publish

The last writes data/weights/MODEL.keras and .json, with its scores on test ground. The U of the first
network began with the weights that were shipped before, which knew one winter day (--start-from).
"""

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from helpers import metrics, models, paths, scenes, training
from helpers.acquire import packs
from helpers.apply.network import model_path, read_network
from helpers.backend import tf
from helpers.pairs import clouds, resolution
from helpers.runs import weights
from helpers.training import losses
from tests.benchmarks import foreign_clouds

PACK = "sentinel2_brandenburg"
BANDS = {
    "cloud_remover_sentinel2": ("nir", "red", "green"),
    "cloud_remover_landsat": ("red", "nir", "swir16"),
}
CLEAR_WEIGHT = 3.0  # of a clear pixel in the loss
DECAY = 0.995  # of the average over the weights


def open_ground(name):
    """Return clear ground, split as in notebook 04, the side of its blocks, and the light of its own clouds."""
    coastal = packs.open_scene(PACK, "60m", ["coastal"])
    if name == "cloud_remover_sentinel2":
        whole, block_px = packs.open_scene(PACK, "10m", BANDS[name]), 96
    else:
        fine = resolution.shrink_scene(packs.open_scene(PACK, "10m", BANDS[name][:2]), 2)
        coarse = packs.open_scene(PACK, "20m", BANDS[name][2:])
        pixels = np.concatenate([fine.pixels, coarse.pixels], axis=-1)
        whole, block_px = replace(fine, pixels=pixels, bands=BANDS[name]), 64
    clear = clouds.without_cloud(whole, coastal)
    light = np.percentile(whole.pixels[~clear.valid], 99.5, axis=0)
    return scenes.split_ground([clear], block_px=block_px, guard_px=8, seed=0), block_px, light


def begin_with(network, name):
    """Give the U of a network, its first convolutions, what that of another cloud remover has learned."""
    for weight, value in zip(network.weights, read_network(model_path(name)).weights, strict=False):
        if weight.shape != value.shape:
            break
        weight.assign(value)


def at_home(network, ground, light, block_px):
    """Return mean scores on Brandenburg's test blocks, as notebook 04 takes them."""
    value_range = scenes.value_range(ground["train"])
    test = clouds.examples(ground["test"], light=light, patch_px=block_px)
    answer = network.predict(test.cloudy, batch_size=8, verbose=0)[..., : test.clear.shape[-1]]
    pixels = [
        scenes.from_unit(each, [clouds.REFLECTANCE] * each.shape[-1]) for each in (test.clear, test.cloudy, answer)
    ]
    truth, *others = (np.clip(scenes.to_unit(each, value_range), 0, 1).astype("float32") for each in pixels)
    before, after = (metrics.psnr(truth, each, data_range=1) for each in others)
    found = {"psnr_db": after.mean(), "gain_psnr_db": (after - before).mean()}
    for name, mask in test.subsets().items():
        errors = [((truth - others[1]) ** 2).mean(axis=-1)[at, where] for at, where in enumerate(mask)]
        found[f"{name}_psnr_db"] = np.mean([-10 * np.log10(e.mean() + 1e-6) for e in errors if len(e) >= 50])
    return {name: float(value) for name, value in found.items()}


def publish(options, ground, light, block_px):
    """Write the averaged weights of the last report to data/weights, with where they come from."""
    bands = list(BANDS[options.name])
    network = read_network(options.out / f"{options.name}.keras")
    network.set_weights([weights._rounded(values) for values in network.get_weights()])
    target = paths.ROOT / "data" / "weights" / f"{options.name}.keras"
    network.save(target)
    content = weights._halved(target)
    target.write_bytes(content)
    held = b"".join(np.ascontiguousarray(values).tobytes() for values in network.get_weights())
    bed = foreign_clouds.scored(foreign_clouds.bed("test", bands), foreign_clouds.remover(network, len(bands)))
    with np.load(options.out / f"{options.name}.npz") as state:
        last = json.loads(str(state["history"]))[-1]
    pack = packs.catalogue()[PACK]
    made = {
        "notebook": "04_cloud_removal", "script": "data/weights/train_clouds.py", "steps": last["step"],
        "seconds": last["seconds"], "parameters": {
            "source": PACK, "filters": options.filters, "depth": 4, "block_px": block_px, "guard_px": 8, "seed": 0,
        }, "planned_steps": options.steps, "start_from": options.start_from or "", "note": options.note,
        "device": training.prepare_device(seed=0).record(), "licence": pack.licence,
        "sha256": hashlib.sha256(content).hexdigest(),
        "scores": at_home(network, ground, light, block_px),
        "foreign": {kind: row.round(3).to_dict() for kind, row in bed.iterrows()},
    }  # fmt: skip
    about = {
        "task": "cloud removal", "bands": bands, "bands_out": bands, "scale": 1, "size_multiple": 16,
        "receptive_field_px": models.receptive_field_px(network, multiple=16),
        "value_range": [list(clouds.REFLECTANCE)] * len(bands), "unit": "reflectance x 10000",
        "masks": ["opacity", "shadow"], "credit": pack.credit,
        "weights_sha256": hashlib.sha256(held).hexdigest(), "provenance": made,
    }  # fmt: skip
    paths.write_json(target.with_suffix(".json"), about)
    print(bed.round(2).to_string(), made["scores"], len(content), sep="\n")


def main():
    """Train, and leave the averaged weights and a record of the training in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BANDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--reports", type=int, default=40)
    parser.add_argument("--start-from", help="a cloud remover with as many filters")
    parser.add_argument("--publish", action="store_true", help="write what was trained to data/weights")
    parser.add_argument("--note", default="", help="with --publish: what should be known of these weights")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = training.prepare_device(seed=0)
    ground, patch_px, light = open_ground(options.name)
    if options.publish:
        publish(options, ground, light, patch_px)
        return
    bands = list(BANDS[options.name])
    bed = foreign_clouds.bed("validation", bands)
    keras.utils.set_random_seed(0)
    network = models.cloud_remover(len(bands), filters=options.filters)
    if options.start_from:
        begin_with(network, options.start_from)

    def watch(model):
        """Write the averaged weights, and score them on the validation bed."""
        averaged = models.cloud_remover(len(bands), filters=options.filters)
        averaged.set_weights([np.array(each) for each in model.optimizer._model_variables_moving_average])
        averaged.save(options.out / f"{options.name}.keras")
        table = foreign_clouds.scored(bed, foreign_clouds.remover(averaged, len(bands)))
        print(table.round(2).to_string(), flush=True)
        means = np.average(table[["at 35 dB", "gain dB"]], axis=0, weights=table.patches)
        return dict(zip(("kept", "gain"), means, strict=True))

    def batches(first):
        """Make batches: three samples of ground of all kinds, and one as it is, under clouds like its own."""
        stream = {"patch_px": patch_px, "steps": options.steps, "first_step": first}
        varied = clouds.dataset(ground["train"], batch_size=3, seed=0, **stream)
        own = clouds.dataset(ground["train"], light=light, batch_size=1, seed=1, **stream)
        joined = tf.data.Dataset.zip(varied, own)
        return joined.map(lambda some, one: tuple(tf.concat(each, 0) for each in zip(some, one, strict=True)))

    history = training.fit(
        network, batches, steps=options.steps, learning_rate=options.rate, loss=losses.cleared(CLEAR_WEIGHT), ema=DECAY,
        device=device, checkpoint=options.out / f"{options.name}.npz", validation=None, reports=options.reports,
        watch=watch, settings={"bands": bands, "filters": options.filters},
    )  # fmt: skip
    history.to_csv(options.out / f"{options.name}.csv", index=False)


if __name__ == "__main__":
    main()
