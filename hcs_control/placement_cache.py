"""Remembers placements per node and shape of request, so that a Pod costs what has changed.

Clusters see many Pods of few shapes, and between two Pods few nodes change. An answer holds as long
as its node's version in the fleet does.
"""

from collections import OrderedDict

from hcs_bus.names import NodeName
from hcs_control.fleet import Fleet
from hcs_control.placement import NoFit, Placement, place
from hcs_control.request import Request

SHAPES_MAX = 64  # at 10,000 nodes about 150 MB; the shape not asked for longest is forgotten first

_Shape = tuple[int, int]
_Answers = dict[NodeName, tuple[int, Placement | NoFit]]


class PlacementCache:
    """`place` over one fleet, remembered."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._answers_of_shape: OrderedDict[_Shape, _Answers] = OrderedDict()

    def place(self, node: NodeName, request: Request) -> Placement | NoFit:
        """Return what `hcs_control.placement.place` returns."""
        answers = self._answers_of((request.vram_bytes, request.fp16_gflops))
        version = self._fleet.version_of_node.get(node, 0)
        known = answers.get(node)
        if known is not None and known[0] == version:
            return known[1]
        found = place(self._fleet, node, request)
        answers[node] = (version, found)
        return found

    def _answers_of(self, shape: _Shape) -> _Answers:
        answers = self._answers_of_shape.setdefault(shape, {})
        self._answers_of_shape.move_to_end(shape)
        if len(self._answers_of_shape) > SHAPES_MAX:
            self._answers_of_shape.popitem(last=False)
        return answers
