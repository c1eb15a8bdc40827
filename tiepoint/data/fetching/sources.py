"""Where the published data sets of patches are, and what proves that a copy of one is the published archive.

The addresses that torchvision's PhotoTour class names have been gone since 2025, and the University of Washington
serves an older set. They are left out here: a dead address that somebody buys answers with other pages.
"""

from dataclasses import dataclass
from difflib import get_close_matches

from tiepoint.errors import InputError

MAX_ARCHIVE_BYTES = 1 << 33


@dataclass(frozen=True)
class Source:
    """A data set that is published as one zip."""

    name: str  # what `tiepoint data fetch` calls it; the folder that it is unpacked to
    about: str  # what it is, in a few words
    file: str  # the archive's name
    mirrors: tuple[str, ...]  # addresses, http or https, tried in this order
    then: str  # the command that makes a PatchSet of it, with {folder} for where it was unpacked
    md5: str | None = None  # of the published archive; None where none was published
    repacked: bool = False  # whether the mirrors packed the published files anew, so that another hash is no error
    size: int | None = None  # approximate bytes of the archive; the server's number counts

    @property
    def most(self) -> int:
        """The bytes at which a download of the archive ends, since it cannot be the archive."""
        return 2 * self.size if self.size else MAX_ARCHIVE_BYTES


PRAGUE = "https://cmp.felk.cvut.cz/~mishkdmy/datasets/BrownPhotoTour"


def _phototour(name: str, patches: str, md5: str) -> Source:
    served = not name.endswith("_harris")
    mirrors = (f"{PRAGUE}/{name}.zip",) if served else ()
    then = "tiepoint data phototour {folder} --out {folder}-patches"
    about = f"PhotoTour, {patches} patches at {'DoG keypoints' if served else 'Harris corners'}"
    return Source(name, about, f"{name}.zip", mirrors, then, md5, repacked=served)


# The MD5s are those of the original zips, as torchvision's PhotoTour class states them. Prague packed the files anew
# (pytorch/vision#8960). Nobody is known to serve the Harris variants (pytorch/vision#8722).
_TABLE = (
    _phototour("liberty", "450,092", "fdd9152f138ea5ef2091746689176414"),
    _phototour("notredame", "468,159", "509eda8535847b8c0a90bbb210c83484"),
    _phototour("yosemite", "633,587", "533b2e8eb7ede31be40abc317b2fd4f0"),
    _phototour("liberty_harris", "379,587", "c731fcfb3abb4091110d0ae8c7ba182c"),
    _phototour("notredame_harris", "325,295", "69f8c90f78e171349abdf0307afefe4d"),
    _phototour("yosemite_harris", "450,912", "a73253d1c6fbd3ba2613c45065c00d46"),
    Source(
        name="hpatches",
        about="HPatches, 116 sequences, strips of patches",
        file="hpatches-release.zip",
        mirrors=("https://huggingface.co/datasets/vbalnt/hpatches/resolve/main/hpatches-release.zip",),
        then="tiepoint data hpatches {folder} --out {folder}-patches",
        size=4_200_000_000,
    ),
)
SOURCES: dict[str, Source] = {source.name: source for source in _TABLE}


def find(name: str) -> Source:
    """The data set of this name. Raises InputError that names those that resemble it."""
    if name in SOURCES:
        return SOURCES[name]
    close = get_close_matches(name.lower(), SOURCES, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"no data set {name!r}: {hint}there are {', '.join(SOURCES)}")
