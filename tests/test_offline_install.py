"""Set-up by make: offline from a folder of wheels, in a path with spaces, begun anew when interrupted, refused clearly.

The whole installation takes minutes and gigabytes; here the real Makefile installs the real project with a short list
of dependencies, from wheels made of what is installed, while the network is refused.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata

import pytest

from helpers import paths

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="needs make")
DEPENDENCIES = {"dependencies": ["tqdm", "pyyaml"], "dev": ["iniconfig"]}


def _checkout(folder):
    """The project in `folder`, with a short list of dependencies."""
    folder.mkdir(parents=True)
    for name in ("Makefile", "LICENSE", "README.md"):
        if (paths.ROOT / name).exists():
            shutil.copy(paths.ROOT / name, folder)
    shutil.copytree(paths.ROOT / "helpers", folder / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    text = (paths.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for key, names in DEPENDENCIES.items():
        text, count = re.subn(rf"(?ms)^{key} = \[$.*?^\]", f"{key} = {names}", text)
        assert count == 1, f"pyproject.toml should have {key} as a list of several lines"
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    pins = [f"{name}=={metadata.version(name)}\n" for name in [*sum(DEPENDENCIES.values(), []), "setuptools"]]
    (folder / "constraints.txt").write_text("".join(pins), encoding="utf-8")
    return folder


def _write_wheel(name, folder):
    """A wheel made of an installed package."""
    package = metadata.distribution(name)
    tag = re.search(r"(?m)^Tag: (\S+)", package.read_text("WHEEL"))[1]
    path = folder / f"{name}-{package.version}-{tag}.whl"
    skipped = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}
    with zipfile.ZipFile(path, "w") as wheel:
        names = []
        for file in package.files:
            if file.parts[0] != ".." and "__pycache__" not in file.parts and file.name not in skipped:
                names.append(file.as_posix())
                wheel.write(file.locate(), names[-1])
        dist_info = next(name for name in names if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
        wheel.writestr(f"{dist_info}RECORD", "".join(f"{name},,\n" for name in [*names, f"{dist_info}RECORD"]))


def _without_network():
    """What to put before a command, and its environment, so that no package index can be reached."""
    ours = "(?i)(pip_.*|pythonpath|make.*|mflags|python|pythons|platforms|wheels|packs|args|.*_proxy)$"
    kept = {key: value for key, value in os.environ.items() if not re.match(ours, key)}
    closed = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    pip["PIP_USER"] = "1"  # a setting that people have, and that must not get in the way
    for command in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command, kept | pip
    return [], kept | pip | closed


def _make(folder, *arguments, **environment):
    prefix, kept = _without_network()
    command = [*prefix, "make", *arguments]
    return subprocess.run(command, cwd=folder, env=kept | environment, capture_output=True, text=True)


def test_installs_offline_and_begins_anew_after_a_failure(tmp_path):
    if int(metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("setuptools here is older than pyproject.toml asks for; `make test` installs a newer one")
    folder = _checkout(tmp_path / "it's a folder with spaces")
    wheels = tmp_path / "the wheels"
    wheels.mkdir()
    python = f"PYTHON={sys.executable}"

    without = _make(folder, "setup", python)
    assert without.returncode and "did not finish" in without.stdout + without.stderr
    assert not (folder / ".venv" / ".installed").exists(), "a failed installation is taken as done"
    (folder / ".venv" / "leftover").touch()

    for name in [*sum(DEPENDENCIES.values(), []), "setuptools"]:
        _write_wheel(name, wheels)
    done = _make(folder, "setup", python, "WHEELS=../the wheels")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / ".venv" / "leftover").exists(), "a failed installation is built upon"
    code = "import sys; sys.path.remove(''); import tqdm, yaml, iniconfig, helpers; print(helpers.__file__)"
    command = [folder / ".venv" / "bin" / "python", "-c", code]
    imported = subprocess.run(command, env=_without_network()[1], capture_output=True, text=True, check=True).stdout
    assert imported.strip() == str(folder / "helpers" / "__init__.py")

    assert "Nothing to be done" in _make(folder, "setup").stdout
    (folder / "constraints.txt").touch()
    assert "Installing" in _make(folder, "-n", "setup").stdout, "a change of constraints.txt goes unnoticed"
    (folder / ".venv" / ".installed").touch()
    moved = folder.rename(tmp_path / "moved")
    assert '[ -n "anew" ]' in _make(moved, "-n", "setup").stdout, "a moved checkout goes on with the old .venv"


def _unsuitable_python(folder, version):
    folder.mkdir(exist_ok=True)
    python = folder / "python3"
    python.write_text(f"#!/bin/sh\ncase $2 in *print*) echo {version};; *) exit 1;; esac\n")
    python.chmod(0o755)
    return python


@pytest.mark.parametrize("version, told", [("3.9", "is 3.9"), ("3.14", "is 3.14"), ("3.12", "3.12 without venv")])
def test_an_unsuitable_python_is_refused_and_named(tmp_path, version, told):
    folder = _checkout(tmp_path / "checkout")
    answer = _make(folder, "setup", f"PYTHON={_unsuitable_python(tmp_path / 'some bin', version)}")
    assert answer.returncode and "Python 3.11, 3.12 or 3.13" in answer.stderr and told in answer.stderr
    assert not (folder / ".venv").exists()


def test_no_python_at_all_is_said(tmp_path):
    folder = _checkout(tmp_path / "checkout")
    answer = _make(folder, "setup", f"PYTHON={tmp_path / 'nowhere'}")
    assert answer.returncode and "Found: none" in answer.stderr


def test_clean_keeps_results_and_own_files(tmp_path):
    folder = _checkout(tmp_path / "checkout")
    for name in ("runs/first/metrics.json", "data/packs.toml", "data/mine/image.tif", "data/packs/some/image.tif"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    answer = _make(folder, "clean")
    assert answer.returncode == 0 and "runs" in answer.stdout
    kept = {path.relative_to(folder).as_posix() for top in ("runs", "data") for path in (folder / top).rglob("*.*")}
    assert kept == {"runs/first/metrics.json", "data/packs.toml", "data/mine/image.tif"}
    assert _make(folder, "clean-all").returncode == 0 and not (folder / "runs").exists()


def test_make_alone_lists_the_targets(tmp_path):
    listed = re.findall(r"(?m)^make (\S+) +\S", _make(_checkout(tmp_path / "checkout")).stdout)
    assert {"run", "test", "lab", "bench", "usb", "clean", "clean-all"} <= set(listed)
