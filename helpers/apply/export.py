"""Export a network to ONNX, in the form that the QGIS plugin Deepness reads."""

import json
import logging
from pathlib import Path

from helpers import paths
from helpers.apply.network import Predictor, load_model
from helpers.apply.plan import output_ranges

OPSET = 17  # QGIS users have old versions of onnxruntime
DEGREE_M = 111_320
GLOBAL_OVERLAP = 25  # percent, where a model sees all of a tile


def export(model, out, *, tile_px=256, resolution_cm=None):
    """Write a network as an ONNX file that takes and gives digital numbers.

    Deepness divides the pixels of a layer by 255 before it calls a network, whatever their type. The graph
    multiplies by 255 again, maps the bands by their value range, applies the network and maps back. Input
    and output are float32 (1, bands, height, width); the bands of the input are those of `model.json`, in
    its order. Source: deepness.processing.models.preprocessing_utils.

    Args:
        model: path or name, as `load_model` takes it.
        out: .onnx file to write.
        tile_px: side of a tile; the graph takes no other.
        resolution_cm: width of an input pixel; default: that of the pack that the model learned on.

    Returns:
        dict of the metadata in the file.

    Raises:
        ValueError: the extra packages are missing, the tile does not fit, or the network has a layer that
            ONNX does not know.
    """
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'satellite-notebooks[onnx]' brings what is needed") from error
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    from helpers.backend import tf

    out = Path(out)
    network, about = load_model(model)
    predictor = Predictor(network, about, about["value_range"], output_ranges(about, about["value_range"]))
    if tile_px < 1 or tile_px % predictor.multiple_px:
        told = f"the tile is {tile_px} pixels wide; {model} takes multiples of {predictor.multiple_px}"
        raise ValueError(f"{told}: give another --tile")
    told = _metadata(about, predictor, tile_px, resolution_cm)

    @tf.function(autograph=False)
    def graph(pixels):
        values = predictor.answer(tf.transpose(pixels * 255.0, (0, 2, 3, 1)))
        return tf.transpose(values, (0, 3, 1, 2))

    shape = tf.TensorSpec((1, len(about["bands"]), tile_px, tile_px), tf.float32, name="input")
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    patch_tf2onnx()  # as Keras does: tf2onnx does not know NumPy 2
    made, _ = tf2onnx.convert.from_function(graph, input_signature=[shape], opset=OPSET)
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{model} cannot be written as ONNX: {reason}") from error
    for name, value in told.items():
        made.metadata_props.add(key=name, value=json.dumps(value))
    with paths.atomic(out) as temporary:
        onnx.save(made, temporary)
    return told


def _metadata(about, predictor, tile_px, resolution_cm):
    """Return what Deepness reads; its code says tile_size, its documentation tiles_size."""
    classes = about.get("classes")
    kind = "Segmentor" if classes else "Superresolution" if about["scale"] > 1 else "Regressor"
    names = [each["name"] for each in classes] if classes else about["bands_out"]
    overlap = GLOBAL_OVERLAP
    if predictor.margin_px is not None:
        overlap = min(90, -(-200 * predictor.margin_px // tile_px))
    told = {
        "model_type": kind, "class_names": {str(at): name for at, name in enumerate(names)},
        "tiles_size": tile_px, "tile_size": tile_px, "tiles_overlap": overlap, "bands": about["bands"],
        "scale": about["scale"], "credit": about["credit"],
        "standardization_mean": [0.0] * len(about["bands"]), "standardization_std": [1.0] * len(about["bands"]),
    }  # fmt: skip
    resolution_cm = resolution_cm or _resolution_cm(about)
    return told if resolution_cm is None else told | {"resolution": resolution_cm}


def _resolution_cm(about):
    """Return the pixel width of the pack that a model learned on; None where that is unknown."""
    from helpers.acquire import packs

    source = about.get("provenance", {}).get("parameters", {}).get("source")
    if source not in packs.catalogue():
        return None
    scene = packs.open_scene(source)
    metres = scene.ground_sample_distance_m
    if metres is None and scene.transform is not None:
        metres = abs(scene.transform.a) * DEGREE_M
    return metres and round(100 * metres, 1)
