"""Runs a module with stand-ins for Airflow and the Kubernetes client, and prints its tasks as JSON."""

import json, sys, types
def module(name, **members):
    m = types.ModuleType(name); m.__dict__.update(members); sys.modules[name] = m; return m
class Model(dict):
    def __init__(self, **kw): super().__init__(**kw)
class Models(types.ModuleType):
    def __getattr__(self, name): return Model
for name in ["airflow", "airflow.providers", "airflow.providers.cncf",
             "airflow.providers.cncf.kubernetes", "airflow.providers.cncf.kubernetes.operators"]:
    module(name)
module("airflow.providers.cncf.kubernetes.operators.pod", KubernetesPodOperator=Model)
module("kubernetes"); models = Models("kubernetes.client.models")
sys.modules["kubernetes.client.models"] = models
module("kubernetes.client", models=models)
scope = {}
exec(compile(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1], "exec"), scope)
tasks = [f(image="mine") for n, f in scope.items() if isinstance(f, types.FunctionType)]
print(json.dumps(tasks))
