"""AdamW for the rows of an embedding, of which a batch reads few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.compiled import kernels_for
from models.examples import unique_words
from models.weights import BETA1, BETA2, EPSILON

#: After so many steps without a gradient a row's momentum has no effect: (b1 / sqrt(b2)) ** 160
#: is 5e-8, below float32's resolution of the first of those steps.
MOMENTUM_STEPS = 160

# D falls below what a float64 holds in a long run with much decay. It is held times 2^512 as often
# as it fell by that much: a power of two, so that no other bit of it is touched.
_SEGMENT = 2.0**-512


class WordNumbers:
    """The different words of a batch, each with a number; words are below ``num_words``."""

    def __init__(self, num_words: int) -> None:
        self._places = np.full(num_words, -1, np.int32)

    def number(self, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """As ``unique_words``; on a CPU the words come as the batch has them, not sorted."""
        if kernels := kernels_for(token_ids):
            words, numbers = kernels.number_words(token_ids.numpy(), self._places)
            return torch.from_numpy(words), torch.from_numpy(numbers)
        return unique_words(token_ids)


@dataclass(frozen=True)
class Rows:
    """The rows of the embedding that one batch reads.

    ``row_ids`` (U,) are the words, each once and the padding first; ``token_ids`` (T,) the
    batch's tokens as positions in ``row_ids``; ``values`` (U, E) what they stand at.
    """

    row_ids: Tensor
    token_ids: Tensor
    values: Tensor


class LazyRows:
    """AdamW (Loshchilov & Hutter, 2019) over a table (V, E) of which a batch reads few rows.

    Dense AdamW reads and writes every row, its gradient and its two moments at every step.
    Here a step touches only the rows of its batch, and a row is brought up to date when it is
    next read. Between two gradients of a row, dense AdamW goes on moving it by its decaying
    momentum, and shrinks it by the weight decay; both have closed forms over any number of
    steps, as the learning rates of the whole run are known beforehand, so they are applied in
    one go. The difference to dense AdamW: in those steps without a gradient, epsilon is held
    in the proportion it has to the second moment at the first of them, where dense AdamW lets
    it gain weight as the moment decays; it matters only for gradients near epsilon (1e-8), and
    there dense AdamW moves the row less. Momentum older than 160 steps counts as none.

    With decay d_t = 1 - lr_t * wd, D_t = d_1 ... d_t, r = b1 / sqrt(b2) and the corrections of
    bias c_t = sqrt(1 - b2^t) / (1 - b1^t), a row last moved at step s with momentum ratio
    q = m / sqrt(v) at that step stands, after step t without gradients in between, at::

        p_t = D_t / D_s * p_s - q * D_t * (H_s - r^(t-s) * H_t),   H_s = sum_{j>0} r^j lr c / D

    Both D and 1 / H can fall by any factor over a run. They are held relative to the segment
    of the run they stand in, and between two steps only the segments between them count.

    Row 0, the padding, is zero and stays so: its gradient and moments are zero.
    """

    def __init__(self, table: Tensor, learning_rates: Tensor, *, weight_decay: float) -> None:
        """``table`` (V, E) is updated in place; ``learning_rates`` (S,) float64 of every step."""
        self.table = table
        # Both moments of a row side by side: one random access to memory instead of two. The
        # second is kept as its root, which is what is read of it.
        # From NumPy, whose large arrays lie in huge pages: fewer of them to look up.
        moments = np.zeros((len(table), 2, table.shape[1]), np.float32)
        self.moments = torch.from_numpy(moments).to(table.device)
        # The step up to which a row stands in the table, and up to which its moments do.
        self.row_steps = torch.zeros(len(table), dtype=torch.int64, device=table.device)
        self.moment_steps = torch.zeros_like(self.row_steps)
        self.step_count = 0
        self.words = WordNumbers(len(table))
        plan = self._tabulate(learning_rates.double().cpu(), weight_decay)
        self._plan = tuple(part.to(table.device) for part in plan)
        if kernels_for(table):
            state = self.table, self.moments, self.row_steps, self.moment_steps
            self._arrays = tuple(tensor.numpy() for tensor in state)
            self._plan_arrays = tuple(tensor.numpy() for tensor in plan)

    def _tabulate(self, learning_rates: Tensor, weight_decay: float) -> tuple[Tensor, ...]:
        """What the closed forms need for every step of the run: (S + 1,) each.

        D and H, and what a number of steps leaves of a momentum ratio, in float64; in float32
        what it leaves of the first and of the second moment, and epsilon without bias; the
        segment; and, for every number of segments (segments,), the factor D falls by over it.
        """
        steps = torch.arange(len(learning_rates) + 1, dtype=torch.float64)
        rates = torch.cat([torch.zeros(1, dtype=torch.float64), learning_rates])
        decays = 1 - rates * weight_decay
        corrections = torch.ones_like(steps)
        corrections[1:] = torch.sqrt(1 - BETA2 ** steps[1:]) / (1 - BETA1 ** steps[1:])
        kept, segments = _products(decays)
        ratio = BETA1 / BETA2**0.5
        to_come = _sums_to_come(rates * corrections / kept, segments, ratio)
        self._decays, self._rates = decays.tolist(), rates.tolist()
        self._corrections = corrections.tolist()
        first_kept = torch.where(steps > MOMENTUM_STEPS, 0, BETA1**steps).float()
        second_kept = (BETA2**steps).float()
        ratios = torch.where(steps > MOMENTUM_STEPS, 0, ratio**steps)
        epsilons = (EPSILON * torch.sqrt(1 - BETA2**steps)).clamp(min=1e-30).float()
        powers = [_SEGMENT**number for number in range(int(segments[-1]) + 1)]
        falls = torch.tensor(powers, dtype=torch.float64)
        return kept, to_come, ratios, first_kept, second_kept, epsilons, segments, falls

    def read(self, token_ids: Tensor) -> Rows:
        """The rows of ``token_ids`` (T,), brought up to date."""
        row_ids, positions = self.words.number(token_ids)
        return Rows(row_ids, positions, self._up_to_date(row_ids))

    def _up_to_date(self, row_ids: Tensor) -> Tensor:
        """The values (U, E) at which rows stand now, without gradients since they were read."""
        if kernels := kernels_for(self.table):
            found = kernels.read_rows(
                self._arrays, row_ids.numpy(), self.step_count, self._plan_arrays
            )
            return torch.from_numpy(found)
        factors = self._factors(
            self.row_steps.index_select(0, row_ids), self.moment_steps.index_select(0, row_ids)
        )
        scales, moves, epsilons = (factor[:, None] for factor in factors)
        first, root = self.moments.index_select(0, row_ids).unbind(1)
        values = self.table.index_select(0, row_ids).mul_(scales)
        return values.addcmul_(first / (root + epsilons), moves, value=-1)

    def _factors(self, steps: Tensor, moment_steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What brings rows from their ``steps`` (U,) to now: ``scale * p - move * m / (root +
        epsilon)``, each (U,) float32."""
        now, ages = self.step_count, steps - moment_steps
        kept, to_come, ratios, _, _, epsilons, segments, falls = self._plan
        fall = falls[segments[now] - segments[steps]]
        coming = to_come[steps] * fall - ratios[now - steps] * to_come[now]
        scales, moves = kept[now] / kept[steps] * fall, coming * kept[now] * ratios[ages]
        return scales.float(), moves.float(), epsilons[moment_steps]

    def write(self, rows: Rows, gradient: Tensor) -> None:
        """Take one step with the ``gradient`` (U, E) float32 of the rows and write them back."""
        self.step_count += 1
        now, row_ids = self.step_count, rows.row_ids
        kept = self._decays[now]
        move = self._rates[now] * self._corrections[now]
        epsilon = EPSILON * (1 - BETA2**now) ** 0.5
        if kernels := kernels_for(self.table):
            kernels.write_rows(
                self._arrays,
                row_ids.numpy(),
                now,
                self._plan_arrays,
                rows.values.numpy(),
                gradient.numpy(),
                (1 - BETA1, 1 - BETA2, kept, move, epsilon),
            )
            return
        _, _, _, first_kept, second_kept, *_ = self._plan
        gaps = now - self.moment_steps.index_select(0, row_ids)
        moments = self.moments.index_select(0, row_ids)
        first, root = moments.unbind(1)
        first.mul_(first_kept[gaps][:, None]).add_(gradient, alpha=1 - BETA1)
        root.square_().mul_(second_kept[gaps][:, None])
        root.addcmul_(gradient, gradient, value=1 - BETA2).sqrt_()
        rows.values.mul_(kept).addcdiv_(first, root + epsilon, value=-move)
        self.table.index_copy_(0, row_ids, rows.values)
        self.moments.index_copy_(0, row_ids, moments)
        self.row_steps.index_fill_(0, row_ids, now)
        self.moment_steps.index_fill_(0, row_ids, now)

    def flush(self) -> None:
        """Bring every row of the table up to date, for an evaluation or a copy."""
        if kernels := kernels_for(self.table):
            kernels.update_rows(self._arrays, self.step_count, self._plan_arrays)
            return
        scales, moves, epsilons = self._factors(self.row_steps, self.moment_steps)
        first, root = self.moments.unbind(1)
        self.table.mul_(scales[:, None])
        quotients = first / (root + epsilons[:, None])
        self.table.addcmul_(quotients, moves[:, None], value=-1)
        self.row_steps.fill_(self.step_count)

    def state_dict(self) -> dict[str, Any]:
        """Moments and steps; the table itself belongs to the model."""
        return {
            "moments": self.moments,
            "row_steps": self.row_steps,
            "moment_steps": self.moment_steps,
            "step_count": self.step_count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a ``state_dict()`` of rows of the same shape."""
        for name in ("moments", "row_steps", "moment_steps"):
            getattr(self, name).copy_(state[name])
        self.step_count = state["step_count"]


def _products(decays: Tensor) -> tuple[Tensor, Tensor]:
    """D (S + 1,) within the segment of each step, and the number of that segment."""
    kept, segments = torch.cumprod(decays, 0), torch.zeros(len(decays), dtype=torch.int64)
    while len(low := torch.nonzero((kept != 0) & (kept.abs() < _SEGMENT))):
        first = int(low[0])
        begin = kept[first : first + 1] / _SEGMENT
        kept[first:] = torch.cumprod(torch.cat([begin, decays[first + 1 :]]), 0)
        segments[first:] += 1
    return kept, segments


def _sums_to_come(moves: Tensor, segments: Tensor, ratio: float) -> Tensor:
    """H (S + 1,) of the ``moves`` lr c / D (S + 1,), each within the segment of its step."""
    move, ends = moves.tolist(), set(torch.nonzero(segments.diff()).flatten().tolist())
    sums = [0.0] * len(move)
    for step in range(len(move) - 2, -1, -1):
        sums[step] = ratio * (move[step + 1] + sums[step + 1])
        if step in ends:
            sums[step] /= _SEGMENT
    return torch.from_numpy(np.array(sums))
