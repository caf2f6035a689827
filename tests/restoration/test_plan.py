import pytest

from sdsr.diffusion.steps import ancestral, deterministic
from sdsr.errors import InputError
from sdsr.restoration.plan import Plan


def test_a_plan_starts_at_its_first_time_unless_it_says_otherwise():
    assert Plan(times=(399,)).start_time == 399
    assert Plan(times=(981, 1), start=999).start_time == 999
    assert Plan(times=(399,)).step is deterministic


@pytest.mark.parametrize("times", [(), (5, 5), (1, 2), (1000,), (-1,)])
def test_times_that_no_schedule_visits_are_an_error(times):
    with pytest.raises(InputError, match="times"):
        Plan(times=times)


def test_noise_is_drawn_between_steps_that_draw_it() -> None:
    assert Plan(times=(399, 199), step=ancestral).draws_noise
    assert not Plan(times=(399,), step=ancestral).draws_noise
    assert not Plan(times=(399, 199), step=deterministic).draws_noise
