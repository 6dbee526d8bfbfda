"""Photos paired with the satellite patch around them: again, overruled, stopped."""

import hashlib

import pytest
from PIL import Image

from helpers.acquire import download, photos
from tests.test_photos import ESTES_PARK, NOWHERE, judged, landscape, lesson, save


def pair_with_patches(table, provider, folder, *, width_m=6000, size_px=128):
    """As notebook deeper/01b does, but with patches of the provider."""
    pair = lesson(patch_item=lambda row, provider, **size: provider.patch(row, **size)).pair_with_patches
    return pair(table, provider, folder, width_m=width_m, size_px=size_px)


class Imagery:
    """Stands for a provider: makes patches, none in the south or wider than 50 km; counts them."""

    client, made = download.Client(), 0

    def patch(self, photo, *, width_m, size_px):
        lon, lat = photo["lon"], photo["lat"]
        if not abs(lat) <= 85:
            raise ValueError("latitude beyond Web Mercator")

        def make(client, path):
            if lat < 0 or width_m > 50_000:
                raise download.Refused("404: no imagery here")
            type(self).made += 1
            Image.new("RGB", (size_px, size_px), (int(lat), 90, 60)).save(path, "PNG")

        half = width_m / 2
        row = {"source": "stub", "west": -half, "south": -half, "east": half, "north": half, "crs": "EPSG:3857"}
        row |= {"pair": photo["path"], "role": "satellite"}
        url = f"https://example.org/{lon}/{lat}/{width_m}/{size_px}"
        name = f"satellite/{download.safe_name(photo['path'])}.png"
        return download.Item(name, url=url, row=row | {"credit": "Stub"}, make=make)


@pytest.fixture
def imagery(folders, monkeypatch):
    monkeypatch.setattr(Imagery, "made", 0)
    return Imagery()


def manifest(folder):
    return download.read_manifest(folder).sort_values(["pair", "role"]).to_dict("records")


def joined(folder):
    """Rows of the manifest that are joined with another."""
    rows = [row for row in manifest(folder) if row["pair"]]
    return [row for row in rows if [other["pair"] for other in rows].count(row["pair"]) == 2]


def test_each_photo_that_is_kept_is_paired_with_the_patch_around_it(tmp_path, imagery):
    save(tmp_path / "trip" / "a.jpg", landscape(0), ESTES_PARK | {"heading": 123}, orientation=6)
    save(tmp_path / "b.jpg", landscape(1), {"lon": 20, "lat": -30})
    save(tmp_path / "c.jpg", landscape(2), position=NOWHERE)
    save(tmp_path / "d.jpg", landscape(3), {"lon": 0, "lat": 89})
    save(tmp_path / "e.webp", landscape(4), {"lon": 10, "lat": 47})
    table = judged(tmp_path)
    table.loc[table.path == "c.jpg", "reason"] = ""
    summary = pair_with_patches(table, imagery, tmp_path, width_m=3000, size_px=64)
    rows = joined(tmp_path)
    photo, satellite = rows[2:]
    assert photo["pair"] == satellite["pair"] == "trip/a.jpg" == photo["path"]
    assert (photo["role"], satellite["role"]) == ("photo", "satellite")
    assert photo["west"] == photo["east"] == pytest.approx(-105.52) and photo["crs"] == "EPSG:4326"
    assert satellite["east"] - satellite["west"] == 3000 and satellite["credit"] == "Stub"
    assert Image.open(tmp_path / satellite["path"]).size == (64, 64)
    assert photo["sha256"] == hashlib.sha256((tmp_path / "trip" / "a.jpg").read_bytes()).hexdigest()
    assert [row["path"] for row in rows[:2]] == ["e.webp", "satellite/e.webp.png"]
    failed = {name: reason for reason, names in summary.skipped.items() for name in names}
    assert failed.keys() == {"satellite/b.jpg.png", "c.jpg", "d.jpg"}
    assert "Mercator" in failed["c.jpg"] and "404" in failed["satellite/b.jpg.png"] and "Mercator" in failed["d.jpg"]


def test_pairing_again_asks_for_nothing_and_follows_what_was_overruled(tmp_path, imagery):
    for number, name in enumerate(("a.jpg", "b.jpg")):
        save(tmp_path / name, landscape(number), {"lon": 7 + number, "lat": 46})
    table = judged(tmp_path)
    pair_with_patches(table, imagery, tmp_path)
    first = manifest(tmp_path)
    assert imagery.made == 2 and [row["pair"] for row in first] == ["a.jpg", "a.jpg", "b.jpg", "b.jpg"]
    pair_with_patches(table, imagery, tmp_path)
    assert imagery.made == 2 and manifest(tmp_path) == first
    pair_with_patches(table.assign(reason=["by hand", ""]), imagery, tmp_path)
    assert [row["pair"] for row in manifest(tmp_path)] == ["", "", "b.jpg", "b.jpg"]
    assert list(photos.read_folder(tmp_path).path) == ["a.jpg", "b.jpg"]
    pair_with_patches(table, imagery, tmp_path)
    assert imagery.made == 2 and manifest(tmp_path) == first
    with pytest.raises(ValueError, match="none of the 2 photographs is kept"):
        pair_with_patches(table.assign(reason="by hand"), imagery, tmp_path)
    pair_with_patches(table, imagery, tmp_path, width_m=9000)
    assert imagery.made == 4 and manifest(tmp_path)[1]["east"] == 4500
    pair_with_patches(table, imagery, tmp_path, width_m=90_000)
    assert joined(tmp_path) == []  # not with the patches of another width


def test_a_job_that_is_stopped_leaves_no_patch_without_its_photo(tmp_path, imagery, monkeypatch):
    for number, name in enumerate(("a.jpg", "b.jpg")):
        save(tmp_path / name, landscape(number), {"lon": 7 + number, "lat": 46})
    table, fetch = judged(tmp_path), download.fetch

    def stopped(items, *others, **options):
        fetch(list(items)[:1], *others, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "fetch", stopped)
    with pytest.raises(KeyboardInterrupt):
        pair_with_patches(table, imagery, tmp_path)
    paired = [(row["pair"], row["role"]) for row in joined(tmp_path)]
    assert paired == [("a.jpg", "photo"), ("a.jpg", "satellite")]
    monkeypatch.setattr(download, "fetch", fetch)
    pair_with_patches(table, imagery, tmp_path)
    assert imagery.made == 2 and len(manifest(tmp_path)) == 4
