"""The cores' events for hwseg/power/cores.toml, measured again."""

from __future__ import annotations

from hwseg.bench.cores import Say
from hwseg.bench.energy_cores import calibrate
from hwseg.bench.energy_work import calibration_samples
from hwseg.power.coefficients import Coefficients
from hwseg.power.cores import toml_text
from hwseg.rtl.cores import CORES, FAMILIES


def cores_text(coefficients: Coefficients, say: Say) -> str:
    """The file's content, for every core that an engine can be built of."""
    work = calibration_samples()
    return toml_text({name: calibrate(CORES[name], work, coefficients, say) for name in FAMILIES})
