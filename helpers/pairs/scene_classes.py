"""Name the scene of a photo by its ImageNet class: keep landscapes, and say what else it shows."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps

from helpers import features

SIDE_PX = 224  # the size that the network was trained with
# ImageNet has no class "landscape". These are its landforms, and three things built where land
# meets water. A lighthouse is left out: a rocket on its pad looks like one.
CLASSES = {
    460: "breakwater", 525: "dam", 718: "pier", 970: "alp", 972: "cliff",
    974: "geyser", 975: "lakeside", 976: "promontory", 977: "sandbar", 978: "seashore",
    979: "valley", 980: "volcano",
}  # fmt: skip
LANDSCAPES = tuple(CLASSES.values())
# Kinds of the other classes, as far as a reason needs them.
KINDS = {
    "animal": range(398), "food": range(924, 970),
    "screen or document": [487, 527, 620, 664, 681, 782, 851, *range(916, 919), 921, 922],
    "room": (
        423, 424, 431, 435, 453, 454, 516, 520, 526, 532, 559, 564, 598, 624, 648, 743, 750, 762,
        765, 799, 831, 846, 857, 861, 876, 894, 896,
    ),
    "vehicle": (
        403, 404, 405, 407, 408, 436, 444, 466, 468, 472, 511, 547, 555, 565, 569, 573, 575, 576,
        586, 603, 609, 612, 625, 627, 628, 654, 656, 657, 661, 665, 670, 671, 675, 705, 717, 734,
        751, 757, 779, 780, 803, 814, 817, 820, 829, 833, 847, 864, 866, 867, 870, 871, 874, 895,
        914,
    ),
}  # fmt: skip
# Landscapes are often spread over many classes: 30 of the 32 sound practice photos, which are
# rendered, reach 0.03 in sum; of scikit-image's photographs the highest has 0.013. A subject that
# fills the picture is surer than MAX_OTHER.
MIN_LANDSCAPE, MAX_OTHER = 0.03, 0.6


def classify(picture):
    """Name the scene of a photo.

    Args:
        picture: uint8 (height, width, 3); its central square is looked at.

    Returns:
        str, one of `LANDSCAPES`; else the kind of the likeliest other class and its number in
        ImageNet, such as "food (ImageNet class 967)".

    Raises:
        FileNotFoundError: the pack `imagenet_features` is not fetched (names the command).
    """
    chances = probabilities(picture)
    landscapes = chances[list(CLASSES)]
    chances[list(CLASSES)] = 0
    other = int(chances.argmax())
    if landscapes.sum() >= MIN_LANDSCAPE and chances[other] <= MAX_OTHER:
        return LANDSCAPES[int(landscapes.argmax())]
    kind = next((kind for kind, numbers in KINDS.items() if other in numbers), "object")
    return f"{kind} (ImageNet class {other})"


def probabilities(picture):
    """Compute the probability of each ImageNet class of a photo, float32 (1000,)."""
    square = ImageOps.fit(Image.fromarray(picture), (SIDE_PX, SIDE_PX))
    return _network()(np.asarray(square, "float32")[None] / 255)[0].numpy()


@lru_cache(1)
def _network():
    return features.backbone(classifier=True)
