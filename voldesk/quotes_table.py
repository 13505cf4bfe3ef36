"""What makers quoted, as rows of a table and as JSON with stable keys."""

from __future__ import annotations

from rich.markup import escape

from shared.cost_views import DIRECTIONS
from shared.messages.inquiries import SideQuote, SideQuotes, StructureQuotes
from shared.views import clock_text, duration_text, money_text, plain, price_text

HISTORY_COLUMNS = ("asked UTC", "structure", "quotes", "as given", "better", "opposite", "better ")


def structure_text(answer: StructureQuotes) -> str:
    """ "+0.5 A  -0.5 B", asked when and by whom."""
    return f"{_legs_text(answer)}  ·  asked {clock_text(answer.asked_ns)} UTC by {answer.requested_by}"


def table_of(answer: StructureQuotes) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Both sides, each with what it costs at mark and on the book before the quotes, the best of them first."""
    prices = tuple(f"leg {number}" for number in range(1, len(answer.legs) + 1))
    columns = ("direction", "", "cost", "better", "%", "mark %", *prices, "valid")
    rows: list[tuple[str, ...]] = []
    blank = ("",) * (len(prices) + 1)
    for side in answer.sides:
        direction = DIRECTIONS[side.action]
        rows.append((direction, "mark", money_text(side.mark_cost_usd), "", "", "", *blank))
        rows.append((direction, "book", money_text(side.book_cost_usd), "", "", "", *blank))
        rows += [_quote_row(answer, side, number, quote) for number, quote in enumerate(side.quotes, 1)]
    return columns, rows


def _quote_row(answer: StructureQuotes, side: SideQuotes, number: int, quote: SideQuote) -> tuple[str, ...]:
    return (
        DIRECTIONS[side.action],
        f"[bold]quote {number}[/bold]" if number == 1 else f"quote {number}",
        money_text(quote.cost_usd),
        _coloured(_signed(quote.improvement_usd, 2), quote.improvement_usd),
        _percent(quote),
        _signed(quote.over_mark_pct, 2),
        *(price_text(price) for price in quote.prices),
        duration_text(max(0.0, (quote.expiry_ns - answer.answered_ns) / 1e9)),
    )


def words_below(answer: StructureQuotes) -> list[str]:
    """What the numbers mean, and what is missing."""
    lines = []
    if answer.reason:
        lines.append(f"{answer.reason[0].upper()}{answer.reason[1:]}.")
    if shallow := sorted({symbol for side in answer.sides for symbol in side.shallow}):
        lines.append(f"The best price on the book does not hold the size of {', '.join(shallow)}: compare with mark.")
    if answer.unusable:
        lines.append(f"{answer.unusable} further quote(s) were for other legs or quantities.")
    if any(quote.basis == "half_spread" for side in answer.sides for quote in side.quotes):
        lines.append("½: per cent of half the spread, as the structure costs next to nothing on the book.")
    if answer.quote_count:
        lines.append(
            "Cost in USD: paid > 0, received < 0. Better: USD and % less than on the book, where every leg is"
        )
        lines.append("traded at once at its other side. mark %: more than at mark.")
    lines.append("The request is withdrawn; nothing was accepted.")
    return lines


def history_row(answer: StructureQuotes) -> tuple[str, ...]:
    """One inquiry on one line, with the best quote of each side."""
    best = [side.quotes[0] if side.quotes else None for side in answer.sides]
    cells = [
        cell
        for quote in best
        for cell in (
            ("-", "-")
            if quote is None
            else (money_text(quote.cost_usd), _coloured(_signed(quote.improvement_usd, 2), quote.improvement_usd))
        )
    ]
    return (clock_text(answer.asked_ns), escape(_legs_text(answer)), str(answer.quote_count), *cells)


def _legs_text(answer: StructureQuotes) -> str:
    return "  ".join(f"{'+' if leg.side == 'buy' else '-'}{plain(leg.quantity)} {leg.symbol}" for leg in answer.legs)


def _percent(quote: SideQuote) -> str:
    text = _signed(quote.improvement_pct, 2)
    return f"½ {text}" if quote.basis == "half_spread" and quote.improvement_pct is not None else text


def _signed(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:+,.{decimals}f}"


def _coloured(text: str, value: float | None) -> str:
    if not value:
        return text
    return f"[{'green' if value > 0 else 'red'}]{text}[/]"
