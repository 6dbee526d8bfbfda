"""Export a network to ONNX, in the form that the QGIS plugin Deepness reads."""

import json
import logging
from pathlib import Path

from helpers import paths
from helpers.apply.network import Predictor, load_model

OPSET = 17  # QGIS users have old versions of onnxruntime


def export(model, out, *, tile_px=256, resolution_cm=None):
    """Write a network as an ONNX file that takes and gives digital numbers.

    Deepness divides the pixels of a layer by 255 before it calls a network, whatever their type.
    The graph multiplies by 255 again, maps the bands by their value range, applies the network and
    maps back. Input and output are float32 (1, bands, height, width); the bands of the input are
    those of `model.json`, in its order. Source: deepness.processing.models.preprocessing_utils.

    Args:
        model: path or name, as `load_model` takes it.
        out: .onnx file to write.
        tile_px: side of a tile; the graph takes no other.
        resolution_cm: width of an input pixel.

    Returns:
        dict of the metadata in the file.

    Raises:
        ValueError: the tile does not fit, or `out` is a folder.
        ModuleNotFoundError: the extra packages are missing.
    """
    if Path(out).is_dir():
        raise ValueError(f"{out} is a folder: name a file, such as model.onnx")
    import onnx
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    from helpers.backend import tf

    network, about = load_model(model)
    predictor = Predictor(network, about, about["value_range"])
    multiple_px = about["size_multiple"]
    if tile_px < 1 or tile_px % multiple_px:
        raise ValueError(
            f"the tile is {tile_px} pixels wide; {model} takes multiples of {multiple_px}: give "
            "another --tile"
        )
    names = [each["name"] for each in about["classes"]] or about["bands_out"]

    @tf.function(autograph=False)
    def graph(pixels):
        values = predictor.answer(tf.transpose(pixels * 255.0, (0, 2, 3, 1)))
        return tf.transpose(values[..., : len(names)], (0, 3, 1, 2))

    bands = len(about["bands"])
    shape = tf.TensorSpec((1, bands, tile_px, tile_px), tf.float32, name="input")
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    patch_tf2onnx()  # as Keras does: tf2onnx does not know NumPy 2
    made, _ = tf2onnx.convert.from_function(graph, input_signature=[shape], opset=OPSET)
    kind = "Superresolution" if about["scale"] > 1 else "Regressor"
    told = {
        "model_type": "Segmentor" if about["classes"] else kind,
        "class_names": dict(enumerate(names)),
        "tiles_size": tile_px,  # in its documentation
        "tile_size": tile_px,  # in its code
        "tiles_overlap": min(90, 200 * predictor.margin_px // tile_px + 1),
        "bands": about["bands"],
        "credit": about["credit"],
        "standardization_mean": [0] * bands,  # after its division by 255
        "standardization_std": [1] * bands,
    }
    if resolution_cm:
        told["resolution"] = resolution_cm
    texts = {name: json.dumps(value) for name, value in told.items()}
    onnx.helper.set_model_props(made, texts)
    with paths.atomic(out) as temporary:
        onnx.save(made, temporary)
    return told
