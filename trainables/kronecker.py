"""Sums of Kronecker products that come nearest to a linear map, found from examples of it.

Van Loan and Pitsianis 1993, "Approximation with Kronecker products", find them from the matrix, as
`largest_terms` does. Elsewhere alternating least squares finds them from noise and what becomes of
it, so that no matrix of inputs × outputs has to exist.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from trainables.tasks import Shape

FEWEST_SWEEPS, SWEEPS = 6, 100  # at most
BEGIN_WORK, WORK = 4e11, 6e10  # operations in float32 and float64: some 15 s of a core each
STALLED = 0.999  # of the error before: it falls no more
MOST_LINES = 32  # of an output, from which it begins
MOST_STALLS = 3  # sweeps in a row
TRIES = 5  # the best of which is gone on with: it costs next to nothing
BEGUN_WITHIN = 1e-6  # of the outputs' mean square: enough to go on from
HOPELESS = 0.1  # likewise: it is a sum of many more
FOUND_WITHIN = 1e-15  # what float32 leaves
FEW_SWEEPS, PAIR_SWEEPS = 8, 40  # of one channel alone: after the first it is seen to be hopeless
ALIKE = 1e-8  # or less: the squared difference of two terms that are one, as a share of them
BROAD = 8  # times the distance of pixels
OVERSAMPLED, POWER_ITERATIONS = 16, 4  # of a randomised SVD
LEAST_VARIED = 1e-6  # of the largest variance: others would divide by nearly zero


class Factors(NamedTuple):
    """One term of a linear map: `output = rows @ (channels · image) @ columns`."""

    channels: Tensor  # (channels of an output, channels of an image)
    rows: Tensor  # (height of an output, height of an image)
    columns: Tensor  # (width of an image, width of an output)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the term's part of the outputs, (N, c, h, w), for images (N, C, H, W)."""
        mixed = torch.einsum("ck,nkhw->nchw", self.channels, images)
        return self.rows @ mixed @ self.columns

    def matrix(self) -> Tensor:
        """Return it as one matrix, outputs × inputs, both flattened."""
        product = torch.einsum("ck,ih,wj->cijkhw", *self)
        return product.flatten(3).flatten(0, 2)


def apply(terms: Sequence[Factors], images: Tensor) -> Tensor:
    """Return the sum of at least one term, (N, c, h, w), for images (N, C, H, W)."""
    first, *others = terms
    outputs = first(images)
    for term in others:
        outputs = outputs + term(images)
    return outputs


def sums(
    images: Tensor, outputs: Tensor, ranks: range, plain: int
) -> Iterator[tuple[Factors, ...]]:
    """Yield for each rank the sum of so many terms that makes nearly the outputs of the images.

    Nothing is yielded where that would take longer than some 15 s of a core.

    With channels, rows and columns all unknown the search would end in local optima. It begins
    with channels and rows as one factor, which has none, given images enough; then takes these
    factors apart, and goes on from there. For the beginning some lines of the outputs are enough.

    Args:
        images: (N, C, H, W) float64 around zero.
        outputs: (N, c, h, w) float64, what a linear map makes of them.
        ranks: Numbers of terms. The first is that of different columns; where images are so large
            that it takes long, it is the only one.
        plain: So many of the first images are noise without any grain: it begins with them.
    """
    (taken, height), made = images.shape[1:3], outputs.shape[1]
    some = outputs[:plain, :, :: math.ceil(outputs.shape[2] / MOST_LINES)]
    lines = images[:plain].flatten(1, 2)[:, None].float()
    made_lines = some.flatten(1, 2)[:, None].float()
    a_sweep = 2 * (ranks.start * lines.shape[2]) ** 2 * plain * outputs.shape[3]
    sweeps = min(SWEEPS, int(BEGIN_WORK / a_sweep))
    if sweeps < FEWEST_SWEEPS:
        return
    pairs = fit(lines, made_lines, ranks.start, enough=BEGUN_WITHIN, sweeps=sweeps)
    left = (apply(pairs, lines) - made_lines).square().mean()
    if left > HOPELESS * made_lines.square().mean():
        return
    rows = torch.stack([pair.rows * pair.channels for pair in pairs]).double()
    apart = rows.view(len(pairs), made, -1, taken, height).permute(1, 3, 2, 4, 0)
    columns = torch.stack([pair.columns for pair in pairs]).double()
    # Rows alone, without the channels, have so many times fewer unknowns
    spared = plain - math.ceil(plain / taken)
    images, outputs = images[spared:], outputs[spared:]
    # As a map of one number to an image of many channels it is the same problem
    one, tensor = apart.new_ones(1, 1, 1, 1), apart.flatten(0, 1).flatten(1, 2)[None]
    for rank in ranks:
        tries = [fit(one, tensor, rank, seed=seed) for seed in range(TRIES)]
        parts = min(tries, key=lambda terms: _badness(terms, one, tensor))
        begun = [
            (part.channels.view(made, taken), torch.tensordot(part.columns[0], columns, dims=1))
            for part in parts
        ]
        a_sweep = 2 * images.numel() * sum(outputs.shape[2:]) * rank
        sweeps = max(FEWEST_SWEEPS, min(SWEEPS, int(WORK / a_sweep)))
        yield fit(images, outputs, rank, begun=begun, enough=FOUND_WITHIN, sweeps=sweeps)
        if sweeps < SWEEPS:
            return


