"""Results kept for when they are asked for again."""

from retrieval_index.searching.segment import LastUsed


def test_the_last_used_are_kept():
    made = []

    def make(key):
        made.append(key)
        return key * 2

    kept = LastUsed(2)
    assert [kept.get(key, make) for key in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    # 3 pushed out 2, which had been used before 1.
    assert made == [1, 2, 3, 2]
