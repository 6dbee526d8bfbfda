"""Show a progress bar."""

import sys


def bar(**options):
    """Make a bar of tqdm; shown in a terminal and in a notebook only."""
    from tqdm.auto import tqdm

    return tqdm(disable=not (sys.stderr.isatty() or "ipykernel" in sys.modules), **options)
