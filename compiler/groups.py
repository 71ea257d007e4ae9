"""The groups of an optimizer: globs over the weights that a player updates become slots of the stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from etude.compiler import faults
from etude.compiler.calls import CallSite
from etude.compiler.globs import matches, nearest_paths
from etude.compiler.instances import model_name
from etude.compiler.typing import is_float
from etude.compiler.values import Record, describe
from etude.compiler.weight_paths import named_weights

if TYPE_CHECKING:
    from etude.compiler.players import Player
    from etude.compiler.slots import SlotTable

SETTINGS = ("at", "lr", "weight_decay")


def group_settings(site: CallSite, groups: Any, known: Mapping[str, float]) -> dict[str, Any]:
    """The field `groups` of an optimizer, checked; nothing for none. `known` are the optimizer's own numbers."""
    if groups is None:
        return {}
    if not isinstance(groups, list) or not all(isinstance(group, Record) for group in groups):
        text = 'a list of records such as {at: "head.**", lr: 1e-2}'
        raise faults.wrong_kind("'groups'", text, describe(groups), site.at("groups"))
    if groups and not known["lr"] > 0:
        raise faults.wrong_value("'lr' must be more than 0 beside 'groups': theirs are multiples of it", site.at("lr"))
    return {"groups": [_group(site, group, known) for group in groups]} if groups else {}


def _group(site: CallSite, group: Record, known: Mapping[str, float]) -> dict[str, Any]:
    place = site.at("groups")
    names = [name for name in SETTINGS if name == "at" or name in known]
    for name in group:
        if name not in names:
            raise faults.unknown_field(name, place, names, "a group")
    if not isinstance(group.get("at"), str):
        raise faults.wrong_kind("'at' of a group", "a glob over paths of weights", describe(group.get("at")), place)
    numbers = {name: value for name, value in group.items() if name != "at"}
    for name, value in numbers.items():
        if not is_float(value) or not isinstance(value, int | float):
            raise faults.wrong_kind(f"'{name}' of a group", "a number", describe(value), place)
        if value < 0:
            raise faults.wrong_value(f"'{name}' of a group must not be below 0, got {value:g}", place)
    return {"at": group["at"], **{name: float(numbers[name]) for name in names if name in numbers}, "place": place}


def resolved_optimizer(site: CallSite, player: Player, update: list[int], slots: SlotTable) -> dict[str, Any]:
    """The optimizer of a player with the slots of each group; a weight belongs to the first group that names it."""
    optimizer = dict(player.optimizer)
    if "groups" not in optimizer:
        return optimizer
    paths = _paths(site, player, update, slots)
    free, groups = list(paths), []
    for group in optimizer["groups"]:
        named = [slot for slot in paths if any(matches(group["at"], path) for path in paths[slot])]
        if not named:
            shown = [path for found in paths.values() for path in found[:1]]
            raise faults.no_weight(group["at"], group["place"], nearest_paths(group["at"], shown))
        chosen = [slot for slot in named if slot in free]
        if not chosen:
            text = f'all that "{group["at"]}" names belongs to a group before it'
            raise faults.wrong_value(text, group["place"], "a weight is in the first group that names it")
        free = [slot for slot in free if slot not in chosen]
        numbers = {name: value for name, value in group.items() if name not in {"at", "place"}}
        groups.append({"slots": sorted(chosen), **numbers})
    return {**optimizer, "groups": groups}


def _paths(site: CallSite, player: Player, update: list[int], slots: SlotTable) -> dict[int, list[str]]:
    """All that people may call each slot of `update`: below the name of its result, of its model, and without."""
    paths: dict[int, list[str]] = {slot: [] for slot in update}
    for result, model in player.models.items():
        own = result.replace("[", ".").rstrip("]")  # an element of a list
        for path, _, origin in named_weights(site.session, model):
            slot = slots.origins.get(origin)
            if slot in paths:
                names = [f"{own}.{path}", f"{model_name(model)}.{path}", path, slots.entries[slot]["path"]]
                paths[slot] += [name for name in names if name not in paths[slot]]
    return paths
