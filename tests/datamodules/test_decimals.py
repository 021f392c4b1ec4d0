import numpy as np
import pytest

from repsynth.datamodules.decimals import fixed_decimals


@pytest.mark.parametrize("decimals", [1, 3, 9, 12])
def test_numbers_are_those_of_float_to_the_bit(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    scales = 10.0 ** rng.integers(-3, 15 - decimals - 1 if decimals < 12 else 2, 500)
    texts = [f"{value:.{decimals}f}" for value in rng.normal(size=500) * scales]
    texts = [text for text in texts if len(text.lstrip("-")) <= 16] + [
        f"{0:.{decimals}f}",
        f"-{0:.{decimals}f}",
    ]
    found = fixed_decimals(" ".join(texts))
    assert found is not None and len(texts) > 300
    np.testing.assert_array_equal(found, [float(text) for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        "0.5 0.50",
        "1 2 3",
        "1.5 2",
        "1.5 1234",
        "1e5 1.5",
        "nan 1.5",
        "0.5  0.5",
        " 0.5",
        "0.5 ",
        "0.5 -0.5e1",
        "0.5\t0.5",
        "1_0.5 10.5",
        "٣.5 1.5",
        "0.5 .55",
        "12345678901234567.5 1.5",
        "--1.5 1.5",
        "+1.5 1.5",
        "1.2.5 1.5",
        "",
    ],
)
def test_other_texts_are_left_to_float(text: str) -> None:
    assert fixed_decimals(text) is None
