"""Follows photons through slabs of water, to say how much scatter a radiograph holds and how far it spreads.

    pip install xraydb
    .venv/bin/python benchmarks/scatter.py [--photons N] [--gap MM]

By reciprocity, what a thin beam scatters to within a radius R of its axis, over what it transmits, is the ratio of
scatter to primary in the middle of a wide beam of radius R. Beside the ratios stand those of `Scatter`, which is
ratio * thickness / 100 mm * (1 - exp(-R^2 / (2 spread^2))) there. Compton scattering by Klein and Nishina (free
electrons), coherent scattering with the form factors of oxygen and hydrogen, energies weighted as the detector does.
"""

import argparse

import numpy as np
import xraydb
from numba import njit

from crossray.projection.effects import Detector, Scatter
from crossray.projection.spectrum import Beam, attenuation, energies

RADII = np.array([10.0, 20.0, 30.0, 40.0, 60.0, 100.0, 1000.0])
PARTS = {"H": 0.1119, "O": 0.8881}


@njit
def compton(rng, kev):
    """Cosine and energy after Compton scattering, by rejection."""
    a = kev / 510.999
    while True:
        cosine = 2 * rng.random() - 1
        left = 1 / (1 + a * (1 - cosine))
        if 2 * rng.random() < left * left * (left + 1 / left - 1 + cosine * cosine):
            return cosine, kev * left


@njit
def coherent(rng, kev, form):
    """Cosine after coherent scattering, by rejection; `form` is squared and relative, a number a 0.01 per angstrom."""
    while True:
        half = rng.random()  # sin^2(theta / 2)
        cosine = 1 - 2 * half
        at = min(int(np.sqrt(half) * kev / 12.3984 * 100), len(form) - 1)
        if 2 * rng.random() < form[at] * (1 + cosine**2):
            return cosine


@njit
def turned(rng, u, v, w, cosine):
    """A direction turned by an angle, anywhere about itself."""
    sine, phi = np.sqrt(max(0.0, 1 - cosine * cosine)), 2 * np.pi * rng.random()
    c, s = np.cos(phi) * sine, np.sin(phi) * sine
    if abs(w) > 0.99999:
        return c, s, cosine * np.sign(w)
    across = np.sqrt(1 - w * w)
    return (
        cosine * u + (c * u * w - s * v) / across,
        cosine * v + (c * v * w + s * u) / across,
        cosine * w - c * across,
    )


@njit
def follow(rng, slab, photons_kev, water, radii):
    """Signal of the primary, and of scatter within each radius."""
    (thickness, gap), (mu, share, form, absorbed) = slab, water
    primary, scatter = 0.0, np.zeros(len(radii))
    for kev in photons_kev:
        x = y = z = u = v = 0.0
        w, collided = 1.0, False
        while kev > 10.5:
            at = min(int(kev - 10), len(mu) - 1)
            step = -np.log(1 - rng.random()) / mu[at]
            x, y, z = x + step * u, y + step * v, z + step * w
            if z > thickness and w > 0:
                back = (thickness + gap - z) / w
                radius = np.hypot(x + back * u, y + back * v)
                if collided:
                    scatter += (radius < radii) * kev * absorbed[at]
                else:
                    primary += kev * absorbed[at]
            if z < 0 or z > thickness:
                break
            dice, collided = rng.random(), True
            if dice < share[0, at]:
                cosine, kev = compton(rng, kev)
            elif dice < share[0, at] + share[1, at]:
                cosine = coherent(rng, kev, form)
            else:
                break
            u, v, w = turned(rng, u, v, w, cosine)
    return primary, scatter


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--photons", type=int, default=1_000_000)
    parser.add_argument("--gap", type=float, default=20.0)
    options = parser.parse_args()
    kev = energies()
    mu, rng = attenuation("water"), np.random.default_rng(0)
    kinds = [
        sum(p * xraydb.mu_elam(e, 1000 * kev, kind=kind) for e, p in PARTS.items()) / 10
        for kind in ("incoh", "coh")
    ]
    shares = np.stack(kinds) / mu
    x = np.arange(400) / 100
    form = xraydb.f0("O", x) ** 2 + 2 * xraydb.f0("H", x) ** 2
    model = Scatter()
    print("mm  kVp  ratio within R =", *RADII)
    for kvp in (55.0, 75.0):
        beam = Beam(kvp)
        fluence = beam.fluence() / beam.fluence().sum()
        photons_kev = rng.choice(kev, options.photons, p=fluence)
        absorbed = -np.expm1(-Detector().csi_mm * attenuation("csi"))
        for thickness in (20.0, 50.0, 100.0):
            slab, water = (thickness, options.gap), (mu, shares, form / form[0], absorbed)
            primary, scatter = follow(rng, slab, photons_kev, water, RADII)
            print(f"{thickness:.0f} {kvp:.0f} followed", *np.round(scatter / primary, 3))
            reach = 1 - np.exp(-(RADII**2) / (2 * model.spread_mm**2))
            print(
                f"{thickness:.0f} {kvp:.0f} model   ",
                *np.round(model.ratio * thickness / 100 * reach, 3),
            )


if __name__ == "__main__":
    main()
