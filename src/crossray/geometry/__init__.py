"""Cameras and poses. The conventions of the whole project stand here, once.

World
    The DICOM patient frame LPS: x to the patient's Left, y to Posterior, z to Superior; millimetres.
Volume
    An array [z, y, x]; `world_from_voxel` maps voxel indices (x, y, z) to the world. Voxel centres lie at
    whole-number indices.
Detector
    Pixel centres lie at whole numbers; a pixel is (row, column), rows downwards, columns to the right. A
    camera is four world vectors in mm: `source`, `first_pixel` (centre of pixel (0, 0)), `column_step` (from a
    pixel to its right neighbour) and `row_step` (to its lower neighbour).
Angles
    Degrees, with DICOM's signs: `primary` positive towards LAO, `secondary` positive towards cranial. At
    (0, 0) the detector is anterior of the patient and the source posterior; the image is seen from the
    detector, so the patient's left is on the right and the head up. `roll` turns the detector about the beam,
    right-handed about the direction from source to detector.
Distances
    `sod_mm`: source to isocentre. `sdd_mm`: source to detector (DICOM 0018,1110).
Patches
    A grid of image rows / patch by image columns / patch, numbered row by row. `Cameras.regrid` gives the
    camera whose pixels are the patches.
"""

from crossray.geometry.camera import Cameras
from crossray.geometry.epipolar import epipolar_line, fundamental_matrix
from crossray.geometry.pose import rigid_motion
from crossray.geometry.views import sample_cameras

__all__ = ["Cameras", "epipolar_line", "fundamental_matrix", "rigid_motion", "sample_cameras"]
