"""What the level of a halt adds to the end of openings, which every level brings."""

from __future__ import annotations

from services.execution.book import Book
from shared.messages.control import Halt


def cancelling_halt(book: Book) -> Halt | None:
    """The newest halt in force that lets no request for quote of the desk stand, whatever it is for; None while there
    is none."""
    return next((halt for halt in reversed(book.halts) if halt.level != "no_new_trades"), None)


def halt_text(halt: Halt) -> str:
    return f"halt {halt.level} by {halt.raised_by}: {halt.reason}"
