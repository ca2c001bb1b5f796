"""The letters that stand for networks in figures."""

from jaxnas.report.points import letter


def test_letters_go_on_after_z():
    assert [letter(i) for i in (0, 25, 26)] == ["A", "Z", "27"]
