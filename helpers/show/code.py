"""Show code in place."""

import textwrap


def source(thing):
    """Show the source code of a function, class or module in place, highlighted.

    Raises:
        TypeError: it has no Python source.
    """
    import inspect

    from IPython.display import Code, display

    try:
        code = textwrap.dedent(inspect.getsource(thing))
    except (TypeError, OSError) as error:
        told = "has no Python source to show: give a function, class or module written in Python"
        raise TypeError(f"{thing!r} {told}") from error
    display(Code(code, language="python"))
