"""Labelled captures of real programs, recorded between two network namespaces of this machine."""

from mtc.laboratory.driver import Progress, read_recording, record_plan
from mtc.laboratory.machine import missing_features, missing_programs
from mtc.laboratory.plans import Plan, load_plan, plan_names
from mtc.laboratory.recipes import Recipe, Tunnel, load_recipes, load_tunnels

__all__ = [
    "Plan",
    "Progress",
    "Recipe",
    "Tunnel",
    "load_plan",
    "load_recipes",
    "load_tunnels",
    "missing_features",
    "missing_programs",
    "plan_names",
    "read_recording",
    "record_plan",
]
