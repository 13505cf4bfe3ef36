"""The page of the journal is made from the tables of today, and its examples are answered."""

from __future__ import annotations

import re
import sqlite3

from services.execution.tables import INDEXES, TABLES
from tests.docs.journal_page import journal_page
from tests.docs.pages import page


def test_the_page_is_made_from_the_tables_of_today() -> None:
    assert page("journal.md") == journal_page(), "run: python -m tests.docs.journal_page > docs/journal.md"


def test_the_tables_can_be_made_and_the_examples_asked() -> None:
    connection = sqlite3.connect(":memory:")
    connection.create_function("decimal_sum", 1, lambda amount: amount)
    for statement in (*(table.sql for table in TABLES), *INDEXES):
        connection.execute(statement)
    examples = re.findall(r'voldesk journal sql "(SELECT [^"]+)"', page("journal.md"))
    assert len(examples) == 2
    for example in examples:
        connection.execute(example)
    connection.close()
