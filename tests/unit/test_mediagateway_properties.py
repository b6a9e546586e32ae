"""What holds of every MediaGateway, whatever is done to it."""

from typing import Any

from hypothesis import Phase, given, settings, strategies as st

from media_gateway_operator.crds.gateway import MediaGatewaySpec
from media_gateway_operator.crds.gateway_status import MediaGatewayStatus
from media_gateway_operator.kube.kinds import DEPLOYMENT, Ref
from tests.support.gateway_world import NAMESPACE, World

REF = {"name": "servers", "key": "address"}


def _component() -> st.SearchStrategy[dict[str, Any]]:
    scaled = st.fixed_dictionaries({"autoscaling": st.just({"enabled": True, "minReplicas": 1})})
    fixed = st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 4), "enabled": st.booleans()})
    env = st.lists(st.sampled_from(["A", "B", "MEDIA_GATEWAY_LOG_LEVEL"]), unique=True, max_size=2)
    return st.builds(
        lambda base, names: {**base, "env": [{"name": name, "value": "info"} for name in names]},
        st.one_of(scaled, fixed),
        env,
    )


def _specs() -> st.SearchStrategy[dict[str, Any]]:
    server = st.sampled_from([{"dsnSecretRef": REF}, {"mode": "Embedded"}])
    dependencies = st.fixed_dictionaries(
        {"postgres": server, "redis": server},
        optional={"kafka": st.sampled_from([{"mode": "Embedded"}, {"dsnSecretRef": REF}])},
    )
    return st.fixed_dictionaries(
        {
            "profile": st.just("Development"),
            "version": st.sampled_from(["1.3.0", "1.4.0", "1.4.1", "1.5.0"]),
            "dependencies": dependencies,
            "components": st.fixed_dictionaries({"discovery": _component(), "ingestion": _component()}),
            "rollout": st.fixed_dictionaries(
                {"order": st.sampled_from(["Auto", "Parallel"]), "autoRollback": st.booleans()}
            ),
            "networkPolicy": st.fixed_dictionaries({"enabled": st.booleans()}),
            "paused": st.fixed_dictionaries({}, optional={"rollout": st.booleans()}),
        }
    )


FAILING = st.sampled_from(["", "", ":1.4.1", "discovery:1.5.0", "ingestion:"])


# Without shrinking: a history is short enough to be read, and one more minute of work for each of its steps is not.
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.tuples(_specs(), FAILING), min_size=1, max_size=3))
def test_every_history_settles_and_then_nothing_is_written(history: list[tuple[dict[str, Any], str]]):
    world = World({})
    world.secret("servers", address="value")
    for spec, failing in history:
        MediaGatewaySpec.model_validate(spec)
        world.gateway["spec"] = spec
        world.gateway["metadata"]["generation"] += 1
        world.settle(turns=30, failing=failing)
        objects = dict(world.objects)
        world.pass_time(60)
        world.reconcile()
        assert world.writes == []
        assert world.objects == objects
        MediaGatewayStatus.model_validate(world.gateway["status"])
        _conditions_agree(world)
        _deployments_are_sound(world, spec)


def _conditions_agree(world: World) -> None:
    if world.condition("Ready")[0] == "True":
        assert world.condition("Progressing")[0] == "False"
        assert world.condition("DependenciesReady")[0] == "True"
        assert world.condition("Migrated")[0] == "True"
        assert world.condition("Degraded")[1] != "RolledBack"
    for one in world.gateway["status"]["conditions"]:
        assert one["observedGeneration"] == world.gateway["metadata"]["generation"]
        assert one["lastTransitionTime"]


def _deployments_are_sound(world: World, spec: dict[str, Any]) -> None:
    declared = {one["metadata"]["name"]: one for one in world.plan().objects if one["kind"] == "Deployment"}
    for name in ("discovery", "ingestion"):
        stated = spec["components"][name]
        found = declared.get(f"main-{name}")
        if stated.get("enabled") is False:
            assert Ref(DEPLOYMENT, NAMESPACE, f"main-{name}") not in world.objects
        if found is not None:
            assert ("replicas" in found["spec"]) != bool(stated.get("autoscaling"))
            config = found["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["configMapRef"]["name"]
            assert any(ref.name == config for ref in world.objects)
