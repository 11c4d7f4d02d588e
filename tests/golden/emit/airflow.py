"""GPU tasks for Airflow, each with the MIG instance that the plan has for it.

Needs apache-airflow-providers-cncf-kubernetes. Call a function inside a DAG and give it
what it lacks: image, cmds, arguments.
"""

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from kubernetes.client import models as k8s


def nlp_exp_2g_20gb(**overrides):
    # NLP/exp: 4 replicas, each in 2g.20gb with 19.5 GiB
    return KubernetesPodOperator(**{
        "task_id": "nlp_exp_2g_20gb",
        "name": "nlp-exp-2g-20gb",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 4,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-2g.20gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def nlp_exp_3g_20gb(**overrides):
    # NLP/exp: 1 replica in 3g.20gb with 19.5 GiB
    return KubernetesPodOperator(**{
        "task_id": "nlp_exp_3g_20gb",
        "name": "nlp-exp-3g-20gb",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 1,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-3g.20gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def vision_co_1_encode(**overrides):
    # Vision & "Co": #1/encode: 2 replicas, each in 1g.10gb+me with 9.5 GiB
    return KubernetesPodOperator(**{
        "task_id": "vision_co_1_encode",
        "name": "vision-co-1-encode",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 2,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-1g.10gb.me": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def lab_jupyter(**overrides):
    # lab/jupyter: 4 replicas, each in 1g.10gb with 9.5 GiB
    return KubernetesPodOperator(**{
        "task_id": "lab_jupyter",
        "name": "lab-jupyter",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 4,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-1g.10gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        "affinity": k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity(
            required_during_scheduling_ignored_during_execution=k8s.V1NodeSelector(node_selector_terms=[
                k8s.V1NodeSelectorTerm(match_expressions=[k8s.V1NodeSelectorRequirement(
                    key="nvidia.com/gpu.product", operator="In", values=["NVIDIA-A100-SXM4-80GB"])])]))),
        **overrides,
    })


def llm_finetune(**overrides):
    # llm/finetune: 1 replica in 2 whole GPUs with 80 GiB each
    return KubernetesPodOperator(**{
        "task_id": "llm_finetune",
        "name": "llm-finetune",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 1,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/gpu": "2"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def llm_serve(**overrides):
    # llm/serve: 2 replicas, each in 1 whole GPU with 80 GiB
    return KubernetesPodOperator(**{
        "task_id": "llm_serve",
        "name": "llm-serve",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 2,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/gpu": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def n_l_p_exp(**overrides):
    # n l p/exp: 2 replicas, each in 1g.10gb with 9.6 GiB
    return KubernetesPodOperator(**{
        "task_id": "n_l_p_exp",
        "name": "n-l-p-exp",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 2,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-1g.10gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        "affinity": k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity(
            required_during_scheduling_ignored_during_execution=k8s.V1NodeSelector(node_selector_terms=[
                k8s.V1NodeSelectorTerm(match_expressions=[k8s.V1NodeSelectorRequirement(
                    key="nvidia.com/gpu.product", operator="In", values=["A100-SXM4-40GB", "NVIDIA-A100-SXM4-40GB"])])]))),
        **overrides,
    })


def nlp_exp(**overrides):
    # nlp/exp: 12 replicas, each in 1g.10gb with 9.5 GiB
    return KubernetesPodOperator(**{
        "task_id": "nlp_exp",
        "name": "nlp-exp",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 12,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-1g.10gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        "affinity": k8s.V1Affinity(node_affinity=k8s.V1NodeAffinity(
            required_during_scheduling_ignored_during_execution=k8s.V1NodeSelector(node_selector_terms=[
                k8s.V1NodeSelectorTerm(match_expressions=[k8s.V1NodeSelectorRequirement(
                    key="nvidia.com/gpu.product", operator="In", values=["NVIDIA-A100-SXM4-80GB"])])]))),
        **overrides,
    })


def reco_train(**overrides):
    # reco/train: 4 replicas, each in 3g.40gb with 39.3 GiB
    return KubernetesPodOperator(**{
        "task_id": "reco_train",
        "name": "reco-train",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 4,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-3g.40gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def reco_yes(**overrides):
    # reco/yes: 1 replica in 7g.80gb with 79.3 GiB
    return KubernetesPodOperator(**{
        "task_id": "reco_yes",
        "name": "reco-yes",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 1,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-7g.80gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def a_b_c(**overrides):
    # 団子/- a: b # c: 2 replicas, each in 2g.12gb with 11.7 GiB
    return KubernetesPodOperator(**{
        "task_id": "a_b_c",
        "name": "a-b-c",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 2,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-2g.12gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })


def it_s_so(**overrides):
    # 団子/it's\ "so": 2 replicas, each in 1g.6gb with 5.8 GiB
    return KubernetesPodOperator(**{
        "task_id": "it_s_so",
        "name": "it-s-so",
        "namespace": "airflow",
        "image": "nvcr.io/nvidia/cuda:12.8.1-base-ubuntu24.04",
        "cmds": ["nvidia-smi", "-L"],
        "max_active_tis_per_dag": 2,
        "container_resources": k8s.V1ResourceRequirements(limits={"nvidia.com/mig-1g.6gb": "1"}),
        "tolerations": [k8s.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")],
        **overrides,
    })