def by_channels(parts: Sequence[tuple[Tensor, Tensor]], noise: float) -> tuple[Factors, ...]:
    """Return the sum of products that a map is if each channel gives each channel by one product.

    Without channels each product is found at once, in any size. Products that are alike become one
    term. Nothing is returned where some channel gives another by a sum of several.

    Args:
        parts: For each channel of an image: noise in it alone, (N, 1, H, W) float64 around zero,
            and what the map makes of that, (N, c, h, w).
        noise: So far outputs may be from those of a linear map.
    """
    found: list[Factors] = []
    largest = max(float(outputs.abs().max()) for _, outputs in parts)
    alike = max(ALIKE, (noise / max(largest, noise)) ** 2)
    for taken, (images, outputs) in enumerate(parts):
        for made, wanted in enumerate(outputs.split(1, dim=1)):
            if float(wanted.abs().max()) <= noise:
                continue
            pair = _product(images, wanted)
            if pair is None or float((pair(images) - wanted).abs().max()) > noise:
                return ()
            sizes = pair.rows.norm(), pair.columns.norm()
            rows, columns = pair.rows / sizes[0], pair.columns / sizes[1]
            weight = pair.channels[0, 0] * sizes[0] * sizes[1]
            for term in found:
                likeness = (rows * term.rows).sum() * (columns * term.columns).sum()
                if 1 - abs(float(likeness)) <= alike:
                    term.channels[made, taken] = weight * likeness.sign()
                    break
            else:
                channels = weight.new_zeros(outputs.shape[1], len(parts))
                channels[made, taken] = weight
                found.append(Factors(channels, rows, columns))
    return tuple(_normalised(term) for term in found)


def _product(images: Tensor, outputs: Tensor) -> Factors | None:
    """Return the product that makes the outputs of one channel; None where it is far from any.

    Args:
        images: (N, 1, H, W) float64 around zero.
        outputs: (N, 1, h, w), what a linear map makes of them.
    """
    channels = images.new_ones(1, 1)
    columns = _likely_columns(images.shape[3], outputs.shape[3])
    for sweeps in (FEW_SWEEPS, PAIR_SWEEPS):
        (found,) = fit(
            images, outputs, 1, begun=[(channels, columns)], enough=FOUND_WITHIN, sweeps=sweeps
        )
        if (found(images) - outputs).square().mean() > HOPELESS**2 * outputs.square().mean():
            return None
        columns = found.columns
    return found


