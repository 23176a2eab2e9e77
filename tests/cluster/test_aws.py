"""cluster.yaml against moto: Ray's own bootstrap and node creation, and who gets in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .test_files import ROOT, load

pytestmark = pytest.mark.slow  # moto lists all machine types of EC2, which takes its time
TYPES = ("head", "cpu", "gpu_spot", "gpu_on_demand")


def deploy_access(region: str) -> None:
    """cluster/access.yaml as a stack, in the region's default VPC."""
    import boto3

    vpcs = boto3.client("ec2", region).describe_vpcs()["Vpcs"]
    default = next(vpc["VpcId"] for vpc in vpcs if vpc["IsDefault"])
    values = {"Bucket": f"b{time.time_ns()}", "Vpc": default, "SshFrom": "198.51.100.7/32"}
    boto3.client("cloudformation", region).create_stack(
        StackName="deepsic",
        TemplateBody=(ROOT / "cluster" / "access.yaml").read_text("utf-8"),
        Capabilities=["CAPABILITY_NAMED_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in values.items()],
    )


@pytest.fixture(scope="module")
def region() -> str:
    return str(load("cluster.yaml")["provider"]["region"])


@pytest.fixture(scope="module")
def bootstrapped(
    s3_environment: dict[str, str], region: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """What `ray up` makes of cluster.yaml before it starts machines."""
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.providers import _get_node_provider_cls
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # for the key pair
        patch.chdir(ROOT)
        deploy_access(region)
        config = prepare_config(load("cluster.yaml"))
        validate_config(config)
        provider = _get_node_provider_cls(config["provider"])
        yield bootstrap_aws(provider.fillout_available_node_types_resources(config))


def test_nobody_but_one_address_gets_in(bootstrapped: dict[str, Any], region: str) -> None:
    import boto3

    types = bootstrapped["available_node_types"]
    (group,) = {tuple(types[name]["node_config"]["SecurityGroupIds"]) for name in TYPES}
    found = boto3.resource("ec2", region).SecurityGroup(group[0])
    assert found.group_name == "deepsic"
    ranges = [r["CidrIp"] for rule in found.ip_permissions for r in rule["IpRanges"]]
    assert ranges == ["198.51.100.7/32"]
    peers = [p["GroupId"] for rule in found.ip_permissions for p in rule["UserIdGroupPairs"]]
    assert peers == [found.id]


def test_resources_come_from_the_machines(bootstrapped: dict[str, Any]) -> None:
    types = bootstrapped["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0
    assert "GPU" not in types["head"]["resources"]
    assert types["cpu"]["resources"]["CPU"] == 16
    for name in ("gpu_spot", "gpu_on_demand"):
        assert types[name]["resources"]["GPU"] == 1


def test_every_type_of_node_is_created_and_ended(
    bootstrapped: dict[str, Any], region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    # moto doesn't resolve parameters, and knows these images.
    image = boto3.client("ec2", region).describe_images(Owners=["099720109477"])["Images"][0]
    provider = AWSNodeProvider(bootstrapped["provider"], "deepsic")
    for name in TYPES:
        node = dict(bootstrapped["available_node_types"][name]["node_config"])
        assert str(node["ImageId"]).startswith("resolve:ssm:/aws/service/deeplearning/")
        node["ImageId"] = image["ImageId"]
        made = provider.create_node(
            node, {"ray-node-type": "worker", "ray-user-node-type": name}, 1
        )
        (machine,) = made.values()
        assert machine.instance_type == node["InstanceType"]
        role = "deepsic-head" if name == "head" else "deepsic-worker"
        assert machine.iam_instance_profile["Arn"].endswith(f"/{role}")
        (volume,) = list(machine.volumes.all())
        assert volume.encrypted
        assert bool(machine.instance_lifecycle == "spot") == (name in ("cpu", "gpu_spot"))
    nodes = provider.non_terminated_nodes({})
    assert len(nodes) == len(TYPES)
    provider.terminate_nodes(nodes)
    assert provider.non_terminated_nodes({}) == []


def test_roles_are_no_wider_than_the_bucket(aws: object, bootstrapped: object) -> None:
    import boto3

    iam = boto3.resource("iam")
    for name in ("deepsic-worker", "deepsic-head"):
        role = iam.Role(name)
        (attached,) = list(role.attached_policies.all())
        statements = attached.default_version.document["Statement"]
        assert all(s["Resource"].startswith("arn:aws:s3:::b") for s in statements)
        assert not [a for s in statements for a in s["Action"] if "*" in a]
    assert [p.name for p in iam.Role("deepsic-worker").policies.all()] == []
    launch = iam.Role("deepsic-head").policies.all()
    statements = [s for p in launch for s in p.policy_document["Statement"]]
    passed = [s for s in statements if s["Action"] == "iam:PassRole"]
    assert [str(s["Resource"]).endswith("role/deepsic-worker") for s in passed] == [True]
    ends = [s for s in statements if "ec2:TerminateInstances" in s["Action"]]
    assert all("Condition" in s for s in ends)


@pytest.mark.parametrize(
    ("recovered", "chosen"), [({}, "gpu_spot"), ({"gpu_spot": 0.0}, "gpu_on_demand")]
)
def test_spot_first_then_on_demand(
    bootstrapped: dict[str, Any], recovered: dict[str, float], chosen: str
) -> None:
    """Ray's own scheduler: a GPU comes from spot, and from elsewhere when AWS refuses."""
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
    from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
    from ray.autoscaler.v2.utils import ResourceRequestUtil

    types = AutoscalingConfig(bootstrapped, skip_content_hash=True).get_node_type_configs()
    demand = [ResourceRequestUtil.make({"GPU": 1.0, "CPU": 1.0})] * 2
    reply = ResourceDemandScheduler().schedule(
        SchedulingRequest(
            disable_launch_config_check=True,
            node_type_configs=types,
            max_num_nodes=16,
            resource_requests=ResourceRequestUtil.group_by_count(demand),
            recoverable_resource_availabilities=recovered,
        )
    )
    assert [(r.instance_type, r.count) for r in reply.to_launch if "gpu" in r.instance_type] == [
        (chosen, 2)
    ]


def test_the_template_names_no_alias(aws: object) -> None:
    """CloudFormation's YAML has no aliases, although most parsers accept them."""
    text = Path(ROOT / "cluster" / "access.yaml").read_text("utf-8")
    assert not [line for line in text.splitlines() if ": *" in line or ": &" in line]
