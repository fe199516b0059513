"""Class maps as a DICOM segmentation object, through highdicom: a binary segment for each class but the background."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import hwseg
from hwseg.pictures.formats import needed
from hwseg.pictures.labels import Labels
from hwseg.pictures.raster import Geometry
from hwseg.segment.plan import Item

SCHEME = "99HWSEG"
"""Of codes: no standard one says what a network's class is."""

SERIES = 900
"""Number of the series that masks are."""


def segmentation(item: Item, maps: np.ndarray, geometry: Geometry, labels: Labels, model: str) -> Any:
    """The data set; its identifiers follow from the pictures' and from the classes, so that they can be made again."""
    highdicom = needed("highdicom", str(item.out), "a DICOM segmentation")
    pydicom = needed("pydicom", str(item.out), "a DICOM segmentation")
    files = geometry.files if item.page is None or len(geometry.files) == 1 else (geometry.files[item.page],)
    sources = [pydicom.dcmread(Path(name)) for name in files]
    frames = int(sources[0].get("NumberOfFrames", 1) or 1)
    planes = np.ascontiguousarray(maps)
    if len(sources) == 1 and frames > 1 and item.page is not None:
        planes = np.zeros((frames, *maps.shape[1:]), np.uint8)
        planes[item.page] = maps[0]
    digest = hashlib.sha256(planes.tobytes()).hexdigest()
    entropy = [str(sources[0].SOPInstanceUID), model, labels.text(), digest]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on how a patient's name should be written, for example
        return _object(highdicom, sources, planes, labels, model, entropy)


def _object(
    highdicom: Any, sources: list[Any], planes: np.ndarray, labels: Labels, model: str, entropy: list[str]
) -> Any:
    from pydicom.uid import generate_uid

    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=planes,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(highdicom, number, labels, model) for number in range(1, labels.classes)],
        series_instance_uid=generate_uid(entropy_srcs=[*entropy, "series"]),
        series_number=SERIES,
        sop_instance_uid=generate_uid(entropy_srcs=[*entropy, "instance"]),
        instance_number=1,
        manufacturer="hwseg",
        manufacturer_model_name=model[:64],
        software_versions=hwseg.__version__,
        device_serial_number=hwseg.__version__,
        series_description=f"Segmentation by {model}"[:64],
    )


def _segment(highdicom: Any, number: int, labels: Labels, model: str) -> Any:
    name = labels.name(number)
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=highdicom.sr.CodedConcept("class", SCHEME, "Class of a network"),
        segmented_property_type=highdicom.sr.CodedConcept(f"class-{number}", SCHEME, name[:64]),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=model[:64],
            version=hwseg.__version__,
            family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
        ),
        display_color=highdicom.color.CIELabColor.from_rgb(*map(int, labels.palette()[number])),
    )
