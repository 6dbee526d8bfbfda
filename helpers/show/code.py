"""Code in place."""

import textwrap


def source(thing):
    """Show the source code of a function, class or module in place, highlighted: there is no second copy of it.

    Raises:
        TypeError: it has no Python source.
    """
    import inspect

    from IPython.display import Code, display

    try:
        code = textwrap.dedent(inspect.getsource(thing))
    except (TypeError, OSError) as error:
        raise TypeError(
            f"{thing!r} has no Python source to show: it is built in, compiled, or an object rather than its class. "
            "Give a function, class or module that is written in Python"
        ) from error
    display(Code(code, language="python"))
