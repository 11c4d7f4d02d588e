"""Evaluates CEL selectors of resource claims: [[expression, device], ...] in, [true, ...] out."""

import json
import sys

import celpy
from celpy import celtypes

UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def quantity(text):
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return celtypes.IntType(int(text[: -len(unit)]) * factor)
    return celtypes.IntType(int(text))


def compare(a, b):
    return celtypes.IntType((a > b) - (a < b))


environment = celpy.Environment()
functions = {"quantity": quantity, "compareTo": compare}
answers = []
for expression, device in json.load(sys.stdin):
    program = environment.program(environment.compile(expression), functions=functions)
    answers.append(bool(program.evaluate({"device": celpy.json_to_cel(device)})))
print(json.dumps(answers))
