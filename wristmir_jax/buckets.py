"""Buckets as folders: what works on them otherwise than on a file system."""

import importlib.util
import os

from etils import epath

from wristmir_jax.errors import UserError


def is_bucket(path: epath.PathLike) -> bool:
    """Whether `path` is a URL, such as gs://bucket/folder, and no path of a file system."""
    return "://" in os.fspath(path)


def make_ready(path: epath.PathLike) -> None:
    """Call before `path` is read or written; nothing to do for a path of a file system.

    Raises:
        UserError: the extra that reads buckets is not installed.
    """
    if not os.fspath(path).startswith("gs://"):
        return
    if importlib.util.find_spec("gcsfs") is None:
        raise UserError(
            f"{path} is on a bucket: install the extra that reads it (pip install -e '.[gcs]'), or "
            "give a local folder or a mounted bucket"
        )
    from fsspec.config import conf

    # A listing that is remembered hides what other processes have written since, and tells the old
    # length of what they have written anew.
    conf.setdefault("gcs", {}).setdefault("use_listings_cache", False)


def refuse(path: epath.PathLike, flag: str) -> None:
    """Refuse a bucket where a library opens files by calls of the operating system.

    Raises:
        UserError: `path` is on a bucket; tells how to mount it.
    """
    if is_bucket(path):
        raise UserError(
            f"{flag}={path}: ArrayRecord files need a file system: mount the bucket (such as with "
            "gcsfuse) and give the mount's path"
        )


def move_folder(source: epath.Path, target: epath.Path) -> None:
    """Rename a folder, whose new parent exists where there are such things.

    On a bucket its objects are moved one by one, without passing through this machine.
    """
    if not is_bucket(source):
        source.rename(target)
        return
    from fsspec.core import url_to_fs

    filesystem, path = url_to_fs(os.fspath(source))
    filesystem.mv(path, os.fspath(target), recursive=True)
