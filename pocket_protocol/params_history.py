"""Which shared parameters held at a height, and how a governance change enters (spec/chain.md §3.1).

Windows and budgets read them at the session's end, prices and difficulty at its start, the ring reads the
live ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pocket_protocol.session import session_end, session_number
from pocket_protocol.shared_params import InvalidSharedParams, SharedParams
from pocket_protocol.types import Height


@dataclass(frozen=True, slots=True)
class ParamsSnapshot:
    """Parameters that hold from `effective_height` until the next snapshot's."""

    effective_height: Height
    params: SharedParams


@dataclass(frozen=True, slots=True)
class ParamsHistory:
    """The live parameters and the recorded snapshots, ascending by effective height, one per height."""

    live: SharedParams
    snapshots: tuple[ParamsSnapshot, ...] = ()

    def at(self, height: int) -> SharedParams:
        """Return the parameters that hold at `height`: the last snapshot not above it, else the live ones."""
        for snapshot in reversed(self.snapshots):
            if snapshot.effective_height <= height:
                return snapshot.params
        return self.live

    def changed(self, new: SharedParams, height: int) -> ParamsHistory:
        """Return the history after governance set `new` in block `height` (spec/chain.md §3.1).

        The change is recorded for the next session's start. Live parameters follow at once unless a timing
        parameter changed; then `promoted` brings them at that height. The grid fields of `new` are derived
        here, whatever they were. Raises `InvalidSharedParams`.
        """
        new.validate()
        history = self
        if not history.snapshots:
            first = replace(self.live, session_grid_anchor_height=1, session_number_at_anchor=1)
            history = history._recorded(Height(1), first)
        effective = history.at(height)
        boundary = Height(session_end(effective, height) + 1)
        anchor = effective.session_grid_anchor_height, effective.session_number_at_anchor
        if new.num_blocks_per_session != effective.num_blocks_per_session:
            anchor = boundary, session_number(effective, height) + 1
        new = replace(new, session_grid_anchor_height=anchor[0], session_number_at_anchor=anchor[1])
        history = history._recorded(boundary, new)
        if not self.live.same_timing(new):
            return history
        live = replace(
            new,
            session_grid_anchor_height=self.live.session_grid_anchor_height,
            session_number_at_anchor=self.live.session_number_at_anchor,
        )
        return replace(history, live=live)

    def promoted(self, height: int) -> ParamsHistory:
        """Return the history after the end of block `height`: a snapshot effective there becomes live.

        An invalid snapshot is left where it is, as the chain does.
        """
        for snapshot in self.snapshots:
            if snapshot.effective_height == height:
                try:
                    snapshot.params.validate()
                except InvalidSharedParams:
                    return self
                return replace(self, live=snapshot.params)
        return self

    def _recorded(self, height: Height, params: SharedParams) -> ParamsHistory:
        others = [snapshot for snapshot in self.snapshots if snapshot.effective_height != height]
        snapshots = sorted([*others, ParamsSnapshot(height, params)], key=lambda s: s.effective_height)
        return replace(self, snapshots=tuple(snapshots))
