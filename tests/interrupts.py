"""Ctrl-C, as tests press it on a process of its own."""

import signal
import subprocess


def press_ctrl_c(process, still_works=lambda: True):
    """Send SIGINT until the process ends; return what it said, (stdout, stderr).

    The signal may arrive where Python cannot raise, as in a finalizer: people then press again. A
    process that is cleaning up already, as `still_works` tells, is left alone.
    """
    for patience_s in (10, 10, 20, 40):
        if still_works():
            process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            pass
    process.kill()
    raise AssertionError("Ctrl-C does not end it")
