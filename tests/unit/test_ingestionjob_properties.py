"""Any sequence of what can happen to an IngestionJob without a schedule: rest, one writer, one end, growing attempts."""

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from media_gateway_operator.ingestionjob.status import final, is_true
from tests.support.ingestion_world import World


class Life(RuleBasedStateMachine):
    """A job, people, a gateway, pods that stop slowly, and an operator that looks now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World({"backoffLimit": 2, "preRunningDeadlineSeconds": 120})
        self.attempt = 0
        self.end: str | None = None

    @rule(seconds=st.sampled_from([1, 9, 30, 121, 400]))
    def time_passes(self, seconds):
        self.world.pass_time(seconds)

    @rule()
    def operator_looks_once(self):
        self.world.reconcile()

    @rule()
    def operator_comes_to_rest(self):
        self.world.settle()
        assert self.world.reconcile() == []

    @rule()
    def controller_works(self):
        self.world.controller()

    @rule()
    def pods_start(self):
        self.world.start_pods()

    @rule()
    def pods_stop(self):
        self.world.stop_pods()

    @rule(code=st.sampled_from([0, 1, 1, 78]))
    def pods_end(self, code):
        self.world.exit(code)

    @rule()
    def job_is_deleted_by_hand(self):
        for job in self.world.jobs():
            self.world.delete("Job", job["metadata"]["name"])

    @rule(suspend=st.booleans())
    def is_suspended_or_resumed(self, suspend):
        self.world.change(suspend=suspend)

    @rule(size=st.sampled_from([10, 20]))
    def spec_is_changed(self, size):
        self.world.change(batchSize=size)

    @rule(done=st.booleans())
    def gateway_migrates(self, done):
        if self.world.gateways:
            self.world.migrate(done=done)

    @rule(there=st.booleans(), version=st.sampled_from(["1.0.0", "2.0.0"]))
    def gateway_comes_or_goes(self, there, version):
        fresh = World()
        fresh.gateways["gw"]["spec"]["version"] = version
        self.world.gateways = fresh.gateways if there else {}

    @precondition(lambda self: self.world.status().get("phase") == "Running")
    @rule(read=st.integers(0, 3))
    def pod_reports(self, read):
        self.world.report(read)

    @invariant()
    def only_one_pod_writes(self):
        assert self.world.alive() <= 1

    @invariant()
    def attempts_only_grow(self):
        now = self.world.status().get("attempt", 0)
        assert now >= self.attempt
        self.attempt = now

    @invariant()
    def there_is_one_end(self):
        status = self.world.status()
        assert not (is_true(status, "Complete") and is_true(status, "Failed"))
        if self.end is not None:
            assert final(status) == self.end
        self.end = final(status)

    def teardown(self) -> None:
        self.world.settle()
        status = self.world.status()
        if final(status):
            assert all(_ended(job) for job in self.world.jobs())
        elif self.world.cr and self.world.cr["spec"].get("suspend"):
            assert all(job["spec"]["suspend"] for job in self.world.jobs())


def _ended(job) -> bool:
    return any(one["type"] in {"Complete", "Failed"} for one in job["status"].get("conditions") or ())


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
