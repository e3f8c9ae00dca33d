# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The sections of one field on the workers of a cluster.

A worker builds the generator once, and keeps it.  It reads the pixels of a section from the file
that this process maps, or is sent them; this process alone writes the output.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.enhance.planes import cut
from splus_srgan.enhance.runner import Runner
from splus_srgan.enhance.tiles import Section, within
from splus_srgan.models.weights import available, load_card
from splus_srgan.utils.cluster import calls_as_completed, one_at_a_time, unpickle_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from splus_srgan.enhance.field import Enhancement

__all__ = ["RemoteRunner", "sections_on_workers"]


class RemoteRunner:
    """
    What runs a generator on the workers: described here, built there.

    A worker that would run it otherwise than the first one, such as in another precision, refuses.

    Parameters
    ----------
    client : `distributed.Client`
        Client of the cluster.
    **options
        As `~splus_srgan.enhance.runner.Runner` takes them, except ``made``, which is built there.

    Attributes
    ----------
    radius : int
        Radius of its receptive field, input pixels.
    engine : `EngineFacts`
        Name, device and precision of its engine.
    libraries : tuple of str
        Versions of what runs it.
    """

    def __init__(self, client: Any, **options: Any) -> None:
        self._pickled = pickle.dumps(options)
        with closing(calls_as_completed(client, _facts, [("facts", (self._pickled,))])) as calls:
            _, found = next(calls)
        if found is None:
            raise ConnectionError(
                f"every worker was lost that loaded the weights {options['card'].name!r}; see the "
                "logs of the workers, and whether their memory suffices"
            )
        self.radius, self.engine, self.libraries = found

    def __reduce__(self) -> tuple[Any, ...]:
        return _as_described, (self._pickled, (self.radius, self.engine, self.libraries))


@dataclass(frozen=True)
class EngineFacts:
    """
    What is known here of an engine elsewhere.

    Attributes
    ----------
    name, device, precision : str
        As engines have them.
    """

    name: str
    device: str
    precision: str


def sections_on_workers(
    client: Any, work: Enhancement, parts: Mapping[int, Section]
) -> Iterator[tuple[int, Any]]:
    """
    Compute sections of a field on workers.

    Parameters
    ----------
    client : `distributed.Client`
        Client of the cluster.
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options; its runners are `RemoteRunner`.
    parts : dict of int to `~splus_srgan.enhance.tiles.Section`
        Place of each section, by its number.

    Yields
    ------
    number : int
        Number of a section, in the order in which they end.
    made : tuple
        As `~splus_srgan.enhance.section.finish` gives it.

    Raises
    ------
    ConnectionError
        If the scheduler is lost, or one worker after the other with the same section, or a worker
        cannot read the input.
    """
    pickled = pickle.dumps(work.without_pixels())
    calls = ((number, (pickled, part, *_pixels(work, part))) for number, part in parts.items())
    with closing(calls_as_completed(client, _on_worker, calls)) as ends:
        for number, end in ends:
            if end is None:
                raise ConnectionError(
                    f"the workers that enhanced section {number + 1} were lost, one after the "
                    "other; see their logs, and whether their memory suffices"
                )
            told, made = end
            for category, text in told:
                warnings.warn(text, category, stacklevel=2)
            yield number, made


def _pixels(work: Enhancement, part: Section) -> tuple[Any, ...]:
    """What a worker is sent of a section: the mask in bits, and pixels that are in no file."""
    data, mask = work.stack.data, cut(work.stack.mask, part.needed)
    in_file = all(getattr(plane, "in_file", False) for plane in data)
    levels = (cut(array, part.needed) for array in (work.sky, work.sigma))
    return data if in_file else cut(data, part.needed), np.packbits(mask), *levels


def _on_worker(
    pickled: bytes, part: Section, data: Any, bits: Any, sky: Any, sigma: Any
) -> tuple[Any, ...]:
    """Work of a worker: gives the warnings of this package, and a section."""
    with one_at_a_time() as told:
        work = copy.copy(unpickle_once(pickled))
        own = Section(*(within(place, part.needed) for place in vars(part).values()))
        shape = (len(data), *(place.stop for place in own.needed))
        if not isinstance(data, np.ndarray):
            data = _read(data, part.needed)
        mask = np.unpackbits(bits, count=np.prod(shape)).view(bool).reshape(shape)
        work.stack = replace(work.stack, data=data, mask=mask)
        work.sky, work.sigma = sky, sigma
        if work.stars is not None:
            first = tuple(place.start for place in part.needed)
            work.stars = replace(work.stars, origin=first)
        made = work.compute_section(own)
    return told, made


def _read(planes: Any, where: tuple[slice, ...]) -> Any:
    try:
        return cut(planes, where)
    except OSError as error:
        raise ConnectionError(
            f"a worker cannot read the input ({error}): files must have the same paths there, or "
            "be read into memory here, without memmap=True"
        ) from error


def _facts(pickled: bytes) -> tuple[Any, ...]:
    with one_at_a_time():
        return _facts_of(_built(pickled))


def _facts_of(runner: Any) -> tuple[Any, ...]:
    engine = runner.engine
    facts = EngineFacts(engine.name, str(engine.device), engine.precision)
    return runner.radius, facts, runner.libraries


def _as_described(pickled: bytes, described: Any) -> Any:
    """The runner of a worker, which has to be as the first worker's was."""
    runner = _built(pickled)
    if _facts_of(runner) != described:
        raise ConnectionError(
            f"workers differ: {described[1]} with {', '.join(described[2])} on one, "
            f"{_facts_of(runner)[1]} with {', '.join(runner.libraries)} on another; name device, "
            "precision and engine, and install the same versions"
        )
    return runner


@lru_cache(maxsize=4)
def _built(pickled: bytes) -> Any:
    """Build a runner, once for a worker."""
    options = pickle.loads(pickled)
    card = options["card"]
    if not card.path.is_file():
        if card.name not in available():
            raise ConnectionError(
                f"a worker has no weights {card.path}: they must have the same path there"
            )
        # Shipped ones lie in the package, which may be elsewhere here.
        options["card"] = replace(card, folder=load_card(card.name).folder)
    return Runner(**options)
