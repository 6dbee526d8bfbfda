"""Export a network to ONNX, in the form that the QGIS plugin Deepness reads."""

import json
from pathlib import Path

from helpers import paths
from helpers.apply.network import Predictor, load_model

OPSET = 17  # QGIS users have old versions of onnxruntime


def export(model, out, *, tile=256, resolution=None):
    """Write a network as an ONNX file that takes and gives digital numbers.

    Deepness divides the pixels of a layer by 255 before it calls a network, whatever their type.
    The graph multiplies by 255 again, maps the bands by their value range, applies the network and
    maps back. Input and output are float32 (1, bands, height, width); the bands of the input are
    those of `model.json`, in its order. Source: deepness.processing.models.preprocessing_utils.

    Args:
        model: path or name, as `load_model` takes it.
        out: .onnx file to write.
        tile: side of a tile; the graph takes no other.
        resolution: width of an input pixel.

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
    if tile % multiple_px:
        raise ValueError(
            f"{model} takes multiples of {multiple_px}: give another --tile"
        )
    names = [each["name"] for each in about["classes"]] or about["bands_out"]

    @tf.function(autograph=False)
    def graph(pixels):
        values = predictor.answer(tf.transpose(pixels * 255.0, (0, 2, 3, 1)))
        return tf.transpose(values[..., : len(names)], (0, 3, 1, 2))

    shape = (1, len(about["bands"]), tile, tile)
    inputs = [tf.TensorSpec(shape, tf.float32, name="input")]
    patch_tf2onnx()  # as Keras does: tf2onnx does not know NumPy 2
    made, _ = tf2onnx.convert.from_function(graph, input_signature=inputs, opset=OPSET)
    kind = "Superresolution" if about["scale"] > 1 else "Regressor"
    if about["classes"]:
        kind = "Segmentor"
    told = {
        "model_type": kind,
        "class_names": dict(enumerate(names)),
        "tiles_size": tile,  # in its documentation
        "tile_size": tile,  # in its code
        "tiles_overlap": min(90, 200 * predictor.margin_px // tile + 1),
        "bands": about["bands"],
        "credit": about["credit"],
    }
    if resolution:
        told["resolution"] = resolution
    onnx.helper.set_model_props(
        made, {name: json.dumps(value) for name, value in told.items()}
    )
    with paths.atomic(out) as temporary:
        onnx.save(made, temporary)
    return told
