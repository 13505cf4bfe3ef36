"""The page of the simulation is made from its faults and promises, and names every fault."""

from tests.docs.pages import page
from tests.docs.simulation_page import simulation_page
from world.faults import FAULTS, UNDRAWN, Faults


def test_the_page_is_made_from_the_faults_and_promises_of_today() -> None:
    assert page("simulation.md") == simulation_page(), (
        "run: python -m tests.docs.simulation_page > docs/simulation.md"
    )


def test_every_fault_is_explained() -> None:
    assert set(FAULTS) == set(Faults.__struct_fields__)


def test_a_fault_is_marked_as_in_no_drawn_seed_where_it_is_so_and_nowhere_else() -> None:
    rows = [line for line in page("simulation.md").splitlines() if line.startswith("| `")]
    marked = {line.split("`")[1] for line in rows if "in directed scenarios alone" in line}
    assert marked == UNDRAWN
