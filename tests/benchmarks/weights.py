"""`python -m tests.benchmarks.weights`: whether the shipped landscapes score on all test views as was recorded."""

import numpy as np

from helpers import features, metrics, paths, training
from helpers.apply.network import model_path, read_network
from helpers.pairs import views

VIEWS, LANDSCAPES, MOST = 140, 200, {"kid_imagenet": 0.3, "diversity": 0.03}


def main():
    """Score, print and judge."""
    path = model_path("landscape_rocky_mountain")
    told = paths.read_json(path.with_suffix(".json"))["provenance"]["scores"]["shipped now, 128 px"]
    real = views.render("test", VIEWS, image_size=128).views / np.float32(255)
    latents = training.draw_latents(LANDSCAPES, 4, [0, 1])
    made = np.clip(read_network(path).predict(latents, verbose=0), 0, 1)
    kid = metrics.kid(features.embed(real), features.embed(made))
    found = {"kid_imagenet": kid, "diversity": training.diversity(made, real)}
    for name, value in found.items():
        reached = abs(value - told[name]) <= MOST[name]
        verdict = "reached" if reached else "NOT reached"
        print(f"  {name:20} {value:8.3f}  (wanted {told[name]:.3f} within {MOST[name]}: {verdict})")


if __name__ == "__main__":
    main()
