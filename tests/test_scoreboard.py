"""The scoreboard against means, gains and rows worked out by hand or by the functions behind it."""

import numpy as np
import pytest

from helpers import metrics

BASE, SHARP = np.array([20.0, 30.0, 25.0]), np.array([21.0, 33.0, 25.0])


@pytest.fixture
def board():
    board = metrics.Scoreboard(["psnr_db", "spectral_angle_deg"], over="bicubic", seed=1)
    board.add("bicubic", "baseline", {"psnr_db": BASE, "spectral_angle_deg": [2.0, 4.0, 3.0]})
    board.add("srcnn", "model", {"psnr_db": SHARP, "spectral_angle_deg": [1.0, 4.0, 3.0], "shift_px": 0.5},
              headline=True)  # fmt: skip
    return board


def test_rows_are_those_that_a_run_records(board):
    bicubic, srcnn = board.rows()
    assert bicubic == {
        "method": "bicubic", "role": "baseline", "split": "test", "psnr_db": 25.0, "spectral_angle_deg": 3.0,
    }  # fmt: skip
    assert srcnn["psnr_db"] == pytest.approx(79 / 3) and srcnn["shift_px"] == 0.5 and srcnn["headline"]
    assert srcnn["gain_over"] == "bicubic"
    gains = [[srcnn[f"gain_{name}{end}"] for end in ("", "_low", "_high")] for name in board.gains]
    assert gains[0] == list(metrics.gain(SHARP, BASE, seed=1))
    assert gains[1] == list(metrics.gain([2, 4, 3], [1, 4, 3], seed=1))
    assert gains[1][0] == pytest.approx(1 / 3)  # a smaller angle is a gain


def test_patches_are_compared_one_by_one(board):
    assert board.ahead("srcnn", "psnr_db").tolist() == [1, 3, 0]
    assert board.ahead("srcnn", "spectral_angle_deg").tolist() == [1, 0, 0]
    assert board.ahead("bicubic", "psnr_db", over="srcnn").tolist() == [-1, -3, 0]
    assert board.gain("bicubic", "psnr_db", over="srcnn")[0] == pytest.approx(-4 / 3)


def test_a_method_added_again_is_replaced(board):
    board.add("srcnn", "model", {"psnr_db": BASE + 2, "spectral_angle_deg": [0, 0, 0]})
    assert [row["method"] for row in board.rows()] == ["bicubic", "srcnn"]
    assert board.rows()[1]["gain_psnr_db"] == 2 and "headline" not in board.rows()[1]


def test_patches_without_a_score_are_left_out():
    """The second patch has no thin cloud, and no patch has opaque cloud."""
    empty = np.full(3, np.nan)
    board = metrics.Scoreboard(["thin_psnr_db", "opaque_psnr_db"], over="cloudy")
    board.add("cloudy", "baseline", {"thin_psnr_db": [20, np.nan, 22], "opaque_psnr_db": empty})
    board.add("model", "model", {"thin_psnr_db": [21, np.nan, 24], "opaque_psnr_db": empty})
    row = board.rows()[1]
    assert row["thin_psnr_db"] == 22.5
    assert [row[f"gain_thin_psnr_db{end}"] for end in ("", "_low", "_high")] == list(metrics.gain([1, 2], [0, 0]))
    assert not [name for name in row if "opaque" in name]


def test_maps_are_pooled_and_compared_with_the_best_baseline():
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, (6, 8, 8))
    board = metrics.Scoreboard(["mean_iou"])
    counts = {}
    for method, role, wrong in (("poor", "baseline", 0.5), ("good", "baseline", 0.3), ("net", "model", 0.1)):
        guess = np.where(random.random(truth.shape) < wrong, 1 - truth, truth)
        counts[method] = metrics.confusion(truth, guess, 3)
        board.add(method, role, metrics.map_scores(counts[method], ["sea", "land", "ice"]))
    row = board.rows()[2]
    assert board.baseline == row["gain_over"] == "good"
    assert row["mean_iou"] == metrics.mean_iou(counts["net"].sum(axis=0))
    assert row["pixel_accuracy"] == (truth == guess).mean()  # of the last method, the network
    assert row["iou_land"] == metrics.iou(counts["net"].sum(axis=0))[1] and "iou_ice" not in row
    gain = metrics.gain_pooled(counts["net"], counts["good"])
    assert tuple(row[f"gain_mean_iou{end}"] for end in ("", "_low", "_high")) == gain


def test_a_hit_rate_has_an_interval_of_its_own():
    hits = np.array([0.0, 1.0, 1.0, 1.0])
    board = metrics.Scoreboard(["top1_of_16"], over="nearest", intervals=["top1_of_16"], seed=3)
    board.add("nearest", "baseline", {"top1_of_16": hits})
    assert [board.rows()[0][f"top1_of_16{end}"] for end in ("", "_low", "_high")] == list(
        metrics.gain(hits, 0 * hits, seed=3)
    )


def test_the_best_baseline_in_an_error_is_the_smallest():
    board = metrics.Scoreboard(["mae"])
    for method, error in (("rough", 3.0), ("fine", 1.0)):
        board.add(method, "baseline", {"mae": [error, error]})
    assert board.baseline == "fine"


def test_the_table_for_people(board):
    table = board.table()
    assert table.columns.tolist() == [
        "role", "psnr_db", "gain_psnr_db", "spectral_angle_deg", "shift_px", "gain_spectral_angle_deg",
    ]  # fmt: skip
    assert table.columns.name == "gains over bicubic"
    assert table.loc["srcnn", "gain_psnr_db"] == "+1.33 [+0, +3]"
    assert table.loc["bicubic", ["psnr_db", "shift_px", "gain_psnr_db"]].tolist() == ["25", "", ""]
    assert "+1.33 [+0, +3]" in board._repr_html_()


@pytest.mark.parametrize("role, scores, message", [
    ("Model", {"psnr_db": SHARP}, "role is 'Model'; expected"),
    ("model", {"psnr_db": SHARP[:2]}, "net has scores of 2 patches, the board of 3"),
    ("model", {"psnr_db": SHARP, "ssim": SHARP[:2]}, "same length"),
])  # fmt: skip
def test_wrong_scores_are_refused(board, role, scores, message):
    with pytest.raises(ValueError, match=message):
        board.add("net", role, scores)
    assert [row["method"] for row in board.rows()] == ["bicubic", "srcnn"]
