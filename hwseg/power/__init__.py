"""What events cost: counts by layer, times the energies of a frozen file, give energy and GOPS/W at four boundaries.

    hwseg.energy ──LayerActivity──> estimate(coefficients) ──> LayerEnergy, EnergyReport

band           low, middle and high value of a figure; the four boundaries
coefficients   energies per event and powers, each with unit, source and date (coefficients.toml)
activity       how often things happen, by layer, part and event
cores          events of the cores, measured on their netlists (cores.toml)
estimate       energy and GOPS/W per layer, at every boundary
"""
