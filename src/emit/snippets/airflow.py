"""GPU tasks for Airflow, each with the MIG instance that the plan has for it.

Needs apache-airflow-providers-cncf-kubernetes. Call a function inside a DAG and give it
what it lacks: image, cmds, arguments.
"""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s
