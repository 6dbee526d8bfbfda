"""The four lists of dependencies tell the same story: pyproject.toml, environment.yml, constraints.txt, what runs."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from helpers import paths

PYPROJECT = paths.ROOT / "pyproject.toml"
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
DIRECT = [Requirement(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]]
PYTHONS = ("3.11", "3.12", "3.13")


def _pins():
    lines = (paths.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _differences(conda, project):
    """One line for each dependency that differs; both are dicts from name to bounds."""
    lines = []
    for name in sorted(conda.keys() | project.keys()):
        here, there = (bounds.get(name, "absent") or "any version" for bounds in (conda, project))
        if here != there:
            lines.append(f"{name}: {here} in environment.yml, {there} in pyproject.toml")
    return lines


def _conda_dependencies():
    listed = yaml.safe_load((paths.ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    from_pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    lines = [entry for entry in listed if isinstance(entry, str)] + from_pip
    assert lines.count("-e .") == 1, "environment.yml should install the project itself, by `-e .`"
    lines = [line for line in lines if line not in ("pip", "-e .")]
    assert len(lines) == len({Requirement(line).name for line in lines}), "environment.yml names a package twice"
    return {Requirement(line).name: str(Requirement(line).specifier) for line in lines}


def test_conda_users_get_the_same_dependencies():
    project = {requirement.name: str(requirement.specifier) for requirement in DIRECT}
    project["python"] = str(Requirement(f"python{PROJECT['requires-python']}").specifier)
    assert not _differences(_conda_dependencies(), project)


def test_a_difference_is_named():
    project = {"numpy": ">=2.0", "pillow": ">=11"}
    assert _differences({"numpy": ">=1.26", "gdal": ""}, project) == [
        "gdal: any version in environment.yml, absent in pyproject.toml",
        "numpy: >=1.26 in environment.yml, >=2.0 in pyproject.toml",
        "pillow: absent in environment.yml, >=11 in pyproject.toml",
    ]


def test_every_dependency_has_a_reason():
    text = PYPROJECT.read_text(encoding="utf-8")
    listed = PROJECT["dependencies"] + sum(PROJECT["optional-dependencies"].values(), [])
    for line in listed:
        quoted = f'"{line}"'
        assert quoted in text, f"write {quoted} in pyproject.toml just like this, on a line of its own"
        rest = text.split(quoted, 1)[1].splitlines()[0]
        assert re.fullmatch(r"\]?,?\s+# \w.{10,}", rest), f"say in a comment behind {quoted} what it is for"


def test_constraints_pin_every_direct_dependency_within_its_bounds():
    pins = {canonicalize_name(pin.name): pin for pin in _pins()}
    for requirement in DIRECT:
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin and not pin.marker, f"constraints.txt does not pin {requirement.name} on every Python and system"
        assert requirement.specifier.contains(_version(pin)), f"{pin} in constraints.txt is not {requirement}"


def test_constraints_are_exact_and_unambiguous():
    pins = _pins()
    for pin in pins:
        assert _version(pin), f"{pin} in constraints.txt is not of the form NAME==VERSION"
    for python in PYTHONS:
        names = [canonicalize_name(pin.name) for pin in pins if _applies(pin, python)]
        assert len(names) == len(set(names)), "constraints.txt names a package twice"


def test_constraints_pin_all_that_is_installed():
    """Everything that the direct dependencies bring, in the Python that runs this, is pinned for this Python."""
    pinned = {canonicalize_name(pin.name) for pin in _pins() if pin.marker is None or pin.marker.evaluate()}
    missing = sorted(_brought_by(DIRECT) - pinned)
    assert not missing, f"constraints.txt does not pin {', '.join(missing)}; its first lines say how to renew it"


def test_pins_accept_the_first_release_of_each_python():
    """Debian 12 has Python 3.11.2: a package that asks for 3.11.5 would install here and fail there."""
    refused = []
    for pin in _pins():
        try:
            package = metadata.metadata(pin.name)
        except metadata.PackageNotFoundError:
            continue  # not for this Python or system
        bounds = SpecifierSet(package.get("Requires-Python") or "")  # with [], the backport that Dask loads raises
        if package["Version"] == _version(pin):
            refused += [f"{pin}: {bounds}" for v in PYTHONS if _applies(pin, v) and not bounds.contains(f"{v}.0")]
    assert not refused


def test_tensorflow_is_one_dependency_on_every_system():
    tensorflow = [requirement for requirement in DIRECT if "tensorflow" in requirement.name]
    assert [requirement.name for requirement in tensorflow] == ["tensorflow"] and not tensorflow[0].marker
    assert [pin.name for pin in _pins() if re.match("tensorflow(?!-)|tf-", pin.name)] == ["tensorflow"]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_pythons_that_are_promised_are_allowed(python):
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(f"{python}.0")


def _version(pin):
    found = re.fullmatch(r"==([^*,]+)", str(pin.specifier))
    return found and found[1]


def _applies(pin, python):
    return pin.marker is None or pin.marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"})


def _brought_by(requirements):
    """Names of everything that the requirements need here, themselves included."""
    found, waiting = {}, list(requirements)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if extras <= found.get(name, frozenset()) and name in found:
            continue
        found[name] = found.get(name, frozenset()) | extras
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in found[name] | {""}):
                waiting.append(needed)
    return set(found)
