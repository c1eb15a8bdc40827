"""A folder of images as users have them: photographs on their side, and many bands."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from bands import needs_rasterio
from PIL import Image
from register_inputs import texture

from tiepoint.errors import InputError
from tiepoint.export.folder import list_images, match_folder, read_pairs
from tiepoint.options import Detection


@needs_rasterio
def test_images_of_six_bands_are_matched_and_photographs_keep_the_pixels_that_colmap_reads(tmp_path: Path) -> None:
    image = texture(0)
    cv2.imwrite(str(tmp_path / "plain.png"), image)
    tagged = Image.fromarray(image)
    tagged.getexif()[274] = 6
    tagged.save(tmp_path / "tagged.png", exif=tagged.getexif())  # COLMAP and hloc apply no orientation
    tifffile.imwrite(tmp_path / "six.tif", np.stack([image] * 6), photometric="minisblack", planarconfig="separate")
    found = match_folder(tmp_path, "rootsift", detection=Detection(max_keypoints=200))
    assert found.left_out == {}
    sizes = {name: features.size for name, features in found.features.items()}
    assert sizes == dict.fromkeys(("plain.png", "six.tif", "tagged.png"), (image.shape[1], image.shape[0]))
    np.testing.assert_array_equal(found.features["plain.png"].frames, found.features["tagged.png"].frames)
    for names, matches in found.matches.items():
        assert len(matches) > 150
        a, b = (found.features[name].points[matches.indices[:, side]] for side, name in enumerate(names))
        assert np.median(np.abs(a - b)) < 0.1


@pytest.mark.parametrize(
    "data",
    [
        b"0.png 1.png\n",
        b"0.png 1.png\n1.png 0.png\n0.png 1.png\n",  # hloc's lists of retrieved images
        b"\xef\xbb\xbf0.png 1.png\r\n",
        "\ufeff0.png 1.png\r\n".encode("utf-16-le"),  # what PowerShell's > writes
        b"0.png 1.png 0.83\n",
        b"# names\n\n0.png, 1.png, 3, 1e-3,\n",
        b'"0.png"\t"1.png"\t7\n',
        b"./0.png 1.png",
    ],
)
def test_lists_of_pairs_as_other_programs_write_them(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "pairs.txt").write_bytes(data)
    assert read_pairs(tmp_path / "pairs.txt") == [("0.png", "1.png")]


def test_names_in_lists_of_pairs_are_those_of_files(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"caf\xe9.png\tx [1]\xe2\x80\xa8.png\n")
    assert read_pairs(tmp_path / "pairs.txt") == [(os.fsdecode(b"caf\xe9.png"), "x [1]\u2028.png")]
    (tmp_path / "pairs.txt").write_bytes(b"0.png 1.png 2.png\n")
    with pytest.raises(InputError, match=r"line 1: .*give two different image names"):
        read_pairs(tmp_path / "pairs.txt")


def test_linked_folders_are_listed_once_and_links_to_nothing_are_named(tmp_path: Path) -> None:
    photos, other = tmp_path / "photos", tmp_path / "other"
    for folder in (photos / "z", other):
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    (photos / "a").symlink_to(photos / "z")  # there already
    (photos / "linked").symlink_to(other)
    (photos / "z" / "up").symlink_to(tmp_path)  # holds the folder itself
    (photos / "gone.png").symlink_to("nothing")
    (photos / "folder.png").mkdir()
    os.mkfifo(photos / "pipe.png")
    assert list_images(photos) == ["gone.png", "linked/1.png", "z/1.png"]
    assert list_images(photos, below=False) == ["gone.png"]
    with pytest.raises(InputError, match=r"0 images can be used, .*gone\.png: no such file"):
        match_folder(photos, "rootsift")
