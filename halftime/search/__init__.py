"""Search: finds a faster recipe for a workload and proves it.

The floors of this house, from the street up; each file stands on one of them:

- verbs: search, tune, prove, ablate, ablate_plan
- rates: rates, phases, trials, retune, pilot
- changes: candidates, switches, timing, machine, memory, batch
- gains: gains, combine, leap, length, prune
- account: start, journal, records, outcome, view, drift
- trainings: work, failure, worker, engine, engine_local, engine_ray
"""
