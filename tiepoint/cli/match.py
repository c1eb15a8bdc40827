"""`tiepoint match`: the matches of two images."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar
from tiepoint.options import Detection, Matching, Nodata, Reading

EXAMPLES = {
    "left.png right.png --out out/matches": "Match two images and draw the matches.",
    "vis.png nir.png --describer sdgmnet-visnir --relater rrlnet-visnir": "Let a relater choose the matches.",
}


def main(
    a: Positional[Path],
    b: Positional[Path],
    /,
    *,
    out: Path | None = None,
    describer: str = "sdgmnet",
    relater: str | None = None,
    json: bool = False,
    nodata: float | tuple[Nodata, Nodata] | None = None,
    device: str = "auto",
    matching: Matching = Matching(),
    detection: Detection = Detection(),
) -> None:
    """Match the keypoints of two images: mutual nearest neighbours that pass the ratio test.

    With --relater, the matches are those pairs of near descriptors that are each other's most probable.

    Args:
        a: First image.
        b: Second image.
        out: Folder for result.json, which is written first, and matches.png. Without it nothing is written.
        relater: Name or path of a relater, which chooses among the nearest and gives each match its probability.
        json: Print one JSON object, with a row xa, ya, xb, yb, similarity, and with --relater probability, a match.
        nodata: Grey value, as stored, of pixels without data, beside what the files say: of both images, or one of A
            and one of B, nan for none, such as 0 nan.
    """
    from tiepoint.files import check_outputs, locked, write_json
    from tiepoint.images.pixels import write_image
    from tiepoint.images.raster import read_image
    from tiepoint.matching.match import match
    from tiepoint.report.draw import draw_matches
    from tiepoint.version import __version__

    if out is not None:
        check_outputs(out / "result.json", out / "matches.png")
    with locked(out):
        # The pixels that are matched are those that the picture shows: upright, and grey where they have many bands.
        marks = Reading(nodata=nodata).nodata_values
        rasters = read_image(a, nodata=marks[0]), read_image(b, nodata=marks[1])
        with progress_bar("matching") as advance:
            found = match(*rasters, describer, detection, matching, relater=relater, device=device, progress=advance)
        result = {"tiepoint": __version__, "a": str(a), "b": str(b), **found.to_json()}
        if out is not None:
            write_json(out / "result.json", result)
            values, value_name = found.rows.probability, "probability"
            if values is None:
                values, value_name = found.rows.similarity, "similarity"
            picture = draw_matches(*rasters, found.points, values=values, value_name=value_name)
            write_image(out / "matches.png", picture)
    if not json:
        del result["points"]
        probability = found.rows.probability
        if probability is not None and len(found):
            result["probabilities"] = f"{float(probability.min()):.2f} to {float(probability.max()):.2f}"
    emit(result, json, title="Matches")
    if out is not None:
        note(out / "result.json", out / "matches.png", then=f"`tiepoint register {a} {b}` fits a transform")
