"""The films that boxes were drawn on, found by name; only headers of the files are read."""

from collections import defaultdict

from etils import epath
from PIL import Image, UnidentifiedImageError

from wristmir_jax.data.box_formats.plain_files import files_below
from wristmir_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
_EXIF_ORIENTATION = 274
_EXIF_TURNED = (5, 6, 7, 8)


class ImageFolder:
    """PNG and JPEG files of a folder and the folders below it.

    Raises:
        UserError: there is no such folder, or no film in it.
    """

    def __init__(self, folder: epath.PathLike):
        self.folder = epath.Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"--images={self.folder}: there is no such folder")
        self._by_path: dict[str, epath.Path] = {}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for file in files_below(self.folder, SUFFIXES):
            path = str(file.relative_to(self.folder))
            self._by_path[path] = file
            for name in (file.name, file.stem):
                self._by_name[name].append(path)
        if not self._by_path:
            raise UserError(f"--images={self.folder}: no PNG or JPEG lies there")

    def find(self, name: str) -> list[str]:
        """Paths in the folder of the films that `name` can mean: one where it is clear.

        The path itself counts first, with or without its suffix, then the file name, then that
        without its suffix.
        """
        for path in (name, *(name + suffix for suffix in SUFFIXES)):
            if path in self._by_path:
                return [path]
        last = name.rsplit("/", 1)[-1]
        stem = last.rsplit(".", 1)[0]
        return self._by_name.get(last) or self._by_name.get(stem) or []

    def size(self, path: str) -> tuple[int, int]:
        """Width and height of a film as it is read for training: EXIF rotation is applied.

        Args:
            path: as `find` gives it.

        Raises:
            UserError: the file is no image.
        """
        file = self._by_path[path]
        try:
            with file.open("rb") as stream, Image.open(stream) as image:
                turned = image.getexif().get(_EXIF_ORIENTATION) in _EXIF_TURNED
                width, height = image.size
        except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
            raise UserError(f"{file}: not a PNG or JPEG image ({type(error).__name__})") from None
        return (height, width) if turned else (width, height)
