"""`python -m tests.benchmarks.stability [STEPS]`: whether the adversarial training of notebook 04 falls apart.

Three seeds, as many steps as the longest table of the work that the notebook goes back to, patches of 128 px, two at a
time. The score at the end is compared with the best one on the way, of the averaged weights, before the best are put
back. Both come from one training, so the machine's speed has no part in it.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from helpers import metrics, models, scenes, training
from helpers.acquire import packs
from helpers.backend import keras
from helpers.pairs import clouds
from helpers.training import losses

STEPS, SEEDS, PATCH_PX, BATCH_SIZE, MOST_DB = 1700, (0, 1, 2), 128, 2, 0.5


def main(steps):
    """Train, print and judge."""
    device = training.prepare_device(seed=0)
    reached = []
    for seed in SEEDS:
        history = trained(device, steps, seed)
        best, last = history.psnr_db.max(), history.psnr_db.iloc[-1]
        reached.append(best - last <= MOST_DB)
        verdict = "reached" if reached[-1] else "NOT reached"
        print(f"  seed {seed}: validation PSNR {history.psnr_db.iloc[0]:.2f} dB at step {history.step.iloc[0]}, best "
              f"{best:.2f}, last {last:.2f} at step {history.step.iloc[-1]}  (wanted at most {MOST_DB} below the best: "
              f"{verdict})")  # fmt: skip
    print(f"  {reached.count(False)} of {len(reached)} bars not reached")


def trained(device, steps, seed):
    """History of one adversarial training from the first step on, as in the notebook but at 128 px."""
    whole = packs.open_scene("sentinel2_brandenburg", "10m", ["nir", "red", "green"])
    clear = clouds.without_cloud(whole, packs.open_scene("sentinel2_brandenburg", "60m", ["coastal"]))
    light = np.percentile(whole.pixels[~clear.valid], 99.5, axis=0)
    ground = scenes.split_ground([clear], block_px=PATCH_PX, buffer_px=8, seed=0)
    held_out = clouds.examples(ground["validation"], patch_px=PATCH_PX, seed=0, light=light)
    keras.utils.set_random_seed(seed)
    with device.scope():
        generator = models.cloud_remover(3)
        discriminator = models.patch_discriminator(5, condition=3, receptive_field_px=34, filters=32)

    def batches(first):
        stream = {"patch_px": PATCH_PX, "batch_size": BATCH_SIZE, "steps": steps, "seed": seed, "first_step": first}
        return clouds.dataset(ground["train"], light=light, **stream)

    def watch(model):
        answer = training.predict(model, held_out.cloudy)[..., :3]
        return {"psnr_db": metrics.psnr(np.clip(held_out.clear, 0, 1), answer, data_range=1).mean()}

    with tempfile.TemporaryDirectory() as folder:
        _, history = training.fit_adversarial(
            generator, discriminator, batches, terms={"cleared": (1.0, losses.cleared(3.0))}, weight=0.01, steps=steps,
            learning_rate=2e-4, device=device, validation=None, watch=watch,
            conditional=True,
            checkpoint=Path(folder) / "state.npz", ramp_steps=steps // 2, decay=0.98,
        )  # fmt: skip
    return history


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else STEPS)
