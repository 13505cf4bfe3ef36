"""A chain is read where it arrived, wherever in its frame that is."""

from __future__ import annotations

import numpy as np
import pytest

from shared.bus.frames import Header, decode_frame, encode_frame
from shared.messages.market import CHAIN_COLUMNS, ChainSnapshot
from shared.options.chain import ChainView, matrix_bytes
from tests.unit.strategy.making import chain


@pytest.mark.parametrize("length", range(8))
def test_a_received_chain_is_read_in_its_frame_at_any_place(length: int) -> None:
    sent = chain()
    header = Header("marketdata", 1, 1, "m" * length, "", 1)
    frame = encode_frame("md.BTCUSD.chain", header, sent.snapshot)
    message = decode_frame(frame).message
    assert isinstance(message, ChainSnapshot)
    assert message.matrix.obj is frame
    received = ChainView(message, sent.listed)
    for name in CHAIN_COLUMNS:
        column = received.column(name)
        np.testing.assert_array_equal(column, sent.column(name))
        assert column.flags.aligned
        assert not column.flags.writeable
    for row in range(len(sent.instruments)):
        np.testing.assert_array_equal(received.row(row), sent.row(row))


def test_an_array_that_was_made_a_matrix_cannot_be_changed_any_more() -> None:
    array = np.ones((len(CHAIN_COLUMNS), 3))
    matrix = matrix_bytes(array)
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 2.0
    assert (matrix.nbytes, matrix.readonly) == (array.nbytes, True)


def test_a_chain_without_options_has_an_empty_matrix() -> None:
    assert bytes(matrix_bytes(np.empty((len(CHAIN_COLUMNS), 0)))) == b""
