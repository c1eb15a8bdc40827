"""A folder of images as users have them: photographs on their side, and many bands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tifffile
from bands import needs_rasterio
from PIL import Image
from register_inputs import texture

from tiepoint.export.folder import match_folder
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
