"""X-ray beams by tube voltage and filter, and the attenuation of what stands in them, from tables beside this file.

The tables (`spectra.csv`, `attenuation.csv`) name their sources and are remade by `benchmarks/xray_tables.py`.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossray.errors import InputError
from crossray.volumes.attenuation import BONE_DENSITY, WATER_DENSITY

DENSITY = {
    "water": WATER_DENSITY,
    "adipose": 0.95,
    "muscle": 1.05,
    "bone": BONE_DENSITY,
    "plaster": 1.0,
    "aluminium": 2.699,
    "copper": 8.96,
    "titanium": 4.506,
    "steel": 8.0,
    "csi": 4.51,
}
"""g/cm^3: ICRU-44 for adipose tissue, skeletal muscle and cortical bone; implant steel ISO 5832-1 (316L); solid CsI;
plaster as a bandage sets, with its pores."""

_KVP, _ALUMINIUM, _COPPER = (40.0, 125.0), (1.0, 20.0), (0.0, 2.0)

Bins = Float[np.ndarray, " bin"]
"""A number a bin of 1 keV, from 10 to 125 keV."""


def energies() -> Bins:
    """Middles of the energy bins, keV."""
    return _table("attenuation")["kev"]


def attenuation(material: str) -> Bins:
    """Linear attenuation of a material of `DENSITY` with coherent scattering, 1/mm.

    Raises:
        InputError: A material that the table lacks.
    """
    if material not in DENSITY:
        raise InputError(f"No attenuation of {material!r}; choose one of {', '.join(DENSITY)}.")
    return _table("attenuation")[material] * (DENSITY[material] / 10)


def attenuation_at(material: str, kev: float) -> float:
    """Linear attenuation at one energy between 10.5 and 124.5 keV, 1/mm, by interpolation in log E and log mu."""
    return float(np.exp(np.interp(np.log(kev), np.log(energies()), np.log(attenuation(material)))))


@dataclass(frozen=True)
class Beam:
    """The beam of a tungsten anode at 12 degrees behind its filters.

    Args:
        kvp: Tube voltage, 40 to 125 kV.
        aluminium_mm: Total filtration, the tube's own included, 1 to 20 mm; IEC 60601-1-3 asks for 2.5 mm.
        copper_mm: Added filter, 0 to 2 mm.

    Raises:
        InputError: A value out of range.

    Source: SpekPy (Poludniowski et al., Med Phys 48 (2021) 3630) for the unfiltered tube; filters by Beer-Lambert.
    """

    kvp: float = 55.0
    aluminium_mm: float = 2.5
    copper_mm: float = 0.0

    def __post_init__(self) -> None:
        limits = {"kvp": _KVP, "aluminium_mm": _ALUMINIUM, "copper_mm": _COPPER}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(
                    f"A beam's {name} is {getattr(self, name)}; give {low:g} to {high:g}."
                )

    def fluence(self) -> Bins:
        """Photons per mm^2, mAs and bin at 1 m from the focus."""
        below = min(int(self.kvp), int(_KVP[1]) - 1)
        spectra, share = _table("spectra"), self.kvp - below
        bare = (1 - share) * spectra[str(below)] + share * spectra[str(below + 1)]
        depth = self.aluminium_mm * attenuation("aluminium")
        return bare * np.exp(-depth - self.copper_mm * attenuation("copper"))

    def mean_kev(self) -> float:
        """Mean energy of a photon."""
        return float(np.average(energies(), weights=self.fluence()))

    def half_value_layer_mm(self) -> float:
        """Aluminium that halves the air kerma, mm: the usual measure of a beam's hardness."""
        kerma = self.fluence() * energies() * _table("attenuation")["air_absorption"]
        low, high = 0.0, 50.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            left = kerma @ np.exp(-middle * attenuation("aluminium"))
            low, high = (middle, high) if left > kerma.sum() / 2 else (low, middle)
        return low


@lru_cache
def _table(name: str) -> dict[str, Bins]:
    """Columns of a table; the last line of its heading names them."""
    path = Path(__file__).with_name(f"{name}.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    heading = [line for line in lines if line.startswith("#")]
    columns = np.loadtxt(lines, delimiter=",", dtype=np.float64).T
    return dict(zip(heading[-1][2:].split(","), columns, strict=True))
