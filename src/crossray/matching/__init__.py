"""Matching real films: reading, fitting to the network, and bands one can point at."""

from crossray.matching.matcher import Matcher
from crossray.matching.matches import Matches

__all__ = ["Matcher", "Matches"]
