"""Reusable parts of satellite-notebooks: data, metrics, models, training and runs.

Import the part you need (`from helpers import scenes, metrics`); only `pairs`, `features`,
`models`, `training` and `apply` load TensorFlow.
"""

import os
import platform

# TensorFlow reads this once, while it loads. On x86 processors without AVX-512 it leaves oneDNN
# off, which makes SRCNN training 2.5 times slower (measured with TensorFlow 2.21 on an AVX2
# processor: 1.33 s a step against 0.54 s).
if platform.machine().lower() in {"x86_64", "amd64"}:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# At 2, its optimizer of graphs prints lines that look like failures; what really fails becomes an
# exception anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
