"""The affine map that a network may start at, where its space has `start` with the choice `map`."""

from typing import NamedTuple

from trainables.best_affine import best_affine
from trainables.data.examples import Splits
from trainables.linear import AffineMap
from trainables.pipelines.own import own_map

MOST_TERMS = 32  # which makes it small enough to go wherever a trial goes
MOST_IMAGES = 2048  # that say what its errors cost


class StartMap(NamedTuple):
    """What a network may start at."""

    products: AffineMap  # a sum of at most 32 Kronecker products, the largest first
    full: AffineMap  # what that is, or is near to
    is_own: bool  # whether that is the pipeline itself, else the best affine map


def start_map(data: Splits) -> StartMap:
    """Find a sum of a few Kronecker products that is near to what a pipeline does.

    That is the pipeline itself where it is affine and its map is known; else the best affine map
    of its training targets.
    """
    own = own_map(data.task, data.affine)
    full = own or best_affine(data.train.images, data.train.targets, data.task)
    products = full.as_terms(data.train.images[:MOST_IMAGES], MOST_TERMS)
    return StartMap(products, full, own is not None)
