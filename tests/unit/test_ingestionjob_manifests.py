"""The Job and CronJob of an IngestionJob, compared with files that were read by a person."""

import json
from pathlib import Path

import pytest
import yaml

from media_gateway.core.domain.specs import parse_manifest
from media_gateway_operator.ingestionjob.manifests import Declaration, Work
from media_gateway_operator.ingestionjob.observed import work_of
from media_gateway_operator.ingestionjob.pods import MANIFEST, inside
from tests.support.ingestion_world import DEMO, World

GOLDEN = Path(__file__).parents[1] / "data" / "ingestionjob"

HTTP = {
    "source": {
        "type": "HTTP",
        "format": "JSON",
        "http": {
            "url": "https://films.test/all",
            "auth": {"type": "Bearer", "secretRef": {"name": "films", "key": "token"}},
        },
    },
    "activeDeadlineSeconds": 3600,
    "template": {
        "labels": {"team": "catalogue", "app.kubernetes.io/managed-by": "me"},
        "annotations": {"note": "kept", MANIFEST: "forged"},
        "resources": {"limits": {"memory": "2Gi"}},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
        "affinity": {"requiredNodeLabels": [{"key": "zone", "operator": "In", "values": ["a"]}]},
        "serviceAccountName": "loader",
        "priorityClassName": "low",
    },
}
FILE = {
    "source": {"type": "File", "format": "CSV", "file": {"path": "/in/*.csv", "pvc": "films"}},
    "schedule": "0 3 * * *",
    "concurrencyPolicy": "Replace",
    "successfulRunsHistoryLimit": 0,
}


@pytest.mark.parametrize(("name", "spec"), [("job", HTTP), ("cronjob", FILE), ("demo", DEMO)])
def test_the_manifest_is_the_one_that_was_read(name, spec):
    world = World(spec)
    world.secrets["films"] = {"token": "1"}
    (made,) = world.plan().objects
    golden = yaml.safe_load((GOLDEN / f"{name}.yaml").read_text())
    assert made == golden


@pytest.mark.parametrize("spec", [HTTP, FILE, DEMO])
def test_what_the_pod_reads_is_a_manifest_of_the_same_work(spec):
    world = World(spec)
    assert world.cr is not None
    work = work_of(world.cr)
    read = parse_manifest(json.loads(work.document))
    mounted = inside(work.spec)
    assert read.spec.source == mounted.source
    assert (read.spec.mode, read.spec.mapping, read.spec.dedupe) == (
        mounted.mode,
        mounted.mapping,
        mounted.dedupe,
    )
    assert read.spec.schedule is None
    assert read.spec.active_deadline_seconds is None


def digest(**spec) -> str:
    world = World({**HTTP, **spec})
    assert world.cr is not None
    return work_of(world.cr).digest


@pytest.mark.parametrize(
    "change",
    [{"batchSize": 99}, {"dryRun": True}, {"gatewayRef": {"name": "b"}}, {"template": {"image": "x:1"}}],
)
def test_other_work_or_other_pods_give_another_name(change):
    assert digest(**change) != digest()


@pytest.mark.parametrize(
    "change",
    [
        {"suspend": True},
        {"backoffLimit": 9},
        {"activeDeadlineSeconds": 9},
        {"ttlSecondsAfterFinished": 9},
        {"preRunningDeadlineSeconds": 9},
        {"batchSize": 10},
        {"errorPolicy": {"maxErrorPercent": 1}},
    ],
)
def test_limits_and_spelt_out_defaults_do_not(change):
    assert digest(**change) == digest()


def test_every_child_name_fits():
    name = "a" * 50
    resource = {"metadata": {"name": name, "namespace": "media"}, "spec": DEMO}
    assert len(work_of(resource).job_name) <= 63
    assert isinstance(work_of(resource), Work)


def test_labels_of_the_api_server_are_not_declared_for_a_job_of_another_release():
    world = World(DEMO)
    (made,) = world.plan().objects
    cr = world.cr
    assert cr is not None
    work = work_of(cr)
    given = {"controller-uid": "1", "batch.kubernetes.io/job-name": made["metadata"]["name"]}
    own = made["spec"]["template"]["metadata"]["labels"]
    template = {**made["spec"]["template"], "metadata": {"labels": {**own, **given}}}
    live = {**made, "spec": {**made["spec"], "template": template}}
    other = Declaration(work=work, frozen={"template": {}}, suspend=False)
    assert other.job(live, 0)["spec"]["template"]["metadata"]["labels"] == own
