"""Reads dashboards with Grafana's own types and says what they do not know of them."""
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
import grafana_foundation_sdk.cog.plugins as plugins
plugins.register_default_plugins()

def lost(before, after, path):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}.{key}"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (b, a) in enumerate(zip(before, after)):
            yield from lost(b, a, f"{path}[{i}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"

before = json.load(open(sys.argv[1], encoding="utf-8"))
after = json.loads(JSONEncoder().encode(Dashboard.from_json(before)))
unknown = list(lost(before, after, "dashboard"))
print("\n".join(unknown))
sys.exit(bool(unknown))
