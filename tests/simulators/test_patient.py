from __future__ import annotations

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from simulators.patient import Patient


def test_the_same_seed_is_the_same_patient_however_time_is_cut() -> None:
    whole, pieces, other = Patient(3), Patient(3), Patient(4)
    whole.advance(90.0)
    for _ in range(900):
        pieces.advance(0.1)
    other.advance(90.0)
    assert whole.vitals == pieces.vitals
    assert whole.vitals != other.vitals


def test_vitals_move_but_not_the_height() -> None:
    patient = Patient(3)
    before = patient.vitals
    patient.advance(60.0)
    assert patient.vitals.systolic != before.systolic
    assert patient.vitals.height_cm == before.height_cm


@given(st.integers(0, 1 << 32), st.integers(0, 2000))
def test_a_patient_lives(seed: int, seconds: int) -> None:
    patient = Patient(seed)
    patient.advance(seconds)
    vitals = patient.vitals
    assert all(value > 0 for value in astuple(vitals))
    assert vitals.diastolic < vitals.systolic
    assert vitals.spo2 <= 100.0
    assert 30.0 < vitals.weight_kg < 200.0
