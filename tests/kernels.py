"""Kernels of notebooks that share one import of TensorFlow, which takes each of them 4 s of a processor otherwise.

A server imports it and forks a kernel for whoever asks: a process of its own, with the folder, the environment and the
output of the one who asked. Jupyter starts `python tests/kernels.py SOCKET ARGUMENT…`, which asks, stands in for the
kernel, passes Ctrl-C on, and takes the kernel along when it is killed. With `-c CODE ARGUMENT…` the process runs code.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

SHARED = (  # what notebooks import; `helpers.paths` reads the environment, and is read again by each kernel
    "helpers.acquire.practice", "helpers.acquire.providers", "helpers.acquire.sources", "helpers.apply",
    "helpers.features", "helpers.pairs.cloudy_pairs", "helpers.pairs.maps", "helpers.pairs.views", "helpers.runs",
    "helpers.training", "helpers.__main__", "ipywidgets", "matplotlib.backends.backend_agg", "matplotlib.pyplot",
    "skimage.measure",
)  # fmt: skip
OFFERED = "TESTS_KERNELS"  # folder of a server that is there already: two workers of pytest share one
EAGERLY = "TESTS_RUN_EAGERLY"  # beginnings of notebooks run without graphs, each of which takes longer than few steps


@functools.cache
def offered():
    """Start a server that ends with this process, unless there is one; return the folder where Jupyter finds it."""
    if OFFERED in os.environ:
        return os.environ[OFFERED]
    folder = Path(tempfile.mkdtemp(prefix="kernels"))
    address, spec = folder / "socket", folder / "kernels" / "python3" / "kernel.json"
    command = [sys.executable, __file__, str(address)]
    server = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.stdin.close)
    assert server.stdout.readline() == "ready\n"
    spec.parent.mkdir(parents=True)
    argv = [sys.executable, "-S", __file__, str(address), "-f", "{connection_file}"]
    spec.write_text(json.dumps({"argv": argv, "display_name": "Python 3", "language": "python"}))
    return str(folder)


def serve(address):
    """Fork a kernel for each caller, until standard input is closed; those who call during the imports wait."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        sys.modules["rfc3987_syntax"] = None  # as in conftest.py
        for name in SHARED:
            importlib.import_module(name)
        from ipykernel.kernelapp import IPKernelApp
        from matplotlib.figure import Figure
        from papermill.engines import NotebookExecutionManager as Manager

        Figure.savefig = small(Figure.savefig)
        Manager.save = last(Manager.save)
        os.fsync = lambda handle: None  # what tests write need not outlive a power cut
        gc.freeze()  # what is shared stays so, and is not looked through again
        gc.set_threshold(50_000, 20, 100)  # building graphs makes many objects: a tenth less time
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for kernels that have ended
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            caller, _ = server.accept()
            if os.fork() == 0:
                server.close()
                option, *arguments = take_over(caller)
                if option == "-c":
                    code, *sys.argv[1:] = arguments
                    exec(code, {"__name__": "__main__"})
                    sys.stdout.flush()
                    caller.send(b"0")
                else:
                    begin = "--IPKernelApp.exec_lines=import kernels; kernels.watch(get_ipython())"
                    IPKernelApp.launch_instance(argv=[option, *arguments] + [begin] * (EAGERLY in os.environ))
                return
            caller.close()


def run(code, *arguments, **options):
    """Do what `python -c CODE ARGUMENT…` does, with all imported; its status is 1 if it fails or is killed."""
    shared = ["-S", __file__, os.path.join(offered(), "socket")] if sys.platform == "linux" else []
    command = [sys.executable, *shared, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def small(save):
    """Figures of a quarter of the pixels, hardly compressed: a fifth of the time of some notebooks."""
    return lambda figure, file, dpi: save(figure, file, dpi=dpi / 2, pil_kwargs={"compress_level": 1})


def last(save):
    """Papermill writes a notebook before and after each cell: here only at its end, also where a cell fails."""
    return lambda book: save(book) if book.end_time else None


def take_over(caller):
    """Become what the caller asked for; return its arguments."""
    size, files, *_ = socket.recv_fds(caller, 8, 3)
    asked = json.loads(caller.recv(int(size), socket.MSG_WAITALL))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.modules["numpy"].random.seed()  # else all kernels draw the same
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.path[:1] = asked["environment"].get("PYTHONPATH", "").split(os.pathsep)
    importlib.reload(sys.modules["helpers.paths"])
    caller.send(str(os.getpid()).encode())
    threading.Thread(target=lambda: caller.recv(1) or os._exit(1), daemon=True).start()
    sys.modules["kernels"] = sys.modules["__main__"]  # which will be that of the kernel
    return asked["arguments"]


def watch(shell):
    """Switch graphs off as soon as a notebook whose name is listed begins its run."""
    begins = tuple(f'run = runs.start("{name}' for name in os.environ[EAGERLY].split())

    def switch(info):
        if any(line.startswith(begins) for line in info.raw_cell.splitlines()):
            warnings.filterwarnings("ignore", ".*run_functions_eagerly")  # that it is not for the functions of tf.data
            sys.modules["tensorflow"].config.run_functions_eagerly(True)

    shell.events.register("pre_run_cell", switch)


def stand_in(address, arguments):
    """Ask for a kernel and wait until it has ended, or whoever started this; return the status of its code."""
    asked = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as kernel:
        kernel.connect(address)
        content = json.dumps(asked).encode()
        socket.send_fds(kernel, [b"%08d" % len(content)], [0, 1, 2])
        kernel.sendall(content)
        number = int(kernel.recv(20))
        signal.signal(signal.SIGINT, lambda *_: os.kill(number, signal.SIGINT))
        parent = os.getppid()
        while os.getppid() == parent:
            if select.select([kernel], [], [], 1)[0]:
                return kernel.recv(1) != b"0"


if __name__ == "__main__":
    address, *arguments = sys.argv[1:]
    sys.exit(stand_in(address, arguments) if arguments else serve(address))
