"""One attempt of one step: read inputs, call the function, stage what it returned, check the staged rows. Nothing becomes visible here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never, cast

from assets_core.authoring.binding import (
    ConfigParameter,
    ContextParameter,
    InputParameter,
    ResourceParameter,
)
from assets_core.authoring.decorators import Output, Skip
from assets_core.execution.audit import Auditor, CheckFailedError, as_returned
from assets_core.execution.inputs import convert_input, load_input
from assets_core.execution.outputs import OutputStream, user_error
from assets_core.model.checks import CheckOutcome, CheckResult
from assets_core.model.context import AssetContext
from assets_core.model.errors import (
    InternalError,
    IOManagerError,
    PartitaError,
    UserCodeError,
)
from assets_core.model.io_manager import ReadRequest, StageRequest
from partitions.time_windows import TimeWindow

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from assets_core.authoring.binding import Parameter
    from assets_core.authoring.definitions import Resolved, ResolvedCheck
    from assets_core.execution.step_order import InputOrder, StepOrder
    from assets_core.model.io_manager import IOManager, Staged


@dataclass(frozen=True, slots=True)
class Produced:
    """The function returned: rows are staged (None if it returned None), and no blocking check failed.

    `data_version` is the one that the function gave with `Output`, None if it left that to the content. `rejected` has the rows that the
    contract keeps out, to be published before the others; None if it keeps out none.
    """

    staged: Staged | None
    checks: tuple[CheckOutcome, ...]
    data_version: str | None = None
    rejected: Staged | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """The function returned Skip."""

    reason: str


class Worker:
    """Carries out orders in this process, one at a time. `calling` is True while user code may be running."""

    def __init__(self, resolved: Resolved, logger: Callable[[str], logging.Logger]) -> None:
        self._resolved = resolved
        self._logger = logger
        self._auditor = Auditor(resolved.outline)
        self.calling = False

    def execute(self, order: StepOrder) -> Produced | Skipped:
        """Run it. Raises UserCodeError, DataError or IOManagerError; what was staged is thrown away then."""
        context = self._context(order)
        arguments = {
            parameter.name: self._argument(parameter, order, context)
            for parameter in self._resolved.parameters[order.asset]
        }
        value = self._call(order.asset, self._resolved.assets[order.asset].function, arguments)
        if isinstance(value, Skip):
            return Skipped(value.reason)
        if value is None:
            return Produced(None, ())
        given = value if isinstance(value, Output) else Output(value, "")
        staged, rejected = self._stage(order, given.value), None
        try:
            contract = self._resolved.assets[order.asset].contract
            audited = self._auditor.audit(contract, order, staged)
            staged, rejected = audited.staged, audited.rejected
            checks = self._check(order, context, staged, audited.outcomes)
        except BaseException:
            for one in (staged, rejected):
                if one is not None:
                    self._manager(order.asset).discard(one)
            raise
        return Produced(staged, checks, given.data_version or None, rejected)

    def _stage(self, order: StepOrder, value: object) -> Staged:
        request = StageRequest(
            target=self._resolved.outline.target(order.asset),
            slices=order.slices,
            epoch=order.epoch,
            token=order.token,
            in_files=order.elsewhere,
        )
        manager = self._manager(order.asset)
        with self._user_code():
            try:
                output = OutputStream(order.asset, value)
            except PartitaError:
                raise
            except Exception as error:
                raise user_error(order.asset, error) from error
            try:
                return manager.stage(request, output.reader)
            except Exception as error:
                # A stream runs the user's code inside the IO manager; blame whoever raised first.
                if output.error is not None:
                    raise user_error(order.asset, output.error) from output.error
                if isinstance(error, PartitaError):
                    raise
                raise InternalError(
                    f"staging {order.asset} failed: {type(error).__name__}: {error}"
                ) from error

    def recheck(self, order: StepOrder) -> tuple[CheckOutcome, ...]:
        """What contract and checks say of partitions that are published already. Raises as `execute` does."""
        manager = self._manager(order.asset)
        target = as_returned(self._resolved.outline.target(order.asset))
        contract = self._resolved.assets[order.asset].contract
        with _reading(order.asset):
            outcomes = () if contract is None else self._auditor.judge_published(contract, order)
            context = self._context(order)
            return outcomes + self._outcomes(
                order, context, lambda: manager.read(ReadRequest(target, order.slices))
            )

    def _check(
        self,
        order: StepOrder,
        context: AssetContext,
        staged: Staged,
        of_contract: tuple[CheckOutcome, ...],
    ) -> tuple[CheckOutcome, ...]:
        manager = self._manager(order.asset)
        outcomes = of_contract + self._outcomes(
            order, context, lambda: manager.read_staged(staged)
        )
        failed = [outcome for outcome in outcomes if outcome.blocking and not outcome.passed]
        if failed:
            told = "; ".join(f"{o.check}: {o.message}" if o.message else o.check for o in failed)
            raise CheckFailedError(f"a blocking check of {order.asset} failed: {told}", outcomes)
        return outcomes

    def _outcomes(
        self, order: StepOrder, context: AssetContext, rows: Callable[[], pa.RecordBatchReader]
    ) -> tuple[CheckOutcome, ...]:
        return tuple(
            self._outcome(order, context, rows, resolved_check)
            for resolved_check in self._resolved.checks.get(order.asset, ())
        )

    def _outcome(
        self,
        order: StepOrder,
        context: AssetContext,
        rows: Callable[[], pa.RecordBatchReader],
        resolved_check: ResolvedCheck,
    ) -> CheckOutcome:
        check = resolved_check.check
        arguments: dict[str, object] = {}
        for parameter in resolved_check.parameters:
            if isinstance(parameter, InputParameter):
                arguments[parameter.name] = convert_input(rows(), parameter.load_as)
            else:
                arguments[parameter.name] = self._plain_argument(parameter, order.asset, context)
        answer = self._call(check.name, check.function, arguments)
        if type(answer).__name__ in {"bool", "bool_", "BooleanScalar"}:
            answer = CheckResult(passed=cast("bool", answer))
        if not isinstance(answer, CheckResult):
            raise UserCodeError(
                f"the check {check.name} returned {type(answer).__name__}",
                hint="return CheckResult(passed=…) or a bool",
            )
        return CheckOutcome(
            check.name,
            order.asset,
            check.blocking,
            answer.passed,
            answer.message,
            answer.metadata,
        )

    def _argument(self, parameter: Parameter, order: StepOrder, context: AssetContext) -> object:
        if isinstance(parameter, InputParameter):
            wanted = next(one for one in order.inputs if one.parameter == parameter.name)
            return self._load(parameter, wanted)
        return self._plain_argument(parameter, order.asset, context)

    def _plain_argument(
        self,
        parameter: ContextParameter | ResourceParameter | ConfigParameter,
        asset: str,
        context: AssetContext,
    ) -> object:
        match parameter:
            case ContextParameter():
                return context
            case ResourceParameter(resource=name):
                return self._resolved.resources[name]
            case ConfigParameter():
                return self._resolved.config[asset]
            case _:
                assert_never(parameter)

    def _load(self, parameter: InputParameter, wanted: InputOrder) -> object:
        manager = self._manager(wanted.upstream)
        target = self._resolved.outline.target(wanted.upstream)
        with _reading(wanted.upstream):
            if not parameter.per_partition:
                request = ReadRequest(target, wanted.slices, wanted.columns)
                return load_input(manager, request, parameter.load_as)
            return {
                piece.key: load_input(
                    manager, ReadRequest(target, (piece,), wanted.columns), parameter.load_as
                )
                for piece in wanted.slices
            }

    def _context(self, order: StepOrder) -> AssetContext:
        first, last = order.slices[0].window, order.slices[-1].window
        return AssetContext(
            asset=order.asset,
            run_id=order.run_id,
            attempt=order.number,
            partition_keys=tuple(one.key for one in order.slices),
            window=TimeWindow(first.start, last.end)
            if first is not None and last is not None
            else None,
            dimensions=dict(order.slices[0].dimensions),
            log=self._logger(order.asset),
        )

    def _call(
        self, name: str, function: Callable[..., object], arguments: Mapping[str, object]
    ) -> object:
        with self._user_code():
            try:
                return function(**arguments)
            except (Exception, SystemExit) as error:
                raise user_error(name, error) from error

    @contextmanager
    def _user_code(self) -> Iterator[None]:
        process = os.getpid()
        self.calling = True
        try:
            yield
        finally:
            self.calling = False
            if os.getpid() != process:
                # The function forked and let its child come back: two processes must not go on with one attempt.
                os._exit(0)

    def _manager(self, asset: str) -> IOManager:
        return self._resolved.outline.manager(asset)


@contextmanager
def _reading(upstream: str) -> Iterator[None]:
    """Whatever goes wrong while an input is loaded fails the step that wanted it, and not the run."""
    try:
        yield
    except PartitaError:
        raise
    except Exception as error:
        raise IOManagerError(
            f"reading {upstream} failed: {type(error).__name__}: {error}",
            hint=f"if its data is damaged, make it again: partita materialize {upstream} --force",
        ) from error
