"""Train the shipped cloud removers: the network, simulation and loss of notebook 04, for longer.

Ground and clouds are of all kinds here (`travelling_clouds`). Interrupted, the same command
goes on. At every report it writes the averaged weights as MODEL.keras, and scores them on the
validation part of the test bed of foreign ground.

    python -m data.weights.train_clouds cloud_remover_sentinel2 --out trained --steps 50000
    python -m data.weights.train_clouds cloud_remover_landsat --out trained --steps 20000
    python -m data.weights.train_clouds cloud_remover_sentinel2 --out trained --publish

The last writes data/weights/MODEL.keras and .json with its scores on test ground. The shipped weights
were trained in several legs by `train_clouds_gpu.py`: the same network, simulation and loss on one
GPU. Their .json has steps, batch, seconds and weights of the loss.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from data.weights import travelling_clouds
from data.weights.publish import keep, round_weights
from helpers import metrics, models, scenes, training
from helpers.acquire import packs
from helpers.apply.network import read_network
from helpers.backend import tf
from helpers.pairs import clouds, resolution
from helpers.training import losses
from tests.benchmarks import foreign_clouds

PACK = "sentinel2_brandenburg"
BANDS = {
    "cloud_remover_sentinel2": ("nir", "red", "green"),
    "cloud_remover_landsat": ("red", "nir", "swir16"),
}
# Of `models.cloud_remover`. Infrared tells deep shadows: it takes weak ones for dark ground.
NETWORK = {
    "cloud_remover_sentinel2": {},
    "cloud_remover_landsat": {"unsure": (0.06, 0.4), "reddened": (0.0, 2.0)},
}
CLEAR_WEIGHT, CLOUD_WEIGHT = 3.0, 0.6  # of a clear pixel in the loss, and of another at least
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
    return scenes.split_ground([clear], block_px=block_px, buffer_px=8, seed=0), block_px, light


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
    through, is_shaded = test.transmittance, test.shadow < 0.99
    subsets = {
        "clear": (through >= 0.98) & ~is_shaded,
        "shadow": (through >= 0.98) & is_shaded,
        "thin": (through >= 0.3) & (through < 0.98),
        "opaque": through < 0.3,
    }
    for name, mask in subsets.items():
        errors = [((truth - others[1]) ** 2).mean(axis=-1)[at, where] for at, where in enumerate(mask)]
        found[f"{name}_psnr_db"] = np.mean([-10 * np.log10(e.mean() + 1e-6) for e in errors if len(e) >= 50])
    return {name: float(value) for name, value in found.items()}


def publish(network, name, training_facts):
    """Write a network to data/weights, rounded and compressed, with its scores on test ground.

    Args:
        network: trained `models.cloud_remover`.
        name: of BANDS.
        training_facts: dict for the provenance: steps, seconds, device, note.
    """
    bands, (ground, block_px, light) = list(BANDS[name]), open_ground(name)
    round_weights(network)
    remove = foreign_clouds.remover(network, [clouds.REFLECTANCE] * len(bands))
    bed = foreign_clouds.scored(foreign_clouds.bed("test", bands), remove)
    pack = packs.catalogue()[PACK]
    made = {
        "notebook": "04_cloud_removal",
        "script": "data/weights/train_clouds.py",
        "parameters": {"source": PACK, "block_px": block_px, "buffer_px": 8, "seed": 0, "filters": 32, "depth": 4},
        **training_facts,
        "licence": pack.licence,
        "scores": at_home(network, ground, light, block_px),
        "foreign": {kind: row.round(3).to_dict() for kind, row in bed.iterrows()},
    }
    about = {
        "task": "cloud removal",
        "bands": bands,
        "bands_out": bands,
        "scale": 1,
        "size_multiple": 16,
        "receptive_field_px": models.receptive_field_px(network, multiple=16),
        "value_range": [list(clouds.REFLECTANCE)] * len(bands),
        "unit": "reflectance x 10,000",
        "masks": ["opacity", "shadow"],
        "changed_above": NETWORK[name].get("unsure", (0.06, 0.06)),
        "credit": pack.credit,
    }
    target = keep(network, name, about, made)
    print(bed.round(2).to_string(), made["scores"], target.stat().st_size, sep="\n")


def main():
    """Train, and leave the averaged weights and a record of the training in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=BANDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--reports", type=int, default=40)
    parser.add_argument("--publish", action="store_true", help="write what was trained to data/weights")
    parser.add_argument("--prepare", action="store_true", help="only write the ground for train_clouds_gpu.py")
    parser.add_argument("--leg", type=Path, help="with --publish: what train_clouds_gpu.py wrote")
    parser.add_argument("--note", default="", help="with --publish: what should be known of these weights")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    device = training.prepare_device(seed=0)
    ground, patch_px, light = open_ground(options.name)
    if options.prepare:
        blocks = np.stack([scene.pixels for scene in ground["train"]]).astype("uint16")
        facts = {"light": light, "bands": BANDS[options.name], "network": json.dumps(NETWORK[options.name])}
        np.savez(options.out / f"{options.name}_ground.npz", ground=blocks, **facts)
        return
    if options.publish and options.leg:
        network = models.cloud_remover(len(BANDS[options.name]), **NETWORK[options.name])
        with np.load(options.leg) as leg:
            network.set_weights([leg[f"arr_{number}"] for number in range(len(network.weights))])
            facts = {**json.loads(str(leg["settings"])), "note": options.note}
        publish(network, options.name, facts)
        return
    if options.publish:
        history = pd.read_csv(options.out / f"{options.name}.csv")
        facts = {"steps": int(history.step.iloc[-1]), "seconds": float(history.seconds.iloc[-1])}
        facts |= {"device": device.record(), "note": options.note}
        publish(read_network(options.out / f"{options.name}.keras"), options.name, facts)
        return
    bands = list(BANDS[options.name])
    bed = foreign_clouds.bed("validation", bands)
    keras.utils.set_random_seed(0)
    network = models.cloud_remover(len(bands), filters=options.filters, **NETWORK[options.name])

    def watch(model):
        """Write the averaged weights, and score them on the validation bed."""
        averaged = models.cloud_remover(len(bands), filters=options.filters, **NETWORK[options.name])
        averaged.set_weights([np.array(each) for each in model.optimizer._model_variables_moving_average])
        averaged.save(options.out / f"{options.name}.keras")
        table = foreign_clouds.scored(bed, foreign_clouds.remover(averaged, [clouds.REFLECTANCE] * 3))
        print(table.round(2).to_string(), flush=True)
        means = np.average(table[["at 35 dB", "gain dB"]], axis=0, weights=table.patches)
        return dict(zip(("kept", "gain"), means, strict=True))

    def batches(first):
        """Make batches: six samples of ground of all kinds, and two as it is, under clouds like its own."""
        stream = {"patch_px": patch_px, "steps": options.steps, "first_step": first}
        varied = travelling_clouds.dataset(ground["train"], batch_size=6, seed=0, **stream)
        own = clouds.dataset(ground["train"], light=light, batch_size=2, seed=1, **stream)
        joined = tf.data.Dataset.zip(varied, own)
        return joined.map(lambda some, one: tuple(tf.concat(each, 0) for each in zip(some, one, strict=True)))

    history = training.fit(
        network, batches, steps=options.steps, learning_rate=options.rate,
        loss=losses.cleared(CLEAR_WEIGHT, CLOUD_WEIGHT), ema=DECAY, device=device,
        checkpoint=options.out / f"{options.name}.npz", validation=None, reports=options.reports,
        watch=watch, settings={"bands": bands, "filters": options.filters},
    )  # fmt: skip
    history.to_csv(options.out / f"{options.name}.csv", index=False)


if __name__ == "__main__":
    main()
