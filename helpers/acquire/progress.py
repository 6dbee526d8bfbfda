"""Show a progress bar."""

import sys


def bar(things=None, **options):
    """Make a bar of tqdm, over `things` if given; shown in a terminal and in a notebook only."""
    from tqdm.auto import tqdm

    return tqdm(things, disable=not (sys.stderr.isatty() or "ipykernel" in sys.modules), **options)
