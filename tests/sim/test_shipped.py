"""The shipped networks, whole: on the small array, and on one of merged cores with digit selection."""

import numpy as np
import pytest

from hwseg import golden, models
from hwseg.builds.build import compile_model
from hwseg.builds.simulation import simulate

pytestmark = [pytest.mark.verilator]


def blobs(height, width, seed=7):
    """A dim, noisy picture of bright ellipses, like nuclei."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = rng.normal(12, 3, (height, width))
    for _ in range(12):
        cy, cx = rng.uniform(0, height), rng.uniform(0, width)
        ry, rx = rng.uniform(5, 14, 2)
        picture += rng.uniform(60, 200) * np.exp(-(((y - cy) / ry) ** 4) - ((x - cx) / rx) ** 4)
    return np.clip(picture, 0, 255).astype(np.uint8)[..., None]


@pytest.mark.parametrize(("name", "array"), [("nuclei-mixed", "sim"), ("nuclei-w8a8", "8x4x4-merged")])
def test_a_shipped_network_is_exact_on_the_simulated_engine(tmp_path, name, array):
    build = compile_model(models.path(name), array=array, out=tmp_path / "build")
    graph = build.program.graph
    picture = blobs(*graph.types[graph.input].shape[:2])
    result = simulate(build.path, picture)
    assert str(result.first_mismatch) == "None"
    assert [(x.name, x.cycles) for x in result.layers] == [(x.name, x.predicted_cycles) for x in result.layers]
    assert result.passed
    expected = golden.run(graph, picture, taps=())
    assert (result.mask == expected.mask).all()
    assert 0.02 < expected.mask.mean() < 0.6