def _likely_columns(width: int, wide: int) -> Tensor:
    """Return columns that have something of a resize, a blur, a shift and their mirror images.

    From noise alone the search takes long where images are large.
    """
    resize = resize_columns(width, wide)
    coarse = max(1, min(width, wide) // BROAD)
    broad = resize_columns(width, coarse) @ resize_columns(coarse, wide)
    likely = resize / resize.norm() + broad / broad.norm()
    noise = torch.randn(width, wide, generator=torch.Generator().manual_seed(0)).double()
    columns: Tensor = likely + likely.flip(0) + 0.3 * noise / noise.norm()
    return columns


def resize_columns(width: int, wide: int) -> Tensor:
    """Return the columns (width, wide) float64 of a smooth resize."""
    lines = torch.eye(width, dtype=torch.float64)[:, None, None]  # each is an image
    columns: Tensor = interpolate(
        lines, (1, wide), mode="bilinear", align_corners=False, antialias=True
    )
    return columns[:, 0, 0]


def _badness(terms: Sequence[Factors], images: Tensor, outputs: Tensor) -> float:
    """Return the mean squared error of a sum; of equal ones, more where terms nearly cancel."""
    error = (apply(terms, images) - outputs).square().mean()
    sizes = torch.stack([term(images).square().mean() for term in terms])
    return float(error + BEGUN_WITHIN * sizes.sum())


def fit(
    images: Tensor,
    outputs: Tensor,
    rank: int,
    *,
    ridge: float = 1e-14,
    seed: int = 0,
    begun: Sequence[tuple[Tensor, Tensor]] | None = None,
    enough: float = 0.0,
    sweeps: int = SWEEPS,
) -> tuple[Factors, ...]:
    """Return so many terms whose sum makes nearly the outputs of the images.

    Rows, columns and channels are found in turn, each by least squares while the others stand.

    Args:
        images: (N, C, H, W) floats around zero; their type is that of the terms.
        outputs: (N, c, h, w), what a linear map makes of them.
        rank: Terms, at least one.
        ridge: Of least squares, as a share of the mean square: more where images are alike.
        seed: Of the terms that it begins with.
        begun: Channels and columns to begin with instead, of each term.
        enough: Mean squared error, as a share of the outputs' mean square, at which to stop.
        sweeps: After so many it stops in any case.
    """
    turned = images.mT.contiguous()
    taken, width = images.shape[1], images.shape[3]
    made, wide = outputs.shape[1], outputs.shape[3]
    if begun is None:
        generator = torch.Generator().manual_seed(seed)
        channels = torch.randn(rank, made, taken, generator=generator).to(images)
        columns = torch.randn(rank, width, wide, generator=generator).to(images)
    else:
        channels, columns = (torch.stack(parts) for parts in zip(*begun, strict=True))
    rows = columns  # the first step finds them
    # One line for each number of an output's row, column and channel, as each step wants them
    of_rows = outputs.permute(2, 0, 1, 3).flatten(1)
    of_columns = outputs.permute(3, 0, 1, 2).flatten(1)
    of_channels = outputs.permute(1, 0, 2, 3).flatten(1)
    enough *= float(outputs.square().mean())
    least, stalls = float("inf"), 0
    for _ in range(sweeps):
        right = (images @ _beside(columns)).unflatten(-1, (rank, wide))
        mixed = torch.einsum("rck,nkhrj->rhncj", channels, right)
        rows = _solve(mixed, of_rows, ridge)
        left = (turned @ _beside(rows)).unflatten(-1, (rank, -1))
        mixed = torch.einsum("rck,nkwri->rwnci", channels, left)
        columns = _solve(mixed, of_columns, ridge)
        parts = torch.einsum("nkwri,rwj->rknij", left, columns)
        channels = _solve(parts, of_channels, ridge).mT
        made_now = channels.transpose(0, 1).flatten(1) @ parts.flatten(2).flatten(0, 1)
        error = float((made_now - of_channels).square().mean())
        stalls = stalls + 1 if error >= STALLED * least else 0
        least = min(least, error)
        if stalls == MOST_STALLS or error <= enough:
            break
    terms = zip(channels, rows.mT, columns, strict=True)
    return tuple(_normalised(Factors(*term)) for term in terms)


def _beside(factors: Tensor) -> Tensor:
    """(rank, side, made) → (side, rank · made): one product makes those of all terms."""
    return factors.transpose(0, 1).flatten(1)


def _solve(given: Tensor, wanted: Tensor, ridge: float) -> Tensor:
    """Return x (rank, side, made) with the least |xᵀ · given − wanted|².

    Args:
        given: (rank, side, …), flattened behind.
        wanted: (made, …), as long.
        ridge: As for `fit`.
    """
    sides = given.shape[:2]
    design = given.flatten(2).flatten(0, 1)
    gram = design @ design.T
    # What is zero altogether gets zero, instead of no solution
    gram.diagonal().add_(ridge * gram.diagonal().mean() + torch.finfo(gram.dtype).tiny)
    solution: Tensor = torch.linalg.solve(gram, design @ wanted.T)
    return solution.view(*sides, -1)


def _normalised(term: Factors) -> Factors:
    """Scale rows and columns to sums of at most 1, as a resize has; channels take the rest."""
    scale_rows, scale_columns = _scale(term.rows), _scale(term.columns.mT)
    return Factors(
        term.channels * scale_rows * scale_columns,
        term.rows / scale_rows,
        term.columns / scale_columns,
    )


def _scale(lines: Tensor) -> Tensor:
    """Return the largest sum of a line's absolute weights, negative where most weights are."""
    largest = lines.abs().sum(dim=1).max().clamp_min(torch.finfo(lines.dtype).tiny)
    return -largest if lines.sum() < 0 else largest


def largest_terms(
    matrix: Tensor, images: Tensor, output_shape: Shape, most: int
) -> tuple[Factors, ...]:
    """Return a sum of few terms that does nearly what a matrix does to images; the largest first.

    What an error costs depends on how images vary: the matrix is weighted with the square roots of
    their covariances between channels, rows and columns. Pairs of channels are taken apart into
    orthogonal mixtures, as the first step of a higher-order SVD does (De Lathauwer et al. 2000, "A
    multilinear singular value decomposition"). Each mixture is a matrix of pairs of rows × pairs of
    columns, whose SVD gives its terms (Van Loan and Pitsianis 1993). Where all channels are moved
    alike, hardly any other sum of so many terms is nearer to the weighted matrix: its SVD is the
    randomised one of Halko et al. 2011, "Finding structure with randomness". So time grows with
    the size of the matrix, and memory is some twice that of it: 5 s of a core and 1.4 GiB from
    3 × 36 × 36 to 3 × 128 × 128.

    Args:
        matrix: (outputs, inputs) float32, both flattened.
        images: (N, C, H, W) float32, such as it is used on.
        output_shape: (c, h, w).
        most: Terms at most, at least one.
    """
    (taken, height, width), (made, high, wide) = images.shape[1:], output_shape
    varied = (images - images.mean()).double()
    sides = [varied.transpose(0, side).flatten(1) for side in (1, 2, 3)]
    (channels, plain_channels), (rows, plain_rows), (columns, plain_columns) = map(_roots, sides)
    roots = channels.float(), rows.float(), columns.float()
    weighted = matrix.new_empty(made, taken, high, height, width, wide)
    for part, target in zip(matrix.view(*output_shape, *images.shape[1:]), weighted, strict=True):
        target.copy_(torch.einsum("ijkhw,kl,hg,wv->ligvj", part, *roots))
    parts = weighted.view(made * taken, high * height, width * wide)
    flat = parts.flatten(1)
    energies, mixtures = torch.linalg.eigh((flat @ flat.T).double())
    found: list[tuple[float, Factors]] = []
    for energy, mixture in zip(energies.flip(0), mixtures.T.flip(0), strict=True):
        # The largest term of a mixture has at most all its energy
        if len(found) >= most and energy <= found[most - 1][0] ** 2:
            break
        left, sizes, right = _largest_of_svd(torch.tensordot(mixture.float(), parts, dims=1), most)
        for number in range(len(sizes)):
            term = Factors(
                sizes[number] * mixture.view(made, taken) @ plain_channels,
                left[:, number].view(high, height).double() @ plain_rows,
                plain_columns @ right[:, number].view(width, wide).double(),
            )
            scaled = Factors(*(part.float() for part in _normalised(term)))
            found.append((float(sizes[number]), scaled))
        found.sort(key=lambda one: one[0], reverse=True)
    return tuple(term for _, term in found[:most])


def _largest_of_svd(matrix: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the left vectors, the singular values and the right vectors of a matrix's largest.

    The same matrix gives the same.

    Args:
        matrix: (m, n) float32.
        most: How many at most.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sketched = min(most + OVERSAMPLED, *matrix.shape)
        left, sizes, right = torch.svd_lowrank(matrix, sketched, niter=POWER_ITERATIONS)
    return left[:, :most], sizes[:most], right[:, :most]


def _roots(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square root of lines' covariance matrix, and its inverse.

    Args:
        lines: (n, …) float64 around zero.
    """
    sizes, directions = torch.linalg.eigh(lines @ lines.T)
    roots = sizes.clamp_min(LEAST_VARIED * sizes[-1]).sqrt()
    return (directions * roots) @ directions.T, (directions / roots) @ directions.T


def pruned(term: Factors, within: float) -> Factors:
    """Return a term in float32 without the noise that stands for zeros.

    Args:
        term: In float64.
        within: Weights up to so much of the largest beside them become zero.
    """
    parts = (part.where(part.abs() > within * part.abs().max(), 0.0).float() for part in term)
    return Factors(*parts)
