from tests.reference.brute_force import expected
def test_x():
    assert expected([], []).accepted == []
