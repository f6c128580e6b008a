"""What stands in the place of a model's predict function: the original, until a faster form of it has been proved.

The life of one version's form, in one process:

* ``proving``: the original answers. `prove` compares both on generated input, and on what was seen.
* ``shadow``: both answer each call, and the original's answer is given, for the first `SHADOW_ROWS` rows.
* ``compiled``: the faster form answers. One in each of the 64th, 128th, 256th... calls is still answered by both.
* ``refused``: an answer differed. The original answers, for good: see `kept`.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from headrace_worker.scoring.compiled import alike, forms, kept
from headrace_worker.scoring.compiled.tables import Declined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OFF, NONE, PROVING, SHADOW, COMPILED, REFUSED = "off", "none", "proving", "shadow", "compiled", "refused"
IN_USE = (SHADOW, COMPILED)

SHADOW_ROWS = 1000
TURNS = 3
"""How often the generated input is gone through, each time with other values."""

_FIRST_SAMPLE = 64
_MOST_SEEN = 4
_MOST_TOLD = 300

_logger = logging.getLogger(__name__)


def install(model: Any, path: str) -> Predictor:
    """Put a Predictor in the place of a loaded pyfunc model's predict function, where there is a faster form.

    Nothing is compared yet: that is `Predictor.prove`. Where there is no form the model stays untouched.
    """
    file = kept.place(path)
    try:
        form = forms.find(model)
        original = model._predict_fn  # noqa: SLF001 - what PyFuncModel.predict calls
        signature = inspect.signature(original)
    except forms.NoForm as error:
        return Predictor(None, None, file, str(error))
    except Exception as error:  # noqa: BLE001 - a model that is not understood is left alone
        return Predictor(None, None, file, f"it could not be looked into: {type(error).__name__}: {error}")
    predictor = Predictor(original, form, file)
    predictor.__signature__ = signature
    model._predict_fn = predictor  # noqa: SLF001 - as above
    return predictor


class Predictor:
    """Answers as `original` does. `file` is where a difference is kept (None: nowhere), `reason` why there is no form.

    May be called by several threads.
    """

    def __init__(
        self, original: Callable[..., Any] | None, form: forms.Form | None, file: str | None, reason: str = ""
    ) -> None:
        self.__signature__: Any = None
        self.state = PROVING if form is not None else NONE
        self.reason = reason
        self.equal_rows = self.different_rows = self.proved_rows = 0
        self._original: Any = original
        self._form: Any = form
        self._file = file
        self._seen: list[Any] = []
        self._calls = 0
        self._lock = threading.Lock()
        self.look()

    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """What the model's own predict function answers, or raises."""
        state = self.state
        if state == COMPILED and not self._is_due():
            try:
                return self._form.fast(data)
            except Exception:  # noqa: BLE001 - declined; or the original is to say what is wrong
                return self._original(data, *args, **kwargs)
        if state in IN_USE:
            return self._both(data, self._form.reference, self._form.fast, live=True)
        if state == PROVING and len(self._seen) < _MOST_SEEN:
            self._see(data)
        return self._original(data, *args, **kwargs)

    def look(self) -> None:
        """Go back to the original if another process, or an earlier one, has kept a difference."""
        if self._file is not None and self.state not in (NONE, REFUSED) and os.path.exists(self._file):
            self._go_back(f"it has answered something else before: see {self._file}")

    def told(self) -> dict[str, Any]:
        """What is known, as JSON-able data."""
        return {
            "state": self.state,
            "form": self._form.name if self._form is not None else "",
            "reason": self.reason[:_MOST_TOLD],
            "proved_rows": self.proved_rows,
            "equal_rows": self.equal_rows,
            "different_rows": self.different_rows,
        }

    def pair(self, rows: int) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Any] | None:
        """(the original, the faster form, so many rows that both answer), to measure them; None without a proved form.

        The rows are like those that were seen; where none were, both are those of the last step.
        """
        if self.state not in IN_USE:
            return None
        form = self._form
        for seen in self._seen:
            with contextlib.suppress(Exception):
                places = [place % len(seen) for place in range(rows)]
                data = seen.iloc[places] if hasattr(seen, "iloc") else seen[places]
                form.fast(data)
                return self._original, form.fast, data
        made = (data for data in alike.edge_rows(form.core, TURNS) if len(data) == rows)
        return form.last, form.fast_last, next(made)

    def prove_aside(self, within_s: float) -> None:
        """Have a thread do `prove` while the original answers, and leave every second moment to others."""
        if self.state == PROVING:
            arguments = {"within_s": within_s, "sparing": True}
            threading.Thread(target=self.prove, kwargs=arguments, name="compile", daemon=True).start()

    def prove(self, within_s: float, *, sparing: bool = False) -> None:
        """Compare both forms on generated input, for `within_s` seconds at most; the state says what came of it."""
        if self.state != PROVING:
            return
        began_s = time.monotonic()
        try:
            for data, is_whole in self._inputs():
                at_s = time.monotonic()
                if at_s - began_s > within_s:
                    self.state, self.reason = NONE, f"its proof has not ended within compile_s ({within_s:g} s)"
                    return
                form = self._form
                reference, fast = (form.reference, form.fast) if is_whole else (form.last, form.fast_last)
                with contextlib.suppress(Exception):  # such input is refused, and `_both` has seen that it is by both
                    self._both(data, reference, fast, live=False)
                if self.state != PROVING:
                    return
                self.proved_rows += len(data)
                if sparing:
                    time.sleep(time.monotonic() - at_s)
        except Exception as error:
            _logger.exception("the faster form of the model could not be proved")
            self.state, self.reason = NONE, f"its proof has failed: {type(error).__name__}: {error}"
            return
        self.state = SHADOW
        _logger.info("a faster form is proved on %d rows, live rows come next: %s", self.proved_rows, self._form.name)

    def _inputs(self) -> Iterator[tuple[Any, bool]]:
        """(input, whether it is for the whole model, and not for its last step)."""
        patterns = set()
        for seen in list(self._seen):
            # A model's example comes first, and then rows of it alone: what they have in common is gone through once.
            pattern = str(getattr(seen, "dtypes", None) if hasattr(seen, "dtypes") else seen.dtype)
            for data in alike.mutations(seen, TURNS * 2) if pattern not in patterns else [seen]:
                yield data, True
            patterns.add(pattern)
        for data in alike.edge_rows(self._form.core, TURNS):
            yield data, False

    def _both(self, data: Any, reference: Any, fast: Any, *, live: bool) -> Any:
        """Answer with `reference`, and see whether `fast` says the same; raises what `reference` raises."""
        raised: Exception | None = None
        found: Any = None
        try:
            found = fast(data)
        except Exception as error:  # noqa: BLE001 - it is no difference where the original raises, too
            raised = error
        try:
            answer = reference(data)
        except Exception as error:
            if raised is None:
                self._differs(data, error, found, "it answered where the original raised")
            raise
        if isinstance(raised, Declined):
            return answer
        if raised is not None:
            self._differs(data, answer, raised, "it raised where the original answered")
        elif not alike.same(answer, found):
            self._differs(data, answer, found, "its answer is not the same to the byte")
        elif live:
            with self._lock:
                self.equal_rows += len(data)
                if self.state == SHADOW and self.equal_rows >= SHADOW_ROWS:
                    self.state = COMPILED
        return answer

    def _is_due(self) -> bool:
        self._calls += 1
        calls = self._calls
        return calls >= _FIRST_SAMPLE and calls & (calls - 1) == 0

    def _see(self, data: Any) -> None:
        """Keep a few rows of what is asked before the proof, as the pattern of what may come."""
        if hasattr(data, "__len__") and hasattr(data, "dtype" if not hasattr(data, "dtypes") else "dtypes"):
            self._seen.append(data[:64].copy())

    def _differs(self, data: Any, answer: Any, found: Any, how: str) -> None:
        self.different_rows += 1
        difference = {
            "form": self._form.name,
            "how": how,
            "input": alike.first_different(data, answer, found),
            "original": repr(answer)[:10_000],
            "compiled": repr(found)[:10_000],
        }
        where = f": see {self._file}" if self._file is not None and kept.keep(self._file, difference) else ""
        self._go_back(f"{how}{where}")

    def _go_back(self, reason: str) -> None:
        self.state, self.reason = REFUSED, reason
        _logger.warning("the model's original answers from now on, its faster form does not: %s", reason)
