"""One call prepares the machine: GPUs or cores, precision, XLA, seeds."""

import os
import platform
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from helpers.backend import keras, tf

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class Device:
    """Hold what networks run on.

    Attributes:
        kind: "cpu" or "gpu".
        count: GPUs, or processor cores.
        precision: Keras dtype policy.
        xla: whether training steps are compiled by XLA.
        strategy: tf.distribute strategy over several GPUs, or None.
    """

    kind: str
    count: int
    precision: str
    xla: bool
    strategy: object = None

    def scope(self):
        """Return the context in which models must be built to be trained on several GPUs."""
        return self.strategy.scope() if self.strategy else nullcontext()

    def record(self):
        """Return the choice and the versions, for `metrics.json`."""
        return {
            "kind": self.kind, "count": self.count, "precision": self.precision, "xla": self.xla,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
            "tensorflow": tf.__version__, "keras": keras.__version__,
            "machine": platform.machine(), "system": platform.system(),
        }  # fmt: skip

    def __str__(self):
        what = f"{self.count} GPU" if self.kind == "gpu" else f"CPU, {self.count} cores"
        xla, versions = (
            "on" if self.xla else "off",
            f"{tf.__version__}, Keras {keras.__version__}",
        )
        return f"device: {what} · {self.precision} · XLA {xla} · TensorFlow {versions}"


def prepare_device(*, precision="auto", seed=0):
    """Set up GPUs, precision and seeds, and print the choice in one line.

    GPUs get memory growth and XLA, and mixed_float16 where they have tensor cores; several are used
    together. CPUs get mixed_bfloat16 where the processor computes in it (1.4 to 2.7 times faster
    than float32 there; 9 times slower where it does not), and no XLA (twice slower).

    Args:
        precision: "auto", or a Keras dtype policy to force.
        seed: of Python, NumPy and TensorFlow.

    Returns:
        Device.

    Raises:
        ValueError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}"
        )
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if precision == "auto" and gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        has_tensor_cores = details.get("compute_capability", (0, 0)) >= (7, 0)
        precision = "mixed_float16" if has_tensor_cores else "float32"
    elif precision == "auto":
        precision = "mixed_bfloat16" if cpu_computes_bfloat16() else "float32"
    keras.config.set_dtype_policy(precision)
    keras.utils.set_random_seed(seed)
    strategy = tf.distribute.MirroredStrategy() if len(gpus) > 1 else None
    kind, count = ("gpu", len(gpus)) if gpus else ("cpu", os.cpu_count())
    device = Device(kind, count, precision, bool(gpus), strategy)
    print(device)
    return device


def cpu_computes_bfloat16(cpuinfo="/proc/cpuinfo"):
    """Tell whether the processor has the bfloat16 instructions that TensorFlow uses."""
    file = Path(cpuinfo)
    words = file.read_text(encoding="utf-8").split() if file.exists() else []
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(words)
