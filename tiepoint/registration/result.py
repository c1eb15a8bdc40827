"""What a registration is: the transform, its tie points and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.dense.evidence import Agreement
from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.geometry.pose import Pose
from tiepoint.geometry.robust import apply
from tiepoint.geometry.warps import Warp, WarpTrial
from tiepoint.options import TWO_VIEW_MODELS, ModelChoice
from tiepoint.options import Registration as Options
from tiepoint.parsed import conform
from tiepoint.registration import saved, show
from tiepoint.registration.overlay import MAX_SIDE_PX, Mapping
from tiepoint.registration.reread import Input, read_picture, warp_bands
from tiepoint.registration.verdict import Evidence
from tiepoint.types import Matrix, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Registration:
    """What `register` found. It holds no pixels and no descriptors.

    Attributes:
        matrix: (3, 3), maps a pixel (x, y, 1) of a to b; None if refused. Of the models "fundamental" and "essential"
            it maps nothing: it is the fundamental matrix F, for which x_b^T F x_a = 0 in pixels. `transform` is None
            then.
        a, b: what is known of the images.
        describer: its name.
        matches: (K, 4) the keypoint matches, xa, ya, xb, yb in pixels.
        points: (M, 4) likewise, what the geometry was given: the points whose structure was compared, or without
            refinement the keypoint matches.
        scores: (M,) how alike they are: correlation of the structure, or similarity of the descriptors.
        inliers: (M,) bool over the correspondences; all False if refused.
        residuals: (T,) pixels of b, one for each tie point; of F Sampson distances; with a warp the distance of each
            tie point from where a warp of the others takes it.
        accepted: the verdict.
        reasons: why it was refused, in words; empty if accepted.
        confidence: probability, in 0..1, that the transform is good to 5 px at the image's corners, see
            `tiepoint.registration.verdict`.
        evidence: what the confidence was made of.
        model: of the transform.
        options: what it was made with.
        probabilities: (T,) match probability of each tie point by the relater, in 0..1; None without one.
        warp: what bends the transform, where one was asked for and is better; its `map` takes points of a to b.
        trial: how it was tried; None where none was asked for.
        pose: of the cameras, by the model "essential"; None by others.
        agreement: the windows of both images that were asked about the transform, a refused one too, and of large
            images the one of the reduced images; None where keypoints were described, or nothing could be asked.
    """

    matrix: Matrix | None
    a: ViewInfo
    b: ViewInfo
    describer: str
    matches: Points
    points: Points
    scores: NDArray[np.floating]
    inliers: NDArray[np.bool_]
    residuals: NDArray[np.float64]
    accepted: bool
    reasons: tuple[str, ...]
    confidence: float
    evidence: Evidence
    model: ModelChoice
    options: Options
    probabilities: NDArray[np.float64] | None = None
    warp: Warp | None = None
    trial: WarpTrial | None = None
    pose: Pose | None = None
    agreement: Agreement | None = None

    @property
    def tie_points(self) -> Points:
        """Correspondences that agree with the transform, or with the warp (T, 4): xa, ya, xb, yb in pixels."""
        return self.points[self.inliers]

    @property
    def transform(self) -> Matrix | None:
        """The matrix (3, 3) where it maps points of a to b; None if refused, and of F."""
        return None if self.model in TWO_VIEW_MODELS else self.matrix

    @property
    def mapping(self) -> Mapping | None:
        """What takes pixels of a to pixels of b: the warp if there is one, else the transform; None without either."""
        return self.warp or self.transform

    @property
    def rms(self) -> float | None:
        """Root mean square of the residuals in pixels of b; None if refused."""
        return float(np.sqrt(np.mean(self.residuals**2))) if self.accepted else None

    def map(self, points: ArrayLike) -> Points:
        """Pixels (N, 2) of a to those of b, by the warp if there is one, else by the transform.

        Raises InputError for a refused registration, or one by a fundamental matrix, which maps a point to a line.
        """
        if self.matrix is None:
            raise InputError("the registration was refused: nothing maps its points")
        if self.mapping is None:
            remedy = "register with a homography, an affinity or a similarity"
            raise InputError(f"a fundamental matrix maps no points: {remedy}")
        pixels = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return apply(self.mapping, pixels) if isinstance(self.mapping, np.ndarray) else self.mapping.map(pixels)

    def to_json(self) -> dict[str, Any]:
        """Plain, finite values for JSON; `agreement` is left out, which `save` keeps."""
        return {
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "confidence": round(self.confidence, 4),
            "model": self.model,
            "describer": self.describer,
            "matrix": None if self.matrix is None else self.matrix.tolist(),
            "pose": None if self.pose is None else {k: v.tolist() for k, v in self.pose._asdict().items()},
            "warp": None if self.trial is None else self.trial.to_json(),
            "keypoints_a": self.a.keypoints,
            "keypoints_b": self.b.keypoints,
            "matches": len(self.matches),
            "correspondences": len(self.points),
            "inliers": int(self.inliers.sum()),
            "rms": self.rms,
            "evidence": self.evidence.to_json(),
            "tie_points": np.round(self.tie_points, 4).tolist(),
            "residuals": np.round(self.residuals, 4).tolist(),
            "probabilities": None if self.probabilities is None else np.round(self.probabilities, 4).tolist(),
        }

    def __repr__(self) -> str:
        return f"Registration({', '.join(f'{name}={value}' for name, value in self._numbers().items())})"

    def _repr_html_(self) -> str:
        """For notebooks: the verdict, the numbers, and the overlay if both files can be read again."""
        picture = None if self.mapping is None else show.embed_overlay(self.a, self.b, self.mapping)
        return show.html_table(self._numbers(), picture or show.draw_residuals(self.b.size, *self._shown()))

    def plot(self, a: Input | None = None, b: Input | None = None, ax: Axes | None = None) -> Axes:
        """Plot image a over image b with the tie points and their residuals; without a transform b with its matches.

        Images that are not given are read from their files again. `ax` are the axes to plot into; new ones if None.
        Raises InputError for an image that is not given and cannot be read again, or one of another size.
        """
        levels = read_picture(self.a, a, MAX_SIDE_PX), read_picture(self.b, b, MAX_SIDE_PX)
        axes = show.plot_registration(levels, (self.a.size, self.b.size), self.mapping, *self._shown(), ax)
        axes.set_title(repr(self), fontsize="small", wrap=True)
        return axes

    def to_dataframe(self) -> Any:
        """The tie points as a pandas.DataFrame with the columns xa, ya, xb, yb and residual in pixels, similarity, and
        by a relater probability. Raises InputError where pandas is not installed."""
        columns = dict(zip(("xa", "ya", "xb", "yb"), self.tie_points.T, strict=True))
        columns |= {"residual": self.residuals, "similarity": self.scores[self.inliers]}
        return show.data_frame(columns if self.probabilities is None else columns | {"probability": self.probabilities})

    def warp_image(self, image: Input | None = None) -> np.ma.MaskedArray[Any, Any]:
        """All bands of image a on the pixel grid of b: (H, W), or (C, H, W) of more than one band, in the dtype of a,
        masked where a does not reach or is not valid. An image that is not given is read from its file again.

        `tiepoint.export.geotiff.write_warped` writes it as a GeoTIFF, in bounded memory. Raises InputError for a
        registration that maps no points, for no image, or one of another size.
        """
        if self.mapping is None:
            self.map([])  # says why
            raise AssertionError
        return warp_bands(self.a, image, self.mapping, self.b.size)

    def save(self, path: str | Path) -> None:
        """Write one JSON file, atomically, from which `load` makes an equal registration."""
        saved.write_fields(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises InputError for a file that is missing, damaged, or of another version."""
        found = cls(**saved.read_fields(path, {field.name for field in fields(cls)}))
        conform(found, cls, f"{path}: is a damaged registration", "save it again")
        saved.check_shapes(found, path)
        return found

    def _numbers(self) -> dict[str, str]:
        """What is said of it in short."""
        tied, total = int(self.inliers.sum()), len(self.points)
        last = {"reasons": "; ".join(self.reasons)} if self.rms is None else {"rms": f"{self.rms:.2f} px"}
        shared = {"accepted": str(self.accepted), "model": self.model, "confidence": f"{self.confidence:.2f}"}
        return shared | {"tie_points": f"{tied:,} of {total:,}"} | last

    def _shown(self) -> tuple[Points, Points | None]:
        """Tie points in b, or all correspondences if refused, and where their partners in a are mapped."""
        points = self.tie_points if self.accepted else self.points
        return points[:, 2:], None if self.mapping is None else self.map(points[:, :2])
