"""Find bands by name, as files of different makers spell them."""

import re

SAME = {
    "near infrared": "nir", "near-infrared": "nir", "nir1": "nir",
    "swir1": "swir16", "swir2": "swir22", "r": "red", "g": "green", "b": "blue",
}  # fmt: skip
# Sentinel-2 and Landsat 8 agree on 1 to 4; the others are Sentinel-2's
NUMBERED = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge1", "6": "rededge2",
    "7": "rededge3", "8": "nir", "8A": "nir08", "9": "nir09", "11": "swir16", "12": "swir22",
}  # fmt: skip


def find_bands(names, wanted):
    """Return the position of each wanted band, compared without case and with the usual aliases.

    Args:
        names: of the bands of an image. Numbers such as B2, B02, SR_B2 or B02_10m count as
            Sentinel-2's bands, and as Landsat 8's where both mean the same.
        wanted: names, as a model or a person gives them.

    Returns:
        list of positions, from 0.

    Raises:
        ValueError: a band is missing, or there are several of that name, or none is wanted.
    """
    if not wanted:
        raise ValueError(f"no band is named; the image has {', '.join(names)}")
    numbered = _numbered(set(map(_number, names)))
    known = [common_name(name, numbered) for name in names]
    found = []
    for band in wanted:
        name = common_name(band, numbered)
        if known.count(name) != 1:
            there = [f"{number} {own}" for number, own in enumerate(names, 1)]
            raise ValueError(
                f"{known.count(name) or 'no'} bands match {band}; the image has {len(names)}: "
                f"{', '.join(there)}"
            )
        found.append(known.index(name))
    return found


def common_name(band, numbered=NUMBERED):
    """Return "red" for "red", "R", "B4" and "B04_10m"; an unknown name in small letters."""
    plain = band.strip().lower()
    return numbered.get(_number(plain)) or SAME.get(plain, plain)


def _number(name):
    found = re.match(r"\s*(?:sr_|toa_)?b0?(\d{1,2}a?)(?![a-z\d])", name.lower())
    return found and found[1].upper()


def _numbered(numbers):
    """Return the names that the numbers stand for; fewer where another sensor made them."""
    if numbers & {"8A", "12"} or not numbers >= {"5", "7"}:
        return NUMBERED
    # Landsat 8 has a 6, and its 5 is near infrared; of Landsat 4 to 7, 1 is blue
    return {number: NUMBERED[number] for number in "1234"} if "6" in numbers else {}
