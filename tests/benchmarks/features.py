"""`python -m tests.benchmarks.features`: forward and backward passes of the pretrained network, ways beside each other.

TensorFlow's gradient of depthwise convolutions is slow in bfloat16. Tried beside it: fewer taps, and the depthwise
convolution as a sum of shifted products. All ratios are over four taps in float32, measured in the same run.
"""

import time

from helpers import features
from helpers.backend import keras, tf

SIDES_PX, PIXELS, SECONDS = (64, 128, 256), 32 * 64 * 64, 2.0


class Shifted(keras.layers.DepthwiseConv2D):
    """The same convolution as a sum of shifted images, each times one row of the kernel."""

    def call(self, inputs):
        size, stride, (height, width) = self.kernel_size[0], self.strides[0], inputs.shape[1:3]
        rows, columns = -(-height // stride), -(-width // stride)
        lacking = [max((count - 1) * stride + size - side, 0) for count, side in ((rows, height), (columns, width))]
        padded = tf.pad(inputs, [[0, 0], *([lack // 2, lack - lack // 2] for lack in lacking), [0, 0]])
        kernel, total = tf.cast(self.kernel, inputs.dtype), tf.cast(self.bias, inputs.dtype)
        for r in range(size):
            for c in range(size):
                shifted = padded[
                    :, r : r + (rows - 1) * stride + 1 : stride, c : c + (columns - 1) * stride + 1 : stride
                ]
                total += shifted * kernel[r, c, :, 0]
        return total


WAYS = {
    "four taps, float32": {},
    "four taps, bfloat16": {"dtype": "mixed_bfloat16"},
    "three taps, float32": {"taps": features.TAPS[:3]},
    "two taps, float32": {"taps": features.TAPS[:2]},
    "shifted products, float32": {},
}


def passes(model, side_px):
    """Milliseconds an image, forward and forward with backward."""
    images = tf.random.stateless_uniform((PIXELS // side_px**2, side_px, side_px, 3), [0, 0])

    @tf.function
    def forward(images):
        return tf.add_n([tf.reduce_mean(tf.cast(found, tf.float32) ** 2) for found in model(images)])

    @tf.function
    def backward(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = forward(images)
        return tape.gradient(loss, images)

    return [milliseconds(function, images) / len(images) for function in (forward, backward)]


def milliseconds(function, images):
    """A call's mean, the first one left out."""
    function(images)
    began, calls = time.perf_counter(), 0
    while (seconds := time.perf_counter() - began) < SECONDS or not calls:
        function(images)
        calls += 1
    return 1000 * seconds / calls


def main():
    """Print the table."""
    print(f"{'':28}" + "".join(f"{side:>6} px forward (+ backward)" for side in SIDES_PX) + "   ms an image, ratio")
    reference = {}
    for name, options in WAYS.items():
        usual = keras.layers.DepthwiseConv2D
        keras.layers.DepthwiseConv2D = Shifted if name.startswith("shifted") else usual
        try:
            model = features.backbone(**options)
        finally:
            keras.layers.DepthwiseConv2D = usual
        cells = []
        for side in SIDES_PX:
            forward, both = passes(model, side)
            base = reference.setdefault(side, both)
            cells.append(f"{forward:10.1f} {both:8.1f} ({both / base:5.2f})   ")
        print(f"{name:28}" + "".join(cells))


if __name__ == "__main__":
    main()
