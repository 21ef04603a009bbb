"""scrapsort's trainer: from a folder of photographs to a model bundle. Workstation only: Python >= 3.10, torch."""
