"""Remakes the tables of X-ray spectra and mass attenuation that `crossray.projection` ships.

    pip install spekpy xraydb
    .venv/bin/python benchmarks/xray_tables.py

Spectra: SpekPy 2.5.4 (MIT), model spekpy-v2-casim, tungsten anode at 12 degrees, PENELOPE attenuation, and its
energy absorption of air. Attenuation: XrayDB 4.5.8 (MIT), tables of Elam, Ravel and Sieber (Radiat Phys Chem 63 (2002)
121). Compositions: ICRU Report 44 for tissues, ISO 5832-1 for implant steel, gypsum for plaster. Takes two minutes.
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import spekpy
import xraydb

FOLDER = Path(__file__).resolve().parents[1] / "src" / "crossray" / "projection"
KEV = np.arange(10, 125) + 0.5
KVP = range(40, 126)
ANODE_DEGREES = 12

# Mass fractions.
MATERIALS: dict[str, dict[str, float]] = {
    "water": {"H": 0.1119, "O": 0.8881},
    "adipose": {
        "H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001,
    },
    "muscle": {
        "H": 0.102, "C": 0.143, "N": 0.034, "O": 0.710, "Na": 0.001, "P": 0.002, "S": 0.003, "Cl": 0.001, "K": 0.004,
    },
    "bone": {
        "H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225,
    },
    "plaster": {"H": 0.0234, "O": 0.5576, "S": 0.1862, "Ca": 0.2328},
    "aluminium": {"Al": 1.0},
    "copper": {"Cu": 1.0},
    "titanium": {"Ti": 1.0},
    "steel": {"Fe": 0.635, "Cr": 0.18, "Ni": 0.14, "Mo": 0.027, "Mn": 0.018},
    "csi": {"Cs": 0.5115, "I": 0.4885},
}  # fmt: skip


def attenuation(composition: dict[str, float]) -> np.ndarray:
    """Mass attenuation with coherent scattering in cm^2/g: means over bins, so that edges count by their share."""
    fine = (KEV[:, None] + (np.arange(20) - 9.5) / 20).ravel()
    total = sum(part * xraydb.mu_elam(e, 1000 * fine) for e, part in composition.items())
    return np.reshape(total, (len(KEV), 20)).mean(1)


def spectrum(kvp: int) -> np.ndarray:
    """Photons per mm^2, mAs and keV at 1 m from the focus, before any filter."""
    tube = spekpy.Spek(kvp=kvp, th=ANODE_DEGREES, dk=1.0)
    energy, fluence = tube.get_spectrum()
    return np.interp(KEV, energy, fluence, left=0.0, right=0.0) / 100


def save(name: str, columns: dict[str, np.ndarray], about: str) -> None:
    """Write a CSV whose first lines say what it holds and where it is from."""
    header = f"{about}\nMade by benchmarks/xray_tables.py.\nkev,{','.join(columns)}"
    rows = np.column_stack([KEV, *columns.values()])
    np.savetxt(FOLDER / name, rows, fmt="%.5g", delimiter=",", header=header)


def main() -> None:
    """Write both tables."""
    versions = {name: version(name) for name in ("spekpy", "xraydb")}
    columns = {name: attenuation(parts) for name, parts in MATERIALS.items()}
    air = spekpy.Spek().muen_air_data.get_muen_over_rho_air(KEV)
    save(
        "attenuation.csv",
        columns | {"air_absorption": air},
        "Mass attenuation coefficients with coherent scattering, cm^2/g, means over bins of 1 keV; the last column is\n"
        "the mass energy-absorption coefficient of air, cm^2/g (PENELOPE, from SpekPy, MIT).\n"
        f"XrayDB {versions['xraydb']} (MIT; Elam, Ravel and Sieber 2002), ICRU-44 and ISO 5832-1 compositions.",
    )
    save(
        "spectra.csv",
        {str(kvp): spectrum(kvp) for kvp in KVP},
        "Unfiltered spectra of a tungsten anode, photons per mm^2, mAs and keV at 1 m; a column a kVp.\n"
        f"SpekPy {versions['spekpy']} (MIT), spekpy-v2-casim, anode at {ANODE_DEGREES} degrees, PENELOPE data.",
    )


if __name__ == "__main__":
    main()
