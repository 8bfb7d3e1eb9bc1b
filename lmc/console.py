"""What a console that does not know our signs prints instead of them, such as Windows' with code page 1252."""

from __future__ import annotations

import codecs
import io
import sys

PLAIN = {
    "✓": "+",
    "✗": "x",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "→": "->",
    "−": "-",
    "–": "-",
    "—": "-",
    "…": "...",
    "·": "*",
    "×": "x",
    "±": "+-",
    "‖": "||",
    "√": "sqrt ",
    "Σ": "sum ",
    "½": "1/2",
    "¼": "1/4",
    "²": "^2",
    "ℓ": "l",
    "λ": "lambda",
    "β": "beta",
    "θ": "theta",
    "σ": "sigma",
    "π": "pi",
    "α": "alpha",
    "η": "eta",
    "ρ": "rho",
    "τ": "tau",
    "ε": "eps",
    "Δ": "delta ",
    "γ": "gamma",
    "δ": "delta",
    "μ": "mu",
    "⅓": "1/3",
    "₁": "1",
    "₂": "2",
    "ᵀ": "^T",
    "⁻": "^-",
    "\u0303": "~",
    "⊙": "*",
    "∩": "and",
    "∪": "or",
    "⟨": "<",
    "⟩": ">",
    "∎": ".",
    "§": "sec. ",
}
"""Only where a sign cannot be encoded; any other one that cannot becomes a question mark."""

_HANDLER = "lmc.plain"


def accept_any_console() -> None:
    """Let standard output and error print what they cannot encode in plain letters, instead of failing."""
    codecs.register_error(_HANDLER, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(each, "?") for each in error.object[error.start : error.end]), error.end
