"""The bar that says how far a job is."""

import sys


def bar(**options):
    """A bar of tqdm; shown in a terminal and in a notebook only."""
    from tqdm.auto import tqdm

    return tqdm(disable=not (sys.stderr.isatty() or "ipykernel" in sys.modules), **options)
