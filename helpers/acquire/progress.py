"""Show a progress bar."""

import os
import sys


def bar(**options):
    """Make a bar of tqdm; shown to people only: in a terminal, and in a notebook with a kernel."""
    from tqdm.auto import tqdm

    is_live = os.environ.get("SATELLITE_NOTEBOOKS_STATIC") != "1"  # not under papermill
    in_notebook = is_live and "ipykernel" in sys.modules
    return tqdm(disable=not (sys.stderr.isatty() or in_notebook), **options)
