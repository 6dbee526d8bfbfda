"""What a folder of pairs holds: the rows of its manifest, or the images in a folder for each role."""

from helpers.scenes.folders import IMAGE_SUFFIXES, LEFT_OUT, read_table


def joined(folder, roles):
    """The images of a folder, pair by pair: by the column `pair` of its manifest, else by equal names.

    Args:
        folder: Path, with a `manifest.csv`, or with a folder for each role.
        roles: those that make up a pair.

    Returns:
        dict from the name of a pair, sorted, to a dict from role to the row of the manifest, or what stands for it;
        a role may be missing. Rows that a split leaves out are not among them.

    Raises:
        ValueError: a manifest without what is needed, or two images of one role in a pair.
    """
    table = folder / "manifest.csv"
    if table.exists():
        frame = read_table(table)
        if missing := {"path", "role", "pair"} - set(frame.columns):
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}; it has {', '.join(frame.columns)}")
        if not set(roles) & set(frame.role):
            there = ", ".join(sorted(set(frame.role))) or "no row"
            raise ValueError(f"{table} has no pairs of the roles {' and '.join(roles)}; it has {there}")
        rows = [row for row in frame.to_dict("records") if row["role"] in roles and row.get("split") not in LEFT_OUT]
    else:
        rows = [
            {"path": str(path.relative_to(folder)), "role": role, "pair": path.stem}
            for role in roles for path in images(folder / role)
        ]  # fmt: skip
    found = {}
    for row in sorted(rows, key=lambda row: (row["pair"], row["path"])):
        first = found.setdefault(row["pair"], {}).setdefault(row["role"], row)
        if first is not row:
            raise ValueError(f"pair {row['pair']!r} has two {row['role']} images: {first['path']} and {row['path']}")
    return found


def images(folder):
    """The image files of a folder, sorted."""
    paths = folder.glob("*")
    return sorted(path for path in paths if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))


def some(names):
    """The first five of many names, and how many more there are."""
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
