"""Import TensorFlow and Keras once, without the page of C++ messages that no setting silences.

Rooms that need them say `from helpers.backend import keras, tf`; nothing else is here.
"""

import os
import sys
import tempfile
from contextlib import contextmanager


@contextmanager
def _held_back():
    """Hold back what C++ code writes to standard error; show it only if the block fails."""
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(screen, held.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)


with _held_back():
    import keras
    import tensorflow as tf

    # it warns of retraced functions once a page has more than four networks
    tf.get_logger().setLevel("ERROR")
    tf.config.list_physical_devices()  # the first look for GPUs complains where there is none

__all__ = ["keras", "tf"]
